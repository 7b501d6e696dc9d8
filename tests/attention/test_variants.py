"""Every attention variant against its definition, written out here again without the partition idea.

Three descriptions of a variant must agree: who may meet (`MEETS`, a rule for two tokens), what is
computed (`NAIVE`, rolls and einsum on a (B, T, H, W, C) tensor), and the package's own modules. A
new variant needs a line in both tables.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer
from torch.nn.attention import SDPBackend, sdpa_kernel

from tps_lab import InputError, ShiftPattern
from tps_lab.attention import (
    Grid,
    Mixer,
    _core,
    _modules,
    channel_shift,
    factorised_dot,
    factorised_self,
    local,
    parse,
    partition,
    space_time_mixing,
    sparse,
    token_shift,
    variants,
)
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
    """May output a (frame, h, w) see input b, in a clip of this grid?"""

    def meet(a, b, grid):
        T = grid.frames

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


def same_frame(a, b, grid):
    return a[0] == b[0]


def neighbour_frames(a, b, grid):
    return abs(a[0] - b[0]) <= 1


def same_place(a, b, grid):
    return a[1:] == b[1:]


def same_place_or_frame(a, b, grid):
    return same_place(a, b, grid) or same_frame(a, b, grid)


def anyone(a, b, grid):
    return True


def patches_only(a, b, grid):
    return True


def own_or_neighbouring_class_token(a, b, grid):
    return a == b or (a[1:] == b[1:] == (None, 0) and abs(a[0] - b[0]) == 1)


def windows(frames, side, moved=False):
    """Between the same cuts on every axis; a moved axis is cut half a window later, if it is cut at all."""

    def meet(a, b, grid):
        for x, y, window, length in zip(
            a, b, (frames, side, side), (grid.frames, grid.height, grid.width), strict=True
        ):
            first = window // 2 if moved and window < length else 0
            cuts = range(first, length, window)
            if any(min(x, y) < cut <= max(x, y) for cut in cuts):
                return False
        return True

    return meet


def same_quarter(a, b, grid):
    return all((2 * x < n) == (2 * y < n) for x, y, n in zip(a[1:], b[1:], (grid.height, grid.width), strict=True))


def even_steps_apart(a, b, grid):
    return all((x - y) % 2 == 0 for x, y in zip(a, b, strict=True))


# variant: what each mixer of its first block (@ 1: of its second) lets meet, extra steps first
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
    "joint": [anyone],
    "divided": [same_place, same_frame],
    "divided(class_token=both)": [same_place, same_frame],
    "axial": [
        same_place,
        lambda a, b, grid: a[:2] == b[:2],
        lambda a, b, grid: (a[0], a[2]) == (b[0], b[2]),
    ],
    "local": [anyone],  # as large as the clip
    "local(window_frames=2, window=2)": [windows(2, 2)],
    "local(window_frames=2, window=2) @ 1": [windows(2, 2, moved=True)],
    "local(window_frames=3, window=1) @ 1": [windows(3, 1, moved=True)],
    "local(window_frames=2, window=2, moved=False) @ 1": [windows(2, 2)],
    "local(window_frames=2, window=2, every=2) @ 1": [windows(2, 2)],
    "l+g": [same_quarter, even_steps_apart],
    "factorised-encoder": [same_frame],
    "factorised-self": [same_place, same_frame],
    "factorised-self(order=time-space)": [same_place, same_frame],
    "factorised-dot": [same_place_or_frame],
    "trajectory": [patches_only],
    "trajectory(values=plain)": [patches_only],
    "xvit": [neighbour_frames],
    "xvit(channels=all)": [neighbour_frames],
    "tokshift": [own_or_neighbouring_class_token, own_or_neighbouring_class_token, same_frame],
}
PREFIXES = [(text, prefix) for text in MEETS for prefix in (0, 2) if prefix or not text.startswith("tokshift")]
MIXES = [case for case in PREFIXES if not case[0].startswith("tokshift")]


def block_of(text):
    """The variant, its mixers and the index of the block that a line of the tables is about."""
    name, _, index = text.partition(" @ ")
    variant, index = parse(name), int(index or 0)
    return variant, variant.block(index, index + 1), index


def tokens_of(grid):
    """(t, h, w) token by token; a frame's i-th prefix token is (t, None, i), a clip's is None."""
    found = [None] * grid.prefix if grid.prefix_of == "clip" else []
    for t in range(grid.frames):
        found += [(t, None, i) for i in range(grid.prefix if grid.prefix_of == "frame" else 0)]
        found += [(t, h, w) for h in range(grid.height) for w in range(grid.width)]
    return found


def by_hand(grid, meet):
    tokens = tokens_of(grid)
    shown = meet is not patches_only  # may patches see a clip's prefix?
    return np.array(
        [[a is None or (shown if b is None else meet(a, b, grid)) for b in tokens] for a in tokens],
    )


def on(grid, variant, prefix):
    return Grid(grid.frames, grid.height, grid.width, prefix, variant.prefix_of)


def test_every_variant_has_its_definition_here():
    named = {text.partition("(")[0] for text in MEETS}
    assert named >= set(variants()), "add the new variant to MEETS and NAIVE"
    assert {text.partition("(")[0] for text in NAIVE} >= set(variants())


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


def spans(length, window, moved):
    """Where an axis is cut into windows, as slices."""
    window = min(window, length)
    cuts = [0, *range(window // 2 if moved and window < length else window, length, window), length]
    return [slice(*pair) for pair in itertools.pairwise(sorted(set(cuts)))]


def in_boxes(attn, x, *axes):
    """Attention inside every box of slices along T, H and W."""
    y = torch.zeros_like(x)
    for box in itertools.product(*axes):
        part = x[(slice(None), *box)]
        y[(slice(None), *box)] = all_at_once(attn, part) if part.numel() else part
    return y


def in_windows(frames, side, moved=False):
    def mix(attn, x):
        axes = zip(x.shape[1:4], (frames, side, side), strict=True)
        return in_boxes(attn, x, *(spans(length, window, moved) for length, window in axes))

    return mix


def in_quarters(attn, x):
    halves = [(slice(0, (n + 1) // 2), slice((n + 1) // 2, n)) for n in x.shape[2:4]]
    return in_boxes(attn, x, [slice(None)], *halves)


def at_a_stride_of_two(attn, x):
    return in_boxes(attn, x, *[[slice(0, None, 2), slice(1, None, 2)]] * 3)


def heads_of(attn, x):
    """Queries, keys and values, each (B, heads, d, T, H, W)."""
    parts = [part.unflatten(-1, (HEADS, -1)).permute(0, 4, 5, 1, 2, 3) for part in attn.qkv(x).chunk(3, -1)]
    return parts[0] / (CHANNELS / HEADS) ** 0.5, parts[1], parts[2]


def softmax(scores, *dims):
    weights = scores.exp()
    return weights / weights.sum(dims, keepdim=True)


def put_together(attn, y):
    return attn.proj(y.permute(0, 3, 4, 5, 1, 2).flatten(-2))


def half_of_the_heads_over_time(attn, x):
    q, k, v = heads_of(attn, x)
    first, second = slice(0, HEADS // 2), slice(HEADS // 2, None)
    scores = softmax(torch.einsum("bndthw,bndshw->bnthws", q[:, first], k[:, first]), -1)
    time = torch.einsum("bnthws,bndshw->bndthw", scores, v[:, first])
    scores = softmax(torch.einsum("bndthw,bndtij->bnthwij", q[:, second], k[:, second]), -2, -1)
    return put_together(attn, torch.cat([time, torch.einsum("bnthwij,bndtij->bndthw", scores, v[:, second])], 1))


def along_trajectories(projected):
    def mix(attn, x, layers):
        q, k, v = heads_of(attn, x)
        scores = softmax(torch.einsum("bndthw,bndsij->bnthwsij", q, k), -2, -1)
        path = torch.einsum("bnthwsij,bndsij->bthwsnd", scores, v).flatten(-2)  # (B, T, H, W, T', C)
        own = torch.stack([path[:, t, :, :, t] for t in range(x.shape[1])], 1)
        query, key = layers["query"](own).unflatten(-1, (HEADS, -1)), layers["key"](path).unflatten(-1, (HEADS, -1))
        value = (layers["value"](path) if projected else path).unflatten(-1, (HEADS, -1))
        weights = softmax(torch.einsum("bthwnd,bthwsnd->bthwsn", query, key) / (CHANNELS / HEADS) ** 0.5, -2)
        return attn.proj(torch.einsum("bthwsn,bthwsnd->bthwnd", weights, value).flatten(-2))

    return mix


def keys_from_three_frames(places):
    """`places`: which of the 16 channels of keys and values come from the frame after, and from the one before."""

    def mix(attn, x):
        q, k, v = attn.qkv(x).chunk(3, -1)
        moved = []
        for part in (k, v):
            zero = torch.zeros_like(part[:, :1])
            after, before = torch.cat([part[:, 1:], zero], 1), torch.cat([zero, part[:, :-1]], 1)
            channels = [
                (after if c in places[0] else before if c in places[1] else part)[..., c] for c in range(CHANNELS)
            ]
            moved.append(torch.stack(channels, -1))
        q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in (q, *moved))
        scores = softmax(torch.einsum("bthwnd,btijnd->bthwnij", q, k) / (CHANNELS / HEADS) ** 0.5, -2, -1)
        return attn.proj(torch.einsum("bthwnij,btijnd->bthwnd", scores, v).flatten(-2))

    return mix


def class_tokens_of_neighbours(x):
    """Frames as rows of tokens (B, T, 1, tokens, C), the first of them the class token: a quarter of it each way."""
    y, frames, quarter = x.clone(), x.shape[1], CHANNELS // 4
    y[:, :, 0, 0, : 2 * quarter] = 0
    for t in range(frames):
        if t + 1 < frames:
            y[:, t, 0, 0, :quarter] = x[:, t + 1, 0, 0, :quarter]
        if t > 0:
            y[:, t, 0, 0, quarter : 2 * quarter] = x[:, t - 1, 0, 0, quarter : 2 * quarter]
    return y


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
    "local": [all_at_once],
    "local(window_frames=2, window=2)": [in_windows(2, 2)],
    "local(window_frames=2, window=2) @ 1": [in_windows(2, 2, moved=True)],
    "local(window_frames=3, window=1) @ 1": [in_windows(3, 1, moved=True)],
    "l+g": [in_quarters, at_a_stride_of_two],
    "factorised-encoder": [in_frames],
    "factorised-self": [over_time, in_frames],
    "factorised-self(order=time-space)": [over_time, in_frames],
    "factorised-dot": [half_of_the_heads_over_time],
    "trajectory": [along_trajectories(projected=True)],
    "trajectory(values=plain)": [along_trajectories(projected=False)],
    "xvit": [keys_from_three_frames([(0, 1, 8, 9), (2, 3, 10, 11)])],
    "xvit(channels=all)": [keys_from_three_frames([(0, 1, 2, 3), (4, 5, 6, 7)])],
    "tokshift": [class_tokens_of_neighbours, class_tokens_of_neighbours, in_frames],
}


def naive_block(text, block, mixes, x):
    """Attention and MLP with residuals, extra steps where the definition has them."""
    *steps, last = mixes
    modules = [*getattr(block, "steps", []), *getattr(block, "between", [])]
    block = getattr(block, "block", block)

    def step(x):
        mix = steps.pop(0)
        if mix is class_tokens_of_neighbours:
            return mix(x)
        module = modules.pop(0)
        return x + module.out(mix(module.attn.attention, module.norm(x)))

    while len(steps) > {"factorised-self": 1, "tokshift": 1}.get(text, 0):
        x = step(x)
    y = block.norm1(x)
    layers = getattr(block.attn, "layers", {})
    x = x + (last(block.attn.attention, y, layers) if len(layers) else last(block.attn.attention, y))
    for _ in list(steps):
        x = step(x)
    return x + block.mlp(block.norm2(x))


def worst_difference(text, grid=GRID, index=None, mixes=None, qk_norm=False):
    """How far a block's output and its gradients are from the naive block's."""
    variant, _, first = block_of(text)
    index = first if index is None else index
    if variant.needs_class_token:  # a frame as one row of tokens, the class token first
        grid = Grid(grid.frames, 1, grid.height * grid.width, prefix=1)
    block = randomised(install(random_block(qk_norm), variant, grid, index, index + 1))
    x = random_tokens(2, grid.frames, grid.height, grid.width + grid.prefix, CHANNELS).requires_grad_()
    weight = random_tokens(*x.shape, seed=3)
    ours = block(x.flatten(1, 3)).reshape(x.shape)
    naive = naive_block(text, block, mixes or NAIVE[text], x)
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


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([text for text in NAIVE if "tps" not in text]),
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


def test_norms_of_queries_and_keys_stay_the_backbones():
    assert worst_difference("tps(every=1)", qk_norm=True) < 1e-11


@pytest.mark.parametrize(
    "text",
    [
        *("spatial", "tps(every=1)", "tps(every=1, pattern=A)", "joint", "divided", "axial", "l+g"),
        *("local(window_frames=2, window=2)", "factorised-self"),
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


HOLES = ("zero", "edge", "local(", "l+g", "factorised-dot", "trajectory", "tokshift")  # counted by hand below


@pytest.mark.parametrize("text", [text for text in MEETS if not any(word in text for word in HOLES)])
@pytest.mark.parametrize("grid", [GRID, Grid(5, 3, 7)], ids=str)
def test_macs_are_a_count_of_pairs(text, grid):
    """4·C² per token and 2·C per pair that meets; extra steps but ViViT's have one more C² per token."""
    channels, expected = 11, 0
    *extra, last = MEETS[text]
    for meet in [*extra, same_frame if last is neighbour_frames else last]:
        pairs = sum(meet(a, b, grid) for a in tokens_of(grid) for b in tokens_of(grid))
        expected += 4 * grid.tokens * channels**2 + 2 * pairs * channels
    if not text.startswith("factorised-self"):
        expected += len(extra) * grid.tokens * channels**2
    assert parse(text).macs(grid, 1, channels) == expected


