"""Live bytes against sums that can be done on paper."""

import pytest
import torch
from torch import nn

from tps_lab import create_model
from tps_lab.measure.memory import LiveBytes, peak_memory
from tps_lab.measure.step import Step


def test_temporaries_are_counted_while_they_live():
    x = torch.zeros(1000)
    with LiveBytes() as live:
        live.track([x])
        a = x + 1
        b = a + 1
        del a
        c = b + 1
        assert live.live == 3 * 4000  # x, b, c
    assert live.peak == 3 * 4000  # x and two others, never more
    del b, c


def test_views_cost_nothing_and_in_place_work_neither():
    x = torch.zeros(1000)
    with LiveBytes() as live:
        live.track([x])
        x.view(10, 100).transpose(0, 1).add_(1)
    assert live.peak == 4000


def test_a_linear_layer_by_hand():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(500, 700))

        def forward(self, x):
            return x.flatten(1) @ self.weight.T

    measured = peak_memory(Linear(), Step(2), (1, 1, 1, 700))
    weights, clips = 500 * 700 * 4, 2 * 700 * 4
    # weight, gradient, AdamW's two moments, and up to two temporaries in the optimizer's step
    assert 4 * weights + clips <= measured.training <= 6 * weights + clips + 10_000
    assert measured.inference == pytest.approx(weights + clips, rel=0.01)
    assert measured.how == "tracked live tensors, cpu, batch 2"


def test_a_shifted_block_adds_at_most_one_token_sized_buffer():
    sizes = {"embed_dim": 48, "depth": 4, "num_heads": 3, "patch_size": 4}
    batch, tokens = 4, 8 * 64
    shifted, spatial = (
        peak_memory(create_model("vit_micro", name, **sizes), Step(batch), (3, 8, 32, 32))
        for name in ("tps", "spatial")
    )
    buffer = batch * tokens * 48 * 4
    indices = 2 * 2 * tokens * 8 + 2 * batch * tokens * 8  # per shifted block and per call, int64
    assert shifted.training - spatial.training <= 2 * buffer + indices  # two shifted blocks
    assert shifted.inference - spatial.inference <= buffer + indices


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_reports_allocated_and_reserved():
    measured = peak_memory(create_model("vit_micro", "tps").cuda(), Step(4), (3, 8, 32, 32))
    assert measured.training_reserved >= measured.training > measured.inference
