"""Every attention variant against its definition, written out here again without the partition idea.

Three descriptions of a variant must agree: who may meet (`MEETS`, a rule for two tokens), what is
computed (`NAIVE`, rolls and einsum on a (B, T, H, W, C) tensor), and the package's own modules. A
new variant needs a line in both tables.
"""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import Block

from tps_lab import InputError, ShiftPattern
from tps_lab.attention import Grid, Mixer, _core, _modules, channel_shift, parse, partition, variants
from tps_lab.attention._modules import ExtraStep, SpaceTimeAttention
from tps_lab.attention.patch_shift import shift_routes
from tps_lab.backbones._video import install

torch.set_num_threads(1)

GRID = Grid(5, 2, 3)  # five frames, because pattern C holds ±4
CHANNELS, HEADS = 16, 2  # an eighth of a head's eight channels is one
A = [[0, 1], [-1, 0]]
C = [[-4, 1, 2], [-1, 0, 3], [-2, -3, 4]]
quick = settings(deadline=None, max_examples=40)

short_tiles = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(-4, 4), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)
BORDERS = st.sampled_from(["circular", "zero", "edge"])


# ---------------------------------------------------------------------- who meets whom, by hand


def offset(tile, token):
    """The tile's entry at a token; a class token of a frame is never shifted."""
    _, h, w = token
    return 0 if h is None else tile[h % len(tile)][w % len(tile[0])]


def shifted(tile, border="circular", shift_back=True):
    """May output a (frame, h, w) see input b, in a clip of T frames?"""

    def meet(a, b, T):
        def held(frame):  # is b's content what stands at b's place in mixed frame `frame`?
            source = frame - offset(tile, b)
            if border == "circular":
                return (source - b[0]) % T == 0
            return (min(max(source, 0), T - 1) if border == "edge" else source) == b[0]

        mixed = a[0] + (offset(tile, a) if shift_back else 0)
        if border == "circular":
            return held(mixed % T)
        if border == "edge":
            return held(min(max(mixed, 0), T - 1))
        return 0 <= mixed < T and held(mixed)

    return meet


def same_frame(a, b, T):
    return a[0] == b[0]


def neighbour_frames(a, b, T):
    return abs(a[0] - b[0]) <= 1


def same_place(a, b, T):
    return a[1:] == b[1:]


# variant: what each mixer of its first block lets meet, first to last
MEETS = {
    "spatial": [same_frame],
    "tps(every=1)": [shifted(C)],
    "tps(every=2)": [same_frame],
    "tps(every=1, pattern=A)": [shifted(A)],
    "tps(every=1, pattern=none)": [same_frame],
    "tps(every=1, border=zero)": [shifted(C, "zero")],
    "tps(every=1, border=edge)": [shifted(C, "edge")],
    "tps(every=1, shift_back=False)": [shifted(C, shift_back=False)],
    "tps(every=1, border=zero, shift_back=False)": [shifted(C, "zero", shift_back=False)],
    "tps(every=1, border=edge, shift_back=False)": [shifted(C, "edge", shift_back=False)],
    "tcs": [neighbour_frames],
    "tcs(fraction=4)": [neighbour_frames],
    "tsm": [neighbour_frames],
    "tsm(fraction=3)": [neighbour_frames],
    "tps+tcs": [shifted(C)],
    "tps+tcs(order=tcs-tps)": [neighbour_frames],
    "joint": [lambda a, b, T: True],
    "divided": [same_place, same_frame],
    "axial": [
        same_place,
        lambda a, b, T: a[:2] == b[:2],
        lambda a, b, T: (a[0], a[2]) == (b[0], b[2]),
    ],
}


def tokens_of(grid):
    """(t, h, w) token by token; a frame's class token has no place, a clip's (None) no frame either."""
    found = [None] * grid.prefix if grid.prefix_of == "clip" else []
    for t in range(grid.frames):
        found += [(t, None, None)] * (grid.prefix if grid.prefix_of == "frame" else 0)
        found += [(t, h, w) for h in range(grid.height) for w in range(grid.width)]
    return found