@pytest.mark.parametrize(
    ("text", "depth", "slots", "groups_of"),
    [
        # 5×2×3 patches, windows of 2×2×2: 3×1×2 of them, each with 8 slots, half of them holes
        ("local(window_frames=2, window=2)", 1, 48, 8),
        ("local(window_frames=2, window=2)", 2, 96, 8),
        ("local(window_frames=5, window=3)", 2, 60, 30),
    ],
)
def test_macs_of_windows_count_their_holes(text, depth, slots, groups_of):
    assert parse(text).macs(GRID, depth, 11) == 4 * slots * 121 + 2 * slots * groups_of * 11


def test_macs_of_what_is_no_partition_by_hand():
    c, m, t, n = 12, 30, 5, 6
    # quarters of 2 or 1 of 3 columns × 1 row × 5 frames: 4 groups of 10; then 3·1·2 of the 5·2·3: 8 groups of 6
    near = 4 * 40 * c * c + 2 * 4 * 10 * 10 * c + m * c * c
    assert parse("l+g").macs(GRID, 1, c) == near + 4 * 48 * c * c + 2 * 8 * 6 * 6 * c
    assert parse("factorised-dot").macs(GRID, 1, c) == 4 * m * c * c + (m * t + m * n) * c
    with_class = Grid(5, 2, 3, 1, "clip")
    assert parse("factorised-dot").macs(with_class, 1, c) == 4 * 31 * c * c + (6 * 6 * 6 + 5 * 7 * 7) * c
    # every token asks all, then its five answers; one query, five keys and five values are projected
    trajectory = 4 * m * c * c + 2 * m * m * c + 11 * m * c * c + 2 * m * t * c
    assert parse("trajectory").macs(GRID, 1, c) == trajectory
    assert parse("trajectory(values=plain)").macs(GRID, 1, c) == trajectory - 5 * m * c * c
    assert parse("trajectory").macs(with_class, 1, c) == trajectory + 4 * c * c + 2 * 31 * c
    assert parse("tokshift").macs(Grid(5, 2, 3, 1), 1, c) == parse("spatial").macs(Grid(5, 2, 3, 1), 1, c)


