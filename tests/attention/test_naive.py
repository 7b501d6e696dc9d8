"""Every variant's block against the naive one, forward and gradient, in float64, and how class tokens join in."""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_blocks import NAIVE, attend, in_windows, leaping, spans, tcs, tps, worst_difference
from random_blocks import random_block, random_tokens, randomised
from timm.models.vision_transformer import VisionTransformer
from torch.nn.attention import SDPBackend, sdpa_kernel
from who_meets import BORDERS, CHANNELS, GRID, HEADS, MEETS, C, block_of, on, short_tiles, tokens_of

from tps_lab import ShiftPattern
from tps_lab.attention import Grid, _modules, parse
from tps_lab.attention._modules import SpaceTimeAttention

torch.set_num_threads(1)


@pytest.mark.parametrize("text", NAIVE)
@pytest.mark.parametrize("grid", [GRID, Grid(7, 5, 1), Grid(5, 3, 7)], ids=str)
def test_a_block_is_the_naive_block(text, grid):
    assert worst_difference(text, grid) < 1e-11


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([text for text in NAIVE if "tps" not in text and not text.startswith("natten(")]),  # may not fit
    st.builds(Grid, st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
)
def test_a_block_on_any_grid_is_the_naive_block(text, grid):
    assert worst_difference(text, grid) < 1e-11


@settings(deadline=None, max_examples=30)
@given(
    st.builds(Grid, st.integers(1, 7), st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 8),
    st.integers(1, 6),
    st.integers(0, 1),
)
def test_any_windows_are_the_naive_block(grid, frames, side, index):
    text = f"local(window_frames={frames}, window={side})"
    assert worst_difference(text, grid, index, [in_windows(frames, side, moved=index == 1)]) < 1e-11


@settings(deadline=None, max_examples=20)
@given(short_tiles, BORDERS, st.booleans())
def test_patch_shift_with_any_tile_is_the_naive_block(tile, border, shift_back):
    text = f"tps(every=1, pattern={ShiftPattern.parse(tile)}, border={border}, shift_back={shift_back})"
    assert worst_difference(text, mixes=[tps(tile, border, shift_back)]) < 1e-11


@pytest.mark.parametrize(("order", "mixes"), [("tps-tcs", [tcs(1)]), ("tcs-tps", [tps(C)])])
def test_the_second_block_of_an_alternation_is_the_other_shift(order, mixes):
    assert worst_difference(f"tps+tcs(order={order})", index=1, mixes=mixes) < 1e-11


def test_the_second_block_of_leaps_pairs_nearer_frames():
    assert worst_difference("leap", index=1, mixes=[leaping(1)]) < 1e-11


def test_norms_of_queries_and_keys_stay_the_backbones():
    assert worst_difference("tps(every=1)", qk_norm=True) < 1e-11


@pytest.mark.parametrize(
    "text",
    [
        *("spatial", "tps(every=1)", "tps(every=1, pattern=A)", "joint", "divided", "axial", "l+g"),
        *("local(window_frames=2, window=2)", "factorised-self", "areas"),
    ],
)
def test_class_tokens_against_explicit_groups(text):
    """Groups as lists of tokens; a clip's class token joins each group and is averaged afterwards."""
    variant = parse(text)
    grid = on(GRID, variant, 2)
    attention = SpaceTimeAttention(random_block().attn, variant.block(0, 1)[-1], grid)
    tokens = tokens_of(grid)
    patches = [i for i, token in enumerate(tokens) if token is not None]
    shared = [i for i, token in enumerate(tokens) if token is None]
    meet = MEETS[text][-1]
    groups = {tuple(j for j in patches if meet(tokens[i], tokens[j], grid)) for i in patches}
    x = random_tokens(3, grid.tokens, CHANNELS)
    expected = torch.zeros_like(x)
    for group in groups:
        y = attend(attention.attention, x[:, [*shared, *group]])
        expected[:, list(group)] = y[:, len(shared) :]
        expected[:, shared] += y[:, : len(shared)] / len(groups)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-11)