def by_hand(grid, meet):
    tokens = tokens_of(grid)
    return np.array(
        [[a is None or b is None or meet(a, b, grid.frames) for b in tokens] for a in tokens],
    )


def on(grid, variant, prefix):
    return Grid(grid.frames, grid.height, grid.width, prefix, variant.prefix_of)


def test_every_variant_has_its_definition_here():
    named = {text.partition("(")[0] for text in MEETS}
    assert named >= set(variants()), "add the new variant to MEETS and NAIVE"
    assert {text.partition("(")[0] for text in NAIVE} >= set(variants())


@pytest.mark.parametrize("text", MEETS)
@pytest.mark.parametrize("prefix", [0, 2])
def test_sees_is_the_definition(text, prefix):
    variant = parse(text)
    mixers = variant.block(0, 1)
    assert len(mixers) == len(MEETS[text])
    for mixer, meet in zip(mixers, MEETS[text], strict=True):
        grid = on(GRID, variant, prefix)
        np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, meet))


@quick
@given(short_tiles, BORDERS, st.booleans(), st.sampled_from([Grid(5, 2, 3), Grid(7, 3, 1), Grid(5, 1, 2, prefix=1)]))
def test_sees_of_any_tile_is_the_definition(tile, border, shift_back, grid):
    (mixer,) = parse("tps", every=1, pattern=tile, border=border, shift_back=shift_back).block(0, 1)
    np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, shifted(tile, border, shift_back)))


# ---------------------------------------------------------------------- who meets whom, by gradient


def random_block(qk_norm=False, seed=0):
    """A timm block in float64 in which nothing is zero or one."""
    block = Block(CHANNELS, HEADS, qkv_bias=True, qk_norm=qk_norm).double()
    return randomised(block, seed)