def test_macs_with_class_tokens_by_hand():
    # 5 frames of 6 patches. A class token per frame: 5 groups of 7. Per clip: 31 tokens together.
    assert parse("spatial").macs(Grid(5, 2, 3, 1), 1, 10) == 4 * 35 * 100 + 2 * 5 * 49 * 10
    assert parse("joint").macs(Grid(5, 2, 3, 1, "clip"), 1, 10) == 4 * 31 * 100 + 2 * 31**2 * 10
    # divided: 6 groups of 5 without it, an output layer, then 5 groups of 7
    over_time = 4 * 30 * 100 + 2 * 6 * 25 * 10 + 30 * 100
    assert parse("divided").macs(Grid(5, 2, 3, 1, "clip"), 1, 10) == over_time + 4 * 35 * 100 + 2 * 5 * 49 * 10


@pytest.mark.parametrize("text", ["tps", "tps(every=1)", "tcs", "tsm", "tps+tcs", "xvit", "tokshift"])
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
    "class_token": st.sampled_from(["space", "both"]),
    "window_frames": st.integers(1, 12),
    "window": st.integers(1, 4),
    "moved": st.booleans(),
    "values": st.sampled_from(["projected", "plain"]),
    "channels": st.sampled_from(["head", "all"]),
    "layers": st.integers(1, 3),
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
        ("divided(class_token=time)", "unknown class_token 'time'"),
        ("local(window=0)", "window must be a whole number, 1 or more, got 0"),
        ("local(window_frames=2.5)", "window_frames must be a whole number"),
        ("factorised-encoder(layers=0)", "layers must be a whole number, 1 or more, got 0"),
        ("factorised-encoder(every=2)", "expected one of layers"),
        ("factorised-self(order=time)", "unknown order 'time'; did you mean 'time-space'"),
        ("trajectory(values=raw)", "unknown values 'raw'"),
        ("xvit(channels=heads)", "did you mean 'head'"),
        ("xvit(fraction=2)", "fraction must be a whole number, 3 or more"),
        ("tokshift(fraction=2)", "fraction must be a whole number, 3 or more"),
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
    with pytest.raises(InputError, match=f"{text} splits timm's Attention into its projections, this model has Diff"):
        install(Block(16, 2, attn_layer="diff"), parse(text), GRID, 0, 1)


