"""Predicted peaks against tracked real tensors, and against sums that can be done on paper."""

import pytest
import torch
from torch import nn

from tps_lab import create_model
from tps_lab.errors import InputError
from tps_lab.measure.memory import peak_memory
from tps_lab.measure.predict import Setting, predict, predict_batches

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def made(attention="tps", **options):
    return lambda: create_model("vit_micro", attention, **TINY | options)


@pytest.mark.parametrize("attention", ["spatial", "tps", "joint", "divided"])
def test_a_prediction_for_the_cpu_is_what_real_tensors_take(attention):
    predicted = predict(made(attention), Setting(4, target="cpu"))
    model = made(attention)()
    measured = peak_memory(model, model.clip_shape, 4)
    assert predicted.training == pytest.approx(measured.training, rel=0.05)
    assert predicted.inference == pytest.approx(measured.inference, rel=0.05)


def test_a_linear_model_by_hand():
    class Linear(nn.Module):
        clip_shape = (1, 1, 1, 640)

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(512, 640))

        def forward(self, x):
            return x.flatten(1) @ self.weight.T

    weights = 512 * 640 * 4
    parts = predict(Linear, Setting(2)).parts
    assert parts["parameters"] == parts["gradients"] == weights
    assert parts["optimizer"] == 2 * weights
    assert parts["temporary"] == weights  # the square roots of AdamW's second moments
    assert parts["activations"] == 2 * 640 * 4 + 512  # the clips, and the labels rounded up
    assert predict(Linear, Setting(2, optimizer="sgd")).parts["optimizer"] == weights


def test_parts_add_up_to_the_peak():
    predicted = predict(made("joint"), Setting(4, "bf16"))
    assert sum(predicted.parts.values()) == predicted.training


def test_what_saves_memory_saves_memory():
    make = made("joint", depth=4, frames=16)
    plain, checkpointed, unfused = (
        predict(make, Setting(8, **options)).training for options in ({}, {"checkpointing": True}, {"fused": False})
    )
    assert checkpointed < plain < unfused
    scores = 8 * 2 * (16 * 16) ** 2 * 4  # per block: clips × heads × tokens² in float32
    assert unfused - plain > 4 * scores


def test_the_peak_is_affine_in_the_batch_and_the_largest_batch_fits():
    make = made("tps")
    _, largest = predict_batches(make, Setting(64))
    assert predict(make, Setting(largest[8])).training <= 8e9
    assert predict(make, Setting(largest[8] + 1 + largest[8] // 1000)).training > 8e9


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"precision": "fp8"}, {"optimizer": "lion"}, {"target": "tpu"}])
def test_bad_settings_are_named(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Setting(**wrong)