def randomised(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


def random_tokens(*size, seed=1):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient_pattern(module, tokens):
    """Which token's input changes which token's output: bool (M, M), row = output.

    Every output token has a copy of the clip to itself in the batch, so one backward gives all rows.
    """
    x = random_tokens(1, tokens, CHANNELS).repeat(tokens, 1, 1).requires_grad_()
    y = module(x)[torch.arange(tokens), torch.arange(tokens)]
    (gradient,) = torch.autograd.grad((y * random_tokens(CHANNELS, seed=2)).sum(), x)
    return (gradient != 0).any(-1).numpy()


@pytest.mark.parametrize("text", MEETS)
@pytest.mark.parametrize("prefix", [0, 2])
def test_gradient_of_the_attention_is_the_definition(text, prefix):
    variant = parse(text)
    *extra, last = variant.block(0, 1)
    grid, bare = on(GRID, variant, prefix), on(GRID, variant, 0)
    for mixer, meet in zip(extra, MEETS[text], strict=False):
        module = SpaceTimeAttention(random_block().attn, mixer, bare)
        np.testing.assert_array_equal(gradient_pattern(module, bare.tokens), by_hand(bare, meet))
    module = SpaceTimeAttention(random_block().attn, last, grid)
    np.testing.assert_array_equal(gradient_pattern(module, grid.tokens), by_hand(grid, MEETS[text][-1]))


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


@pytest.mark.parametrize(
    "text", [*MEETS, "tps(border=zero)", "tps(border=edge, pattern=A)", "divided(every=2)", "axial(every=2)"]
)
@pytest.mark.parametrize("prefix", [0, 1])
def test_influence_is_the_gradient_of_the_stacked_blocks(text, prefix):
    variant, depth = parse(text), 2
    grid = on(GRID, variant, prefix)
    blocks = [install(random_block(), variant, grid, index, depth) for index in range(depth)]
    model = randomised(torch.nn.Sequential(*blocks))
    np.testing.assert_array_equal(variant.influence(grid, depth), gradient_pattern(model, grid.tokens))


# ---------------------------------------------------------------------- what is computed, by hand


def attend(attn, x):
    """Self-attention with a timm module's weights along the last axis but one of (..., S, C)."""
    shape = (*x.shape[:-1], HEADS, CHANNELS // HEADS)
    q, k, v = (part.reshape(shape) for part in attn.qkv(x).chunk(3, -1))
    q, k = attn.q_norm(q), attn.k_norm(k)
    scores = torch.einsum("...qnd,...knd->...nqk", q, k) / (CHANNELS / HEADS) ** 0.5
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return attn.proj(torch.einsum("...nqk,...knd->...qnd", weights, v).reshape(x.shape))


def in_frames(attn, x):
    return attend(attn, x.flatten(2, 3)).reshape(x.shape)


def over_time(attn, x):
    return attend(attn, x.permute(0, 2, 3, 1, 4)).permute(0, 3, 1, 2, 4)


def in_columns(attn, x):
    return attend(attn, x.transpose(2, 3)).transpose(2, 3)


def all_at_once(attn, x):
    return attend(attn, x.flatten(1, 3)).reshape(x.shape)


def later(x, k, border):
    """The clip k frames later (earlier for negative k), by roll or by slices."""
    if border == "circular":
        return torch.roll(x, k, dims=1)
    if k < 0:
        return later(x.flip(1), -k, border).flip(1)
    first = x[:, :1] * (border == "edge")
    return torch.cat([first] * k + [x[:, : x.shape[1] - k]], dim=1)


def shift_cells(x, tile, border, sign):
    y = x.clone()
    rows, columns = len(tile), len(tile[0])
    for i in range(rows):
        for j in range(columns):
            y[:, :, i::rows, j::columns] = later(x[:, :, i::rows, j::columns], sign * tile[i][j], border)
    return y


def tps(tile, border="circular", shift_back=True):
    def mix(attn, x):
        mixed = in_frames(attn, shift_cells(x, tile, border, +1))
        return shift_cells(mixed, tile, border, -1) if shift_back else mixed

    return mix


def tcs(fold):
    """In each head, `fold` channels from the frame before and as many from the one after."""

    def mix(attn, x):
        before, after = torch.cat([x[:, :1], x[:, :-1]], 1), torch.cat([x[:, 1:], x[:, -1:]], 1)
        heads = []
        for own, past, future in zip(x.chunk(HEADS, -1), before.chunk(HEADS, -1), after.chunk(HEADS, -1), strict=True):
            heads += [past[..., :fold], future[..., fold : 2 * fold], own[..., 2 * fold :]]
        return in_frames(attn, torch.cat(heads, -1))

    return mix


def tsm(fold):
    """Of all channels, the first `fold` from the frame after and the next from the one before; zeros at the ends."""

    def mix(attn, x):
        zero = torch.zeros_like(x[:, :1])
        before, after = torch.cat([zero, x[:, :-1]], 1), torch.cat([x[:, 1:], zero], 1)
        return in_frames(attn, torch.cat([after[..., :fold], before[..., fold : 2 * fold], x[..., 2 * fold :]], -1))

    return mix


# variant: (attention, normed patches (B, T, H, W, C)) → what is added, for each mixer of its first block
NAIVE = {
    "spatial": [in_frames],
    "tps(every=1)": [tps(C)],
    "tps(every=1, pattern=A)": [tps(A)],
    "tps(every=1, border=zero)": [tps(C, "zero")],
    "tps(every=1, border=edge)": [tps(C, "edge")],
    "tps(every=1, shift_back=False)": [tps(C, shift_back=False)],
    "tps(every=1, border=zero, shift_back=False)": [tps(C, "zero", shift_back=False)],
    "tcs": [tcs(1)],
    "tcs(fraction=4)": [tcs(2)],
    "tsm": [tsm(2)],
    "tsm(fraction=3)": [tsm(5)],
    "tps+tcs": [tps(C)],
    "tps+tcs(order=tcs-tps)": [tcs(1)],
    "joint": [all_at_once],
    "divided": [over_time, in_frames],
    "axial": [over_time, attend, in_columns],
}


def naive_block(block, mixes, x):
    steps = getattr(block, "steps", [])
    block = getattr(block, "block", block)
    for step, mix in zip(steps, mixes, strict=False):
        x = x + step.out(mix(step.attn.attention, step.norm(x)))
    x = x + mixes[-1](block.attn.attention, block.norm1(x))
    return x + block.mlp(block.norm2(x))


def worst_difference(text, grid=GRID, index=0, mixes=None, qk_norm=False):
    """How far a block's output and its gradients are from the naive block's."""
    block = randomised(install(random_block(qk_norm), parse(text), grid, index, index + 1))
    x = random_tokens(2, grid.frames, grid.height, grid.width, CHANNELS).requires_grad_()
    weight = random_tokens(*x.shape, seed=3)
    ours = block(x.flatten(1, 3)).reshape(x.shape)
    naive = naive_block(block, mixes or NAIVE[text], x)
    inputs = [x, *block.parameters()]
    gradients = zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((naive * weight).sum(), inputs),
        strict=True,
    )
    pairs = [(ours, naive), *gradients]
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1)).item() for a, b in pairs)


