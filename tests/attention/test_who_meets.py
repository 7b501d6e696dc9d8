"""Who sees whom in every variant: what mixers say, what gradients show, and the definitions must agree."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naive_blocks import NAIVE, worst_difference
from random_blocks import gradient_pattern, random_block, randomised
from who_meets import BORDERS, GRID, MEETS, PREFIXES, block_of, by_hand, on, quick, shifted, short_tiles, windows

from tps_lab.attention import Grid, parse, variants
from tps_lab.attention._modules import ExtraStep, SpaceTimeAttention
from tps_lab.backbones.vit import install

torch.set_num_threads(1)


def test_every_variant_has_its_definition_here():
    named = {text.partition("(")[0] for text in MEETS}
    # another test's own variants may live until they are collected
    ours = {name for name, cls in variants().items() if cls.__module__.startswith("tps_lab.")}
    assert named >= ours, "add the new variant to MEETS and NAIVE"
    assert {text.partition("(")[0] for text in NAIVE} >= ours


@pytest.mark.parametrize(("text", "prefix"), PREFIXES)
def test_sees_is_the_definition(text, prefix):
    variant, mixers, _ = block_of(text)
    assert len(mixers) == len(MEETS[text])
    for mixer, meet in zip(mixers, MEETS[text], strict=True):
        grid = on(GRID, variant, prefix)
        np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, meet))


@quick
@given(
    st.builds(Grid, st.integers(1, 7), st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(0, 1),
)
def test_sees_of_any_windows_is_the_definition(grid, frames, side, index):
    (mixer,) = parse("local", window_frames=frames, window=side).block(index, 2)
    np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, windows(frames, side, moved=index == 1)))


@pytest.mark.parametrize("grid", [Grid(4, 4, 6), Grid(7, 4, 5), Grid(6, 3, 4)], ids=str)
def test_what_is_rolled_around_different_ends_does_not_meet(grid):
    """Windows that divide the grid: the last one of every axis holds two ends, and a corner all eight parts."""
    (mixer,) = parse("local(window_frames=2, window=2)").block(1, 2)
    np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, windows(2, 2, moved=True)))
    assert worst_difference("local(window_frames=2, window=2) @ 1", grid) < 1e-11


@quick
@given(short_tiles, BORDERS, st.booleans(), st.sampled_from([Grid(5, 2, 3), Grid(7, 3, 1), Grid(5, 1, 2, prefix=1)]))
def test_sees_of_any_tile_is_the_definition(tile, border, shift_back, grid):
    (mixer,) = parse("tps", every=1, pattern=tile, border=border, shift_back=shift_back).block(0, 1)
    np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, shifted(tile, border, shift_back)))


# ---------------------------------------------------------------------- who meets whom, by gradient


@pytest.mark.parametrize(("text", "prefix"), PREFIXES)
def test_gradient_of_the_attention_is_the_definition(text, prefix):
    variant, (*extra, last), _ = block_of(text)
    grid = on(GRID, variant, prefix)
    for mixer, meet in zip([*extra, last], MEETS[text], strict=True):
        part = grid if mixer is last else mixer.step_grid(grid)
        module = randomised(mixer.module(random_block().attn, part))
        np.testing.assert_array_equal(gradient_pattern(module, part.tokens), by_hand(part, meet))


@pytest.mark.parametrize("border", ["zero", "edge"])
def test_what_a_border_drops_is_hidden_from_a_clips_class_token_too(border):
    grid = Grid(5, 2, 3, 1, "clip")
    (mixer,) = parse("tps", every=1, border=border).block(0, 1)
    seen = gradient_pattern(SpaceTimeAttention(random_block().attn, mixer, grid), grid.tokens)
    np.testing.assert_array_equal(mixer.sees(grid), seen)
    assert not seen[0].all()


@pytest.mark.parametrize("mixer", range(2))
def test_gradient_of_an_extra_step_leaves_the_class_token_alone(mixer):
    grid = Grid(5, 2, 3, 2, "clip")
    step = randomised(ExtraStep(random_block(), parse("axial").block(0, 1)[mixer], grid))
    expected = np.eye(grid.tokens, dtype=bool)
    expected[2:, 2:] |= by_hand(GRID, MEETS["axial"][mixer])
    np.testing.assert_array_equal(gradient_pattern(step, grid.tokens), expected)


MORE = ["tps(border=zero)", "tps(border=edge, pattern=A)", "divided(every=2)", "axial(every=2)", "xvit(every=2)"]


@pytest.mark.parametrize(
    ("text", "prefix"), [case for case in [*PREFIXES, *((text, 1) for text in MORE)] if "@" not in case[0]]
)
def test_influence_is_the_gradient_of_the_stacked_blocks(text, prefix):
    variant, depth = parse(text), 2
    grid = on(GRID, variant, prefix)
    blocks = [install(random_block(), variant, grid, index, depth) for index in range(depth)]
    model = randomised(torch.nn.Sequential(*blocks))
    np.testing.assert_array_equal(variant.influence(grid, depth), gradient_pattern(model, grid.tokens))


def test_a_class_token_that_takes_part_in_time_carries_it_a_step_earlier():
    """It has seen all frames after the first step of the first block, and every patch after that step's second."""
    grid = Grid(5, 2, 3, 1, "clip")
    code, formula = (parse(f"divided(class_token={where})").mixers_on(grid, 0, 1)[0] for where in ("space", "both"))
    assert not code[0].any()
    assert formula[0].all()