def test_a_step_between_attention_and_mlp_needs_a_block_that_can_be_split():
    with pytest.raises(InputError, match="needs timm's plain Block, not ResPostBlock"):
        install(ResPostBlock(16, 2), parse("factorised-self"), GRID, 0, 1)


def test_kernels_check_their_tokens():
    module = parse("xvit").block(0, 1)[0].module(random_block().attn, GRID)
    with pytest.raises(InputError, match=r"expected 30 tokens for .*, got 31"):
        module(random_tokens(1, 31, CHANNELS))
    with pytest.raises(InputError, match="masks"):
        module(random_tokens(1, 30, CHANNELS), is_causal=True)


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


def windows_do_not_move(monkeypatch):
    right = local.window_routes
    monkeypatch.setattr(local, "window_routes", lambda grid, size, moved: right(grid, size, False))


def rolled_parts_meet(monkeypatch):
    right = local.partition
    monkeypatch.setattr(local, "partition", lambda grid, group, region, pad: right(grid, group, None, pad))


def holes_are_seen(monkeypatch):
    monkeypatch.setattr(_core.Routes, "may_see", lambda self, prefix=0: None)


def near_and_far_swapped(monkeypatch):
    near, far = sparse.near, sparse.far
    monkeypatch.setattr(sparse, "near", far)
    monkeypatch.setattr(sparse, "far", near)