@pytest.mark.parametrize("text", NAIVE)
@pytest.mark.parametrize("grid", [GRID, Grid(7, 5, 1), Grid(5, 3, 7)], ids=str)
def test_a_block_is_the_naive_block(text, grid):
    assert worst_difference(text, grid) < 1e-11


@settings(deadline=None, max_examples=20)
@given(short_tiles, BORDERS, st.booleans())
def test_patch_shift_with_any_tile_is_the_naive_block(tile, border, shift_back):
    text = f"tps(every=1, pattern={ShiftPattern.parse(tile)}, border={border}, shift_back={shift_back})"
    assert worst_difference(text, mixes=[tps(tile, border, shift_back)]) < 1e-11


@pytest.mark.parametrize(("order", "mixes"), [("tps-tcs", [tcs(1)]), ("tcs-tps", [tps(C)])])
def test_the_second_block_of_an_alternation_is_the_other_shift(order, mixes):
    assert worst_difference(f"tps+tcs(order={order})", index=1, mixes=mixes) < 1e-11


def test_norms_of_queries_and_keys_stay_the_backbones():
    assert worst_difference("tps(every=1)", qk_norm=True) < 1e-11


@pytest.mark.parametrize("text", ["spatial", "tps(every=1)", "tps(every=1, pattern=A)", "joint", "divided", "axial"])
def test_class_tokens_against_explicit_groups(text):
    """Groups as lists of tokens; a clip's class token joins each group and is averaged afterwards."""
    variant = parse(text)
    grid = on(GRID, variant, 2)
    attention = SpaceTimeAttention(random_block().attn, variant.block(0, 1)[-1], grid)
    tokens = tokens_of(grid)
    patches = [i for i, token in enumerate(tokens) if token is not None]
    shared = [i for i, token in enumerate(tokens) if token is None]
    meet = MEETS[text][-1]
    groups = {tuple(j for j in patches if meet(tokens[i], tokens[j], grid.frames)) for i in patches}
    x = random_tokens(3, grid.tokens, CHANNELS)
    expected = torch.zeros_like(x)
    for group in groups:
        y = attend(attention.attention, x[:, [*shared, *group]])
        expected[:, list(group)] = y[:, len(shared) :]
        expected[:, shared] += y[:, : len(shared)] / len(groups)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-11)


# ---------------------------------------------------------------------- identities


def mixed(text, grid, dtype=torch.float32):
    attention = SpaceTimeAttention(random_block().attn.to(dtype), parse(text).block(0, 1)[-1], grid)
    return attention(random_tokens(2, grid.tokens, CHANNELS).to(dtype))


