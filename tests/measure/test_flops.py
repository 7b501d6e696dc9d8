"""Three counters, one integer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tps_lab import create_model
from tps_lab.attention import parse, variants
from tps_lab.measure.flops import count_macs

TINY = {"embed_dim": 24, "depth": 4, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2, "num_classes": 7}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("backbone", ["vit_micro", "vit_micro_cls"])
@pytest.mark.parametrize("name", [*variants(), "local(window_frames=3, window=3)", "divided(class_token=both)"])
def test_three_counters_agree_to_the_integer(name, backbone, fused):
    if backbone == "vit_micro" and parse(name).needs_class_token:
        pytest.skip("shifts class tokens, and vit_micro has none")
    model = create_model(backbone, name, **TINY)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    macs = count_macs(model, model.clip_shape)
    assert not macs.problems
    assert macs.agreed, macs.by_counter


@settings(max_examples=15, deadline=None)
@given(
    frames=st.integers(5, 9),
    side=st.integers(2, 4),
    tubelet=st.sampled_from([1, 2]),
    name=st.sampled_from([*variants(), "local(window_frames=2, window=2)"]),
)
def test_counters_agree_for_other_shapes(frames, side, tubelet, name):
    model = create_model("vit_micro_cls", name, frames=frames * tubelet, tubelet=tubelet, size=8 * side, **TINY)
    assert count_macs(model, model.clip_shape).agreed


def test_patch_shift_adds_no_multiply_add():
    shifted, spatial = (create_model("vit_micro", name) for name in ("tps(every=1)", "spatial"))
    assert count_macs(shifted, shifted.clip_shape).value == count_macs(spatial, spatial.clip_shape).value


def test_a_disagreement_is_disputed_and_shows_all_counts():
    model = create_model("vit_micro", "tps")
    model.closed_form_macs = lambda: {"everything": 1}
    macs = count_macs(model, model.clip_shape)
    assert macs.status == "disputed"
    assert macs.by_counter["closed form"] == 1
    assert macs.by_counter["fvcore"] == macs.by_counter["torch"] == macs.value


def test_an_operator_that_no_one_reviewed_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, clip):
            return torch.cumsum(clip, 0) * self.scale

    macs = count_macs(Odd(), (3, 2, 4, 4))
    assert "aten::cumsum" in macs.problems["fvcore"]
    assert "closed form" in macs.problems
    assert not macs.agreed
