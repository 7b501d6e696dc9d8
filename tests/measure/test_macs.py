"""Three counters, one integer; with a backward pass two; for every family and variant."""

import os
import sys
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Attention as TimmAttention
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tps_lab import create_model
from tps_lab.attention import Grid, parse, variants
from tps_lab.attention._meetings import meetings_of
from tps_lab.attention._modules import KernelAttention, SpaceTimeAttention
from tps_lab.attention._windows import WindowGrid
from tps_lab.backbones import videoize
from tps_lab.backbones._macs import attending
from tps_lab.backbones._windowed import TableAttention
from tps_lab.errors import InputError
from tps_lab.measure import operators
from tps_lab.measure.fake import fake, without_weights
from tps_lab.measure.macs import count_macs, work
from tps_lab.measure.step import Step, set_fused
from tps_lab.measure.trace import trace

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))
from tiny_models import FAMILIES, image_model

# Drawn examples, each of one to four shapes; thousands take minutes: TPS_LAB_SHAPES=4000 pytest tests/measure
SHAPES = int(os.environ.get("TPS_LAB_SHAPES", "300"))
TINY = {"embed_dim": 24, "depth": 4, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2, "num_classes": 7}
MORE = ["local(window_frames=3, window=3)", "divided(class_token=both)", "tps(border=zero)", "tps(border=edge)"]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("backbone", ["vit_micro", "vit_micro_cls"])
@pytest.mark.parametrize("name", [*variants(), *MORE])
def test_three_counters_agree_to_the_integer(name, backbone, fused):
    if backbone == "vit_micro" and parse(name).needs_class_token:
        pytest.skip("shifts class tokens, and vit_micro has none")
    model = create_model(backbone, name, **{**TINY, "depth": 2})
    set_fused(model, fused)
    macs = count_macs(model, model.clip_shape)
    assert not macs.problems
    assert macs.agreed, macs.by_counter


@pytest.mark.parametrize("family", FAMILIES)
def test_forward_and_backward_of_every_family(family):
    model = videoize(image_model(family, dtype=torch.float32), "tps(pattern=A)", frames=3)
    for fused in (True, False) if family in ("vit", "swin v2", "differential") else (True,):
        counted, formula = forward_and_backward(without_weights(model), fused)
        assert counted == formula


@pytest.mark.parametrize("name", ["maxvit_tiny_tf_224", "maxvit_rmlp_pico_rw_256"])
def test_a_position_bias_that_is_computed_is_counted(name):
    """Looked up by products, or a network's output: neither had been in the closed form as it runs."""
    small = FAMILIES["maxvit"][1] | {"img_size": (64, 64)}
    model = videoize(timm.create_model(name, **small), "tps(pattern=A)", frames=3)
    assert count_macs(model, model.clip_shape).agreed
    counted, formula = forward_and_backward(without_weights(model))
    assert counted == formula


def forward_and_backward(make, fused=True):
    """Multiply-adds as torch counts them, and by closed form, of a model all of whose weights learn."""
    faked = fake(make)
    faked.model.requires_grad_(True)
    counted = trace(faked, Step(1, fused=fused)).macs()
    return counted, work(faked.model, fused).executed["forward + backward"]


@pytest.mark.parametrize("name", [name for name in variants() if name not in ("spatial", "tps", "tcs")])
def test_forward_and_backward_of_every_variant(name):
    def make():
        return create_model("vit_micro_cls", name, frames=9, **{**TINY, "depth": 2})

    counted, formula = forward_and_backward(make)
    assert counted == formula


@pytest.mark.parametrize("family", ["deit distilled", "differential", "parallel", "whole blocks"])
def test_the_temporal_encoder_of_unusual_blocks(family):
    model = videoize(image_model(family, dtype=torch.float32), "factorised-encoder", frames=3)
    macs = count_macs(model, model.clip_shape)
    assert macs.agreed, (macs.by_counter, macs.problems)


@pytest.mark.parametrize("pool", ["map", "prr"])
def test_attention_pooling(pool):
    options = TINY | {"global_pool": pool, "class_token": False}

    def make():
        return create_model("vit_micro", "tps(pattern=A)", frames=4, **options)

    assert count_macs(make(), make().clip_shape).agreed
    counted, formula = forward_and_backward(make)
    assert counted == formula