@pytest.mark.parametrize("border", ["circular", "zero", "edge"])
def test_pattern_none_is_spatial_bit_for_bit(border):
    grid = Grid(5, 2, 3, prefix=1)
    assert torch.equal(mixed(f"tps(every=1, pattern=none, border={border})", grid), mixed("spatial", grid))


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_joint_of_one_frame_is_spatial(prefix):
    joint = mixed("joint", Grid(1, 3, 5, prefix, "clip"), torch.float64)
    torch.testing.assert_close(joint, mixed("spatial", Grid(1, 3, 5, prefix), torch.float64), rtol=0, atol=1e-12)


def test_a_constant_offset_changes_nothing_once_shifted_back():
    torch.testing.assert_close(mixed("tps(every=1, pattern=3)", GRID), mixed("spatial", GRID))


@quick
@given(short_tiles, st.sampled_from([Grid(5, 2, 3), Grid(7, 3, 5), Grid(5, 1, 1)]))
def test_the_one_line_form_of_patch_shift_gives_the_same_groups(tile, grid):
    offsets = np.array(tile)
    rows, columns = offsets.shape
    line = partition(grid, lambda t, h, w: (t + offsets[h % rows, w % columns]) % grid.frames)
    routes = shift_routes(grid, ShiftPattern.parse(tile))
    assert [set(group) for group in line.gather.tolist()] == [set(group) for group in routes.gather.tolist()]
    assert routes.is_permutation
    assert line.is_permutation


def test_groups_of_unequal_sizes_are_refused():
    with pytest.raises(InputError, match=r"unequal sizes \[10, 20\]"):
        partition(GRID, lambda t, h, w: np.minimum(w, 1))


@pytest.mark.parametrize("text", ["spatial", "tps(pattern=none, every=1)"])
def test_frames_in_order_are_not_copied(text):
    (mixer,) = parse(text).block(0, 1)
    assert mixer.routes(GRID).is_identity


# ---------------------------------------------------------------------- which blocks


@pytest.mark.parametrize(
    ("text", "depth", "blocks"),
    [
        ("spatial", 4, "SSSS"),
        ("tps", 5, "SPSPS"),
        ("tps(every=1)", 4, "PPPP"),
        ("tps(every=3)", 7, "SSPSSPS"),
        ("tps(every=1, stages=[1,4])", 4, "PSSP"),
        ("tps(every=1, stages=2)", 8, "SSPPSSSS"),
        ("tps(every=2, stages=[3,4])", 8, "SSSSSPSP"),
        ("tps(every=1, stages=3)", 12, "SSSSSSPPPSSS"),
        ("tcs", 3, "CCC"),
        ("tcs(every=2)", 5, "SCSCS"),
        ("tsm(every=2, stages=[1,2])", 4, "SCSS"),
        ("tps+tcs", 5, "PCPCP"),
        ("tps+tcs(order=tcs-tps)", 5, "CPCPC"),
        ("tps+tcs(every=2)", 8, "SPSCSPSC"),
        ("joint(every=3)", 4, "SSJS"),
    ],
)
def test_schedule_by_hand(text, depth, blocks):
    letters = {"S": same_frame, "P": shifted(C), "C": neighbour_frames, "J": MEETS["joint"][0]}
    for index, letter in enumerate(blocks):
        (mixer,) = parse(text).block(index, depth)
        np.testing.assert_array_equal(mixer.sees(GRID), by_hand(GRID, letters[letter]), err_msg=f"block {index}")


@pytest.mark.parametrize(("text", "steps"), [("divided(every=2)", 2), ("axial(every=2)", 3)])
def test_extra_steps_stand_only_in_blocks_that_are_on(text, steps):
    assert [len(parse(text).block(index, 4)) for index in range(4)] == [1, steps, 1, steps]


# ---------------------------------------------------------------------- reach


def test_patch_shift_in_every_block_of_a_vit_stays_in_its_first_groups():
    grid, variant = Grid(8, 6, 6), parse("tps(every=1)")
    once = variant.influence(grid, 1)
    np.testing.assert_array_equal(variant.influence(grid, 6), once)
    assert set(once.sum(1)) == {36}