def time_comes_first(monkeypatch):
    right = factorised_self.FactorisedSelf.mixers
    early = parse("factorised-self(order=time-space)")
    monkeypatch.setattr(factorised_self.FactorisedSelf, "mixers", lambda self, index: right(early, index))


def halves_swapped(monkeypatch):
    right = factorised_dot.HeadsDivided.attend_along
    monkeypatch.setattr(
        factorised_dot.HeadsDivided, "attend_along", lambda self, module, dim, qkv: right(self, module, 3 - dim, qkv)
    )


def keys_for_values(monkeypatch):
    right = _modules.KernelAttention.project

    def project(self, x):
        q, k, _ = right(self, x)
        return q, k, k

    monkeypatch.setattr(_modules.KernelAttention, "project", project)


def time_reversed_in_keys(monkeypatch):
    right = channel_shift.channel_shift
    for module in (space_time_mixing, token_shift):
        monkeypatch.setattr(module, "channel_shift", lambda x, *args: right(x.flip(1), *args).flip(1))


MISTAKES = [
    ("local(window_frames=2, window=2) @ 1", windows_do_not_move),
    ("local(window_frames=3, window=1) @ 1", rolled_parts_meet),
    ("local(window_frames=2, window=2)", holes_are_seen),
    ("l+g", holes_are_seen),
    ("l+g", near_and_far_swapped),
    ("factorised-self", time_comes_first),
    ("factorised-dot", halves_swapped),
    ("factorised-dot", keys_for_values),
    ("trajectory", keys_for_values),
    ("xvit", keys_for_values),
    ("xvit", time_reversed_in_keys),
    ("tokshift", time_reversed_in_keys),
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