def test_frames_read_out_by_two_class_tokens_are_counted_in_time():
    model = videoize(image_model("deit distilled"), "factorised-encoder", frames=3)
    clip = torch.randn(1, *model.clip_shape, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(model(clip), model.image_model.head(model.forward_features(clip)[:, 0]))
        model.temporal_embed.normal_()
        assert not torch.allclose(model(clip), model(clip.flip(2)), atol=1e-9)


# ---------------------------------------------------------------------- thousands of shapes


def on_meta(module, x):
    """Multiply-adds of a module as torch counts them, on tensors without memory."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops() // 2


@settings(max_examples=SHAPES // 2, deadline=None)
@given(
    name=st.sampled_from(["spatial", "joint", "tps(pattern=A)", "tps(border=zero)", "xvit", "factorised-dot",
                          "trajectory", "trajectory(values=plain)", "tsm", "local(window_frames=2, window=2)"]),
    frames=st.integers(5, 12), height=st.integers(1, 7), width=st.integers(1, 7), prefix=st.integers(0, 2),
    heads=st.sampled_from([2, 4]), channels=st.sampled_from([16, 24, 40]), more=st.integers(0, 3),
)  # fmt: skip
def test_closed_form_of_one_attention(name, frames, height, width, prefix, heads, channels, more):
    variant = parse(name)
    mixer = variant.block(1, 4)[-1]
    with torch.device("meta"):
        timm = TimmAttention(channels, heads)
        for extra in range(more + 1):  # successive shapes cost less than another drawn example
            grid = Grid(frames, height + extra, width, prefix, variant.prefix_of)
            module = mixer.module(timm, grid)
            x = torch.empty(1, grid.tokens, channels)
            found = on_meta(module, x)
            assert found == mixer.macs(grid, channels)
            own = attending(module, channels)
            assert isinstance(module, (SpaceTimeAttention, KernelAttention))
            assert found == own.projections + own.products
            assert all(macs >= 0 for macs in own.idle().values())


class Table(nn.Module):
    """What a Swin's window attention has, as far as ours takes it over."""

    def __init__(self, channels, heads, window):
        super().__init__()
        rows = (2 * window[0] - 1) * (2 * window[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.empty(rows, heads))
        self.window_size, self.num_heads = window, heads
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.attn_drop, self.proj_drop = nn.Dropout(0.0), nn.Dropout(0.0)


@settings(max_examples=SHAPES // 2, deadline=None)
@given(
    name=st.sampled_from(["spatial", "joint", "tps(pattern=A)", "tps(pattern=A, border=zero)"]),
    frames=st.integers(2, 6), height=st.integers(1, 9), width=st.integers(1, 9),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)), moved=st.booleans(), channels=st.sampled_from([4, 12]),
)  # fmt: skip
def test_closed_form_of_windows(name, frames, height, width, window, moved, channels):
    roll = tuple(side // 2 if moved and size > side else 0
                 for side, size in zip(window, (height, width), strict=True))  # fmt: skip
    grid = WindowGrid(frames, height, width, window=(1, *window), roll=(0, *roll))
    mixer = parse(name).block(1, 4)[-1]
    with torch.device("meta"):
        module = TableAttention(Table(channels, 2, window), mixer, grid)
        found = on_meta(module, torch.empty(frames, height, width, channels))
    own = module.attending()
    assert found == module.macs() == own.projections + own.products
    slots, filled, distinct = own.meetings.slots
    assert slots >= filled == distinct
    if name == "spatial":
        assert distinct == frames * height * width
        assert own.meetings.pairs[2] == seen_by_loops(frames, height, width, window, roll)


def seen_by_loops(frames, height, width, window, roll):
    """Pairs of patches of one window that also lie together before the map was rolled, by plain loops."""

    def cell(at, size, side, by):
        place, padded = (at - by) % size, -(-size // side) * side
        # The last window of a rolled axis holds both ends of the map. They are told apart on the padded map, as
        # timm does it: where the padding fills their place, both ends see each other.
        return place // side, place >= padded - by if by else False

    count = 0
    places = [(h, w) for h in range(height) for w in range(width)]
    key = {(h, w): (cell(h, height, window[0], roll[0]), cell(w, width, window[1], roll[1])) for h, w in places}
    for one in places:
        count += sum(key[one] == key[other] for other in places)
    return frames * count


@settings(max_examples=12, deadline=None)
@given(
    frames=st.integers(5, 9), side=st.integers(2, 4), tubelet=st.sampled_from([1, 2]),
    name=st.sampled_from([*variants(), "local(window_frames=2, window=2)"]),
)  # fmt: skip
def test_counters_agree_for_other_shapes(frames, side, tubelet, name):
    model = create_model("vit_micro_cls", name, frames=frames * tubelet, tubelet=tubelet, size=8 * side, **TINY)
    assert count_macs(model, model.clip_shape).agreed


# ---------------------------------------------------------------------- model against executed


def test_what_holds_no_token_or_is_not_seen_is_idle():
    # windows of 2 × 2 over 3 × 3 patches, unrolled: 4 windows of 4 slots; 9 patches, in windows of 4, 2, 2 and 1
    grid = WindowGrid(5, 3, 3, window=(1, 2, 2))
    found = meetings_of(grid.route(parse("spatial").block(0, 1)[0].routes))
    assert found.slots == (5 * 16, 5 * 9, 5 * 9)
    assert found.pairs == (5 * 64, 5 * (16 + 4 + 4 + 1), 5 * (16 + 4 + 4 + 1))


def test_a_class_token_in_every_group_is_projected_once():
    # 3 × 2 patches in 5 frames and a class token: along time 6 groups of 5 + 1 slots
    grid = Grid(5, 3, 2, 1, "clip")
    divided = parse("divided(class_token=both)").block(0, 1)[0]
    found = meetings_of(divided.routes(grid), grid.clip_prefix)
    assert found.slots == (6 * 6, 6 * 6, 30 + 1)
    assert found.pairs == (6 * 36,) * 3


def test_patch_shift_adds_no_multiply_add():
    shifted, spatial = (create_model("vit_micro", name) for name in ("tps(every=1)", "spatial"))
    assert count_macs(shifted, shifted.clip_shape).value == count_macs(spatial, spatial.clip_shape).value


# ---------------------------------------------------------------------- when counters fail


def test_a_disagreement_is_disputed_and_shows_all_counts():
    model = create_model("vit_micro", "tps")
    model.closed_form_macs = lambda: {"everything": 1}
    macs = count_macs(model, model.clip_shape)
    assert macs.status == "disputed"
    assert macs.by_counter["closed form"] == 1
    assert macs.by_counter["fvcore"] == macs.by_counter["torch"] == macs.value


def test_an_operator_that_no_one_reviewed_is_named_by_both_counters():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, clip):
            return torch.cumsum(clip, 0) * self.scale

    macs = count_macs(Odd(), (3, 2, 4, 4))
    assert "aten::cumsum" in macs.problems["fvcore"]
    assert "aten.cumsum" in macs.problems["torch"]
    assert "closed form" in macs.problems
    assert macs.status == "disputed"
    assert macs.value is None


@pytest.mark.parametrize("operator", ["mv", "dot", "addmv", "addbmm", "_scaled_dot_product_fused_attention"])
def test_what_multiplies_and_has_no_formula_is_never_on_the_list(operator):
    assert not operators.is_reviewed(f"aten.{operator}")
    assert not operators.is_reviewed(f"mine.{operator}")


def test_gradient_of_a_grouped_convolution_is_counted_once():
    conv = nn.Conv2d(6, 6, 3, padding=1, groups=3)
    x = torch.zeros(2, 6, 5, 7, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        counter.flop_registry = dict(operators.formulas())
        conv(x).sum().backward()
    forward = 2 * 5 * 7 * 6 * 2 * 9  # batch × places × outputs × inputs per group × kernel
    assert counter.get_total_flops() == 2 * 3 * forward


def test_macs_are_not_counted_where_the_model_refuses():
    with pytest.raises(InputError):
        create_model("vit_micro", "tokshift", **TINY)