@pytest.mark.parametrize(
    ("text", "reached"), [("spatial", 36), ("tps(every=2)", 288), ("joint", 288), ("divided", 288)]
)
def test_how_many_of_288_tokens_influence_one_after_six_blocks(text, reached):
    variant = parse(text)
    assert set(variant.influence(Grid(8, 6, 6), 6).sum(1)) == {reached}


@pytest.mark.parametrize("text", ["tcs", "tsm"])
@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_channel_shift_reaches_one_frame_per_block(text, depth):
    assert parse(text).reach(Grid(7, 2, 3), depth) == depth


@pytest.mark.parametrize(
    ("text", "depth", "frames"),
    [
        ("spatial", 6, 0),
        ("tps(every=1, pattern=A, border=zero)", 1, 2),  # +1 meets -1
        ("tps(every=1, pattern=A, border=zero)", 5, 2),
        ("tps(every=2, pattern=A, border=zero)", 2, 2),
        ("tps(every=2, pattern=A, border=zero)", 4, 4),
        ("tps(every=1, pattern=A, border=zero, shift_back=False)", 1, 1),
        ("tps(every=1, pattern=center-one, border=zero)", 1, 1),
        ("tps(every=1, pattern=A)", 1, 12),  # around the end: frame 0 meets frame 12
        ("tps+tcs(pattern=A, border=zero)", 2, 3),
        ("joint", 1, 12),
        ("divided", 1, 12),
        ("axial", 1, 12),
    ],
)
def test_reach_by_hand(text, depth, frames):
    assert parse(text).reach(Grid(13, 3, 5), depth) == frames


def test_reach_with_a_class_token_per_frame_and_per_clip():
    assert parse("tps(every=1, pattern=A, border=zero)").reach(Grid(13, 3, 5, 1), 1) == 2
    assert parse("tcs").reach(Grid(13, 3, 5, 1), 3) == 3
    # the clip's class token carries what it saw on to everyone, one block later
    divided = parse("divided(stages=[4])")
    assert divided.reach(Grid(13, 3, 5, 0, "clip"), 2) == 0
    assert divided.reach(Grid(13, 3, 5, 1, "clip"), 2) == 12


# ---------------------------------------------------------------------- multiply-adds


@pytest.mark.parametrize("text", [text for text in MEETS if "zero" not in text and "edge" not in text])
@pytest.mark.parametrize("grid", [GRID, Grid(5, 3, 7)], ids=str)
def test_macs_are_a_count_of_pairs(text, grid):
    """4·C² per token and 2·C per pair that meets; extra steps have one more C² per token."""
    channels, expected = 11, 0
    *extra, last = MEETS[text]
    for meet in [*extra, same_frame if last is neighbour_frames else last]:
        pairs = sum(meet(a, b, grid.frames) for a in tokens_of(grid) for b in tokens_of(grid))
        expected += 4 * grid.tokens * channels**2 + 2 * pairs * channels
    expected += len(extra) * grid.tokens * channels**2
    assert parse(text).macs(grid, 1, channels) == expected


def test_macs_with_class_tokens_by_hand():
    # 5 frames of 6 patches. A class token per frame: 5 groups of 7. Per clip: 31 tokens together.
    assert parse("spatial").macs(Grid(5, 2, 3, 1), 1, 10) == 4 * 35 * 100 + 2 * 5 * 49 * 10
    assert parse("joint").macs(Grid(5, 2, 3, 1, "clip"), 1, 10) == 4 * 31 * 100 + 2 * 31**2 * 10
    # divided: 6 groups of 5 without it, an output layer, then 5 groups of 7
    over_time = 4 * 30 * 100 + 2 * 6 * 25 * 10 + 30 * 100
    assert parse("divided").macs(Grid(5, 2, 3, 1, "clip"), 1, 10) == over_time + 4 * 35 * 100 + 2 * 5 * 49 * 10