def test_class_tokens_join_every_moved_window_as_it_was_rolled():
    """Patches see their own part of a rolled window; the class token's copy sees all of it."""
    grid = Grid(4, 2, 4, 1, "clip")
    (mixer,) = parse("local(window_frames=2, window=2)").block(1, 2)
    attention = SpaceTimeAttention(random_block().attn, mixer, grid)
    x = random_tokens(3, grid.tokens, CHANNELS)
    patches = x[:, 1:].reshape(3, 4, 2, 4, CHANNELS)
    expected, of_class = torch.zeros_like(patches), []
    rolled = patches.roll((-1, -1), (1, 3))
    for t, w in itertools.product((0, 2), (0, 2)):
        window = torch.cat([x[:, :1], rolled[:, t : t + 2, :, w : w + 2].flatten(1, 3)], 1)
        of_class.append(attend(attention.attention, window)[:, 0])
    for t, w in itertools.product(spans(4, 2, moved=True), spans(4, 2, moved=True)):
        part = patches[:, t, :, w]
        y = attend(attention.attention, torch.cat([x[:, :1], part.flatten(1, 3)], 1))
        expected[:, t, :, w] = y[:, 1:].reshape(part.shape)
    y = attention(x)
    torch.testing.assert_close(y[:, 1:], expected.flatten(1, 3), rtol=0, atol=1e-11)
    torch.testing.assert_close(y[:, 0], torch.stack(of_class).mean(0), rtol=0, atol=1e-11)


def only(block_attn, heads):
    """The attention with all but some heads' channels cut out of the output projection's input."""
    attn = copy.deepcopy(block_attn)
    d = CHANNELS // HEADS
    with torch.no_grad():
        for head in set(range(HEADS)) - set(heads):
            attn.proj.weight[:, head * d : (head + 1) * d] = 0
    return attn


def test_class_tokens_of_factorised_dot_product_join_the_groups_of_each_half():
    grid = Grid(5, 2, 3, 2, "clip")
    attn = random_block().attn
    ours = parse("factorised-dot").block(0, 1)[0].module(attn, grid)
    x = random_tokens(3, grid.tokens, CHANNELS)
    divided = parse("divided(class_token=both)").block(0, 1)
    time, space = (
        SpaceTimeAttention(only(attn, [head]), mixer, grid) for head, mixer in zip((0, 1), divided, strict=True)
    )
    torch.testing.assert_close(ours(x), time(x) + space(x) - attn.proj.bias, rtol=0, atol=1e-11)


def test_the_class_token_of_a_trajectory_sees_all_and_patches_do_not_see_it():
    grid, attn = Grid(5, 2, 3, 2, "clip"), random_block().attn
    module = randomised(parse("trajectory").block(0, 1)[0].module(attn, grid))
    bare = parse("trajectory").block(0, 1)[0].module(module.attention, Grid(5, 2, 3))
    bare.layers = module.layers
    x = random_tokens(3, grid.tokens, CHANNELS)
    expected = torch.cat([attend(module.attention, x)[:, :2], bare(x[:, 2:])], 1)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-11)


def test_the_transformer_over_frames_is_the_naive_one():
    """Class token in front, blocks over all frames, norm, class token out; or no class token and the mean."""
    for pool in ("token", "avg"):
        options = {"img_size": 8, "patch_size": 4, "embed_dim": CHANNELS, "num_heads": HEADS, "depth": 1}
        image = VisionTransformer(**options, class_token=pool == "token", global_pool=pool)
        after = randomised(parse("factorised-encoder", layers=2).after(image, GRID).double())
        x = random_tokens(3, 5, CHANNELS)
        expected = x if pool == "avg" else torch.cat([after.class_token.expand(3, 1, CHANNELS), x], 1)
        for block in after.blocks:
            expected = expected + attend(block.attn, block.norm1(expected))
            expected = expected + block.mlp(block.norm2(expected))
        expected = after.norm(expected)
        expected = expected.mean(1) if pool == "avg" else expected[:, 0]
        torch.testing.assert_close(after(x), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("text", ["joint", "local(window_frames=2, window=2) @ 1", "trajectory", "factorised-dot"])
def test_attention_is_fused_and_four_dimensional(text, monkeypatch):
    """On five dimensions torch silently takes the unfused kernel, several times slower."""
    seen, right = [], torch.nn.functional.scaled_dot_product_attention

    def fused(q, k, v, **options):
        seen.append(
            {q.ndim, k.ndim, v.ndim} | ({mask.ndim} if (mask := options.get("attn_mask")) is not None else set())
        )
        return right(q, k, v, **options)

    for module in (torch.nn.functional, _modules):
        monkeypatch.setattr(module, "scaled_dot_product_attention", fused)
    _, mixers, _ = block_of(text)
    module = mixers[-1].module(random_block().attn, GRID)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.no_grad():  # an error where it cannot be had
        module(random_tokens(2, GRID.tokens, CHANNELS))
    assert seen
    assert set().union(*seen) == {4}
