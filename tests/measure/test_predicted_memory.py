"""Predicted peaks against tracked real tensors, and against sums that can be done on paper."""

import dataclasses

import pytest
import torch
from torch import nn

from tps_lab import create_model
from tps_lab.errors import InputError
from tps_lab.measure.caching_allocator import MIB
from tps_lab.measure.fake import AsOnCuda, backward, fake, fake_mode
from tps_lab.measure.memory import LiveBytes, peak_memory
from tps_lab.measure.predicted_memory import largest_batches, predict, predict_batches, training_step
from tps_lab.measure.step import Step

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def made(attention="tps", **options):
    return lambda: create_model("vit_micro", attention, **TINY | options)


@pytest.mark.parametrize("attention", ["spatial", "tps", "joint", "divided"])
def test_a_prediction_for_the_cpu_is_what_real_tensors_take(attention):
    predicted = predict(made(attention), Step(4), "cpu")
    model = made(attention)()
    measured = peak_memory(model, Step(4))
    assert predicted.training == pytest.approx(measured.training, rel=0.05)
    assert predicted.inference == pytest.approx(measured.inference, rel=0.05)


def test_a_linear_model_by_hand(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # 32 MiB, on whatever GPU is at hand

    class Linear(nn.Module):
        clip_shape = (1, 1, 1, 640)

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(512, 640))

        def forward(self, x):
            return x.flatten(1) @ self.weight.T

    weights = 512 * 640 * 4
    parts = predict(Linear, Step(2)).parts
    assert parts["parameters"] == parts["gradients"] == weights
    assert parts["optimizer"] == 2 * weights
    assert parts["temporary"] == weights  # the square roots of AdamW's second moments
    assert parts["activations"] == 2 * 640 * 4 + 512  # the clips, and the labels rounded up
    # cuBLAS's workspaces, and nothing more: tensors of more than 1 MiB are split out of segments of 20 MiB
    assert parts["overhead"] == 2 * 32 * MIB
    assert predict(Linear, Step(2, optimizer="sgd")).parts["optimizer"] == weights


def test_parts_add_up_to_the_peak():
    predicted = predict(made("joint"), Step(4, precision="bf16"))
    assert sum(predicted.parts.values()) == predicted.training
    assert all(predicted.most[part] >= size for part, size in predicted.parts.items())
    assert predicted.most["gradients"] == pytest.approx(predicted.parts["parameters"], rel=0.05)  # by backward's end


def test_what_saves_memory_saves_memory():
    make = made("joint", depth=4, frames=16)
    plain, checkpointed, unfused = (
        predict(make, Step(8, **options)).training for options in ({}, {"checkpointing": True}, {"fused": False})
    )
    assert checkpointed < plain < unfused
    scores = 8 * 2 * (16 * 16) ** 2 * 4  # per block: clips × heads × tokens² in float32
    assert unfused - plain > 4 * scores


def test_the_largest_batch_fits_and_one_more_does_not():
    make = made("tps")
    _, largest = predict_batches(make, Step(64))
    assert predict(make, Step(largest[8])).training <= 8e9 < predict(make, Step(largest[8] + 1)).training


@pytest.mark.parametrize("attention", ["spatial", "tps", "joint", "divided", "tps+tcs", "factorised-encoder"])
@pytest.mark.parametrize(
    "setting", [Step(2), Step(2, precision="bf16", optimizer="sgd"), Step(2, checkpointing=True, fused=False)]
)
def test_two_recorded_batches_give_every_other(attention, setting):
    model = fake(made(attention))

    def recorded(batch):
        return training_step(model, dataclasses.replace(setting, batch=batch)).recording

    two, four, few, many = (recorded(batch) for batch in (2, 4, 13, 3001))
    assert two.at_batch(four, 13) == few
    assert two.at_batch(four, 3001) == many
    buffers = [size for number, size in many.events if number in two.sums and size is not None]
    assert max(buffers) > 0  # a sum's buffer comes only with many rows, and is on no line


def test_what_is_reserved_holds_what_is_allocated():
    predicted = predict(made("joint"), Step(4, precision="bf16"))
    assert predicted.training < predicted.training_reserved < 1.5 * predicted.training
    assert predicted.inference < predicted.inference_reserved
    assert predict(made("joint"), Step(4), "cpu").training_reserved is None


def test_the_largest_batch_where_the_peak_is_not_on_one_line():
    def peak(batch):  # the optimizer's step is the peak of up to 9 clips
        return max(1000 + 10 * batch, 100 * batch + 150)

    sizes = {8: 1005, 16: 1030, 24: 1100, 40: 2000, 80: 5_049, 141: 5_050}
    largest = largest_batches(peak, sizes, (64, 128))
    assert largest == {8: 0, 16: 3, 24: 9, 40: 18, 80: 48, 141: 49}
    assert largest_batches(peak, sizes, (1, 2)) == largest


def test_on_one_line_few_peaks_are_asked_for():
    asked = []

    def peak(batch):
        asked.append(batch)
        return 10**9 + batch * 10**8

    assert largest_batches(peak, {8: 8 * 10**9, 80: 80 * 10**9}, (8, 16)) == {8: 70, 80: 790}
    assert len(asked) == 6  # the two to begin with, and on either side of each answer


def test_fused_attention_by_hand_as_cuda_has_it():
    queries, heads, channels = 49, 3, 16
    mode = fake_mode()

    def peak(dtype, with_mask):
        with mode, LiveBytes(1) as live, AsOnCuda(True):
            qkv = [torch.zeros(2, heads, queries, channels, dtype=dtype, requires_grad=True) for _ in range(3)]
            mask = torch.zeros(1, heads, queries, queries, dtype=dtype, requires_grad=True) if with_mask else None
            live.track([*qkv, *([] if mask is None else [mask])])
            out = torch.nn.functional.scaled_dot_product_attention(*qkv, attn_mask=mask)
            forward = live.live
            backward(out.sum())
        return forward, live.peak

    tensor = 2 * heads * queries * channels
    forward, _ = peak(torch.bfloat16, False)
    assert forward == 2 * 4 * tensor + 4 * 2 * heads * queries  # q, k, v, result, and a float32 per query
    forward, highest = peak(torch.float32, True)
    mask = 4 * heads * queries * queries
    assert forward == 4 * 4 * tensor + mask + 4 * heads * queries * 56 + 4 * 2 * heads * 64  # its rows padded to 56
    assert highest > forward + 4 * 2 * heads * queries * 64  # a gradient for both clips, rows padded to 64


def test_bad_targets_are_named():
    with pytest.raises(InputError, match="tpu"):
        predict(made("tps"), Step(), "tpu")
    with pytest.raises(InputError, match="cuda"):
        predict(made("tps"), Step(fused=False), "cpu")