@pytest.mark.parametrize("text", ["tps", "tps(every=1)", "tcs", "tsm", "tps+tcs"])
def test_shifts_cost_what_spatial_costs(text):
    grid = Grid(5, 3, 7, 1)
    assert parse(text).macs(grid, 4, 11) == parse("spatial").macs(grid, 4, 11)


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
}
any_variant = st.sampled_from(list(variants().values())).flatmap(
    lambda variant: st.builds(variant, **{name: FIELDS[name] for name in variant.options()})
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
        ("tps(every=0)", "every must be a whole number of blocks, 1 or more, got 0"),
        ("tps(every=1.5)", "every must be a whole number"),
        ("tps(stages=5)", "stages must be some of 1, 2, 3, 4"),
        ("tps(stages=[])", "stages must be some of 1, 2, 3, 4"),
        ("tps(stages=early)", "stages must be some of 1, 2, 3, 4"),
        ("tps+tcs(order=tps)", "unknown order 'tps'"),
        ("tcs(fraction=2)", "fraction must be a whole number, 3 or more"),
        ("tsm(fraction=0)", "fraction must be a whole number, 3 or more"),
        ("tps+tcs(fraction=1)", "fraction must be a whole number, 3 or more"),
        ("spatial(every=2)", "'spatial' has no options"),
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


# ---------------------------------------------------------------------- can these tests fail?


def offsets_negated(monkeypatch):
    right = ShiftPattern.offsets_on
    monkeypatch.setattr(ShiftPattern, "offsets_on", lambda self, height, width: -right(self, height, width))


def tile_transposed(monkeypatch):
    right = ShiftPattern.offsets_on
    monkeypatch.setattr(ShiftPattern, "offsets_on", lambda self, height, width: right(self, width, height).T)


def scattered_the_wrong_way(monkeypatch):
    right = _modules.SpaceTimeAttention.rearrange
    monkeypatch.setattr(
        _modules.SpaceTimeAttention, "rearrange", lambda self, x, index, inverse: right(self, x, inverse, index)
    )


def gradient_not_inverted(monkeypatch):
    right = _modules.permute_tokens
    monkeypatch.setattr(_modules, "permute_tokens", lambda x, index, inverse: right(x, index, index))


def time_reversed(monkeypatch):
    right = channel_shift.channel_shift
    monkeypatch.setattr(channel_shift, "channel_shift", lambda x, *args: right(x.flip(1), *args).flip(1))


def heads_forgotten(monkeypatch):
    right = channel_shift.channel_shift
    monkeypatch.setattr(channel_shift, "channel_shift", lambda x, form, fraction, heads: right(x, form, fraction, 1))


MISTAKES = [
    ("tps(every=1)", offsets_negated),
    ("tps(every=1, border=edge)", offsets_negated),
    ("tps(every=1)", tile_transposed),
    ("tps(every=1)", scattered_the_wrong_way),
    ("divided", scattered_the_wrong_way),
    ("tps(every=1)", gradient_not_inverted),
    ("tcs", time_reversed),
    ("tsm", time_reversed),
    ("tcs", heads_forgotten),
]


@pytest.mark.parametrize(("text", "mistake"), MISTAKES)
def test_the_naive_block_sees_a_mistake(monkeypatch, text, mistake):
    mistake(monkeypatch)
    assert worst_difference(text) > 1e-3


@pytest.mark.parametrize("mistake", [offsets_negated, tile_transposed])
def test_the_definition_sees_a_mistake(monkeypatch, mistake):
    mistake(monkeypatch)
    (mixer,) = parse("tps(every=1)").block(0, 1)
    assert (mixer.sees(GRID) != by_hand(GRID, shifted(C))).any()


def test_a_wrong_claim_about_channel_shift_is_seen():
    (mixer,) = parse("tcs").block(0, 1)
    claim = Mixer(mixer.routes, mixer.before, content_from=(0, 1))
    real = SpaceTimeAttention(copy.deepcopy(random_block().attn), mixer, GRID)
    assert (claim.sees(GRID) != gradient_pattern(real, GRID.tokens)).any()
