"""A variant's text form, its options, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_blocks import mixed, random_block, random_tokens
from timm.models.vision_transformer import Block, ResPostBlock
from who_meets import BORDERS, CHANNELS, GRID, quick, short_tiles

from tps_lab import InputError
from tps_lab.attention import Grid, _core, parse, variants
from tps_lab.attention._modules import SpaceTimeAttention
from tps_lab.backbones.vit import install

# ---------------------------------------------------------------------- text and options

FIELDS = {
    "every": st.integers(1, 3),
    "stages": st.lists(st.integers(1, 4), min_size=1, unique=True).map(tuple),
    "border": BORDERS,
    "shift_back": st.booleans(),
    "bias": st.sampled_from(["moved", "fixed"]),
    "order": st.sampled_from(["tps-tcs", "tcs-tps"]),
    "fraction": st.integers(3, 9),
    "pattern": st.one_of(short_tiles, st.sampled_from(["A", "B", "C", "D", "none", "center-one"])),
    "class_token": st.sampled_from(["space", "both"]),
    "window_frames": st.integers(1, 12),
    "window": st.integers(1, 4),
    "moved": st.booleans(),
    "values": st.sampled_from(["projected", "plain"]),
    "channels": st.sampled_from(["head", "all"]),
    "layers": st.integers(1, 3),
    "natten window_frames": st.integers(0, 5),
    "natten window": st.integers(0, 1),
    "dilation_frames": st.integers(1, 2),
    "dilation": st.integers(1, 1),
    "sliding-tile window_frames": st.integers(0, 2),
    "sliding-tile window": st.integers(0, 1),
    "tile_frames": st.integers(1, 4),
    "tile": st.integers(1, 4),
    "sink": st.booleans(),
    "width": st.integers(1, 12),
    "time": st.integers(1, 3),
    "space": st.integers(1, 3),
    "full": st.lists(st.integers(1, 4), unique=True).map(tuple),
    "zeroi2v fraction": st.integers(7, 12),
    "frozen": st.booleans(),
    "rotary": st.booleans(),
    "far": st.integers(1, 3),
    "factorised-self order": st.sampled_from(["space-time", "time-space"]),
}
any_variant = st.sampled_from(list(variants().values())).flatmap(
    lambda variant: st.builds(
        variant, **{name: FIELDS.get(f"{variant.name} {name}", FIELDS[name]) for name in variant.options()}
    )
)


@settings(deadline=None, max_examples=150)
@given(any_variant)
def test_text_parses_back(variant):
    assert parse(str(variant)) == variant
    assert hash(parse(str(variant))) == hash(variant)
    assert parse(variant) == variant


@quick
@given(any_variant, st.integers(1, 5))
def test_any_options_make_mixers_for_any_depth(variant, depth):
    grid = Grid(11, 2, 3, 1, variant.prefix_of)
    for index in range(depth):
        seen = variant.mixers_on(grid, index, depth)[-1]
        assert seen.shape == (grid.tokens, grid.tokens)
    assert variant.reach(grid, depth) < grid.frames


def test_the_list_starts_with_spatial_and_the_shifts():
    assert list(variants())[:4] == ["spatial", "tps", "tcs", "tps+tcs"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("tps", "TPS-C"),
        ("tps(pattern=A, every=1)", "TPS-A (every=1)"),
        ("tps(pattern=0 3 / 1 0)", "TPS-[0 3 / 1 0]"),
        ("tps(stages=[2,3], shift_back=False)", "TPS-C (stages=[2,3], shift_back=False)"),
        ("tps+tcs(pattern=B)", "TPS+TCS-B"),
        ("divided(every=2)", "Divided (T+S) (every=2)"),
        ("joint", "Joint"),
    ],
)
def test_labels(text, label):
    assert parse(text).label == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpss", "did you mean 'tps'"),
        ("tps(patern=A)", "did you mean 'pattern'"),
        ("tps(pattern=centre-one)", "did you mean 'center-one'"),
        ("tps(border=zeros)", "did you mean 'zero'"),
        ("tps(bias=moving)", "did you mean 'moved'"),
        ("tps(shift_back=perhaps)", "shift_back must be true or false"),
        ("tps(every=0)", "every of attention variant 'tps' must be from 1 to 10,000, got 0"),
        ("tps(every=1.5)", "every must be a whole number"),
        ("tps(stages=5)", "stages must be some of 1, 2, 3, 4"),
        ("tps(stages=[])", "stages must be some of 1, 2, 3, 4"),
        ("tps(stages=early)", "stages must be some of 1, 2, 3, 4"),
        ("tps+tcs(order=tps)", "unknown order 'tps'"),
        ("tcs(fraction=2)", "must be from 3 to 10,000"),
        ("tsm(fraction=0)", "must be from 3 to 10,000"),
        ("tps+tcs(fraction=1)", "must be from 3 to 10,000"),
        ("spatial(every=2)", "'spatial' has no options"),
        ("divided(class_token=time)", "unknown class_token 'time'"),
        ("local(window=0)", "window of attention variant 'local' must be from 1 to 10,000, got 0"),
        ("local(window_frames=2.5)", "window_frames must be a whole number"),
        ("factorised-encoder(layers=0)", "must be from 1 to 10,000, got 0"),
        ("factorised-encoder(every=2)", "expected one of layers"),
        ("factorised-self(order=time)", "unknown order 'time'; did you mean 'time-space'"),
        ("trajectory(values=raw)", "unknown values 'raw'"),
        ("xvit(channels=heads)", "did you mean 'head'"),
        ("xvit(fraction=2)", "must be from 3 to 10,000"),
        ("tokshift(fraction=2)", "must be from 3 to 10,000"),
        ("svg(width=0)", "must be from 1"),
        ("sliding-tile(tile=0)", "tile of attention variant 'sliding-tile' must be from 1"),
        ("sliding-tile(windows=3)", "did you mean 'window'"),
    ],
)
def test_bad_options_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_too_few_channels_to_shift_are_refused():
    with pytest.raises(InputError, match="8 channels cannot give 1/9"):
        mixed("tcs(fraction=9)", GRID)


def test_tokens_of_another_grid_are_refused():
    attention = SpaceTimeAttention(random_block().attn, _core.frame_by_frame, GRID)
    with pytest.raises(InputError, match=r"expected 30 tokens for .*, got 31"):
        attention(random_tokens(1, 31, CHANNELS))


def test_masks_are_refused():
    attention = SpaceTimeAttention(random_block().attn, _core.frame_by_frame, GRID)
    with pytest.raises(InputError, match="masks"):
        attention(random_tokens(1, 30, CHANNELS), is_causal=True)


def test_extra_steps_refuse_a_class_token_per_frame():
    with pytest.raises(InputError, match="class token must belong to the clip"):
        install(random_block(), parse("divided"), Grid(5, 2, 3, 1, "frame"), 0, 1)


@pytest.mark.parametrize("prefix", [0, 1])
def test_token_shift_without_a_class_token_per_frame_is_refused(prefix):
    with pytest.raises(InputError, match="tokshift shifts the class tokens of the frames, and there are none"):
        parse("tokshift").influence(Grid(5, 2, 3, prefix, "clip"), 1)


def test_an_odd_number_of_heads_cannot_be_halved():
    with pytest.raises(InputError, match="halves the heads, and this model has 3"):
        install(Block(12, 3), parse("factorised-dot"), GRID, 0, 1)


@pytest.mark.parametrize("text", ["factorised-dot", "trajectory", "xvit"])
def test_kernels_refuse_an_attention_that_they_do_not_know(text):
    with pytest.raises(
        InputError, match=f"{text} splits timm's Attention .* this model has Diff.*: spatial, tps, "
    ) as e:
        install(Block(16, 2, attn_layer="diff"), parse(text), GRID, 0, 1)
    for fits in str(e.value).rpartition(": ")[2].split(", "):
        install(Block(16, 2, attn_layer="diff"), parse(fits), GRID, 0, 1)


def test_a_step_between_attention_and_mlp_needs_a_block_that_can_be_split():
    with pytest.raises(InputError, match="needs timm's plain Block, not ResPostBlock"):
        install(ResPostBlock(16, 2), parse("factorised-self"), GRID, 0, 1)


def test_kernels_check_their_tokens():
    module = parse("xvit").block(0, 1)[0].module(random_block().attn, GRID)
    with pytest.raises(InputError, match=r"expected 30 tokens for .*, got 31"):
        module(random_tokens(1, 31, CHANNELS))
    with pytest.raises(InputError, match="masks"):
        module(random_tokens(1, 30, CHANNELS), is_causal=True)


def test_a_name_of_the_packages_own_is_refused():
    # as a plugin's file would define it; a class that is gone does not count
    made = type("Mine", (variants()["spatial"],), {"name": "joint", "__module__": "__main__"})
    try:
        with pytest.raises(InputError, match=r"'joint' of Mine in .* is taken by the package itself"):
            variants()
        again = type("Mine", (variants.__globals__["Variant"],), {"name": "mine", "__module__": "__main__"})
        assert variants()["mine"] is again  # the class is defined anew, under another name
    finally:
        made.name = ""
