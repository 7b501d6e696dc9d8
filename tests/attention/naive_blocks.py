"""What each variant computes, by hand: `NAIVE`, rolls and einsum on a (B, T, H, W, C) tensor, and blocks made of them.

No code of the package is used but the modules that are compared with.
"""

import itertools

import torch
from random_blocks import random_block, random_tokens, randomised
from who_meets import CHANNELS, GRID, HEADS, MEETS, RELATIONS, A, C, band_of_frames, band_of_places, block_of, partner

from tps_lab.attention import Grid
from tps_lab.backbones.vit import install


def attend(attn, x):
    """Self-attention with a timm module's weights along the last axis but one of (..., S, C)."""
    shape = (*x.shape[:-1], HEADS, CHANNELS // HEADS)
    q, k, v = (part.reshape(shape) for part in attn.qkv(x).chunk(3, -1))
    q, k = attn.q_norm(q), attn.k_norm(k)
    scores = torch.einsum("...qnd,...knd->...nqk", q, k) / (CHANNELS / HEADS) ** 0.5
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return attn.proj(torch.einsum("...nqk,...knd->...qnd", weights, v).reshape(x.shape))


def attend_turned(attn, x):
    """`attend` over all of (B, T, H, W, C), head by head, each pair of channels turned by its token's coordinate."""
    b, *size, c = x.shape
    parts = [part.reshape(b, -1, HEADS, c // HEADS) for part in attn.qkv(x).chunk(3, -1)]
    half = c // HEADS // 2
    share = [half - 2 * (half // 3), half // 3, half // 3]
    of_pair = [(axis, i / n) for axis, n in enumerate(share) for i in range(n)]
    turned = []
    for part in parts[:2]:
        y = torch.zeros_like(part)
        for token, place in enumerate(itertools.product(*map(range, size))):
            for pair, (axis, power) in enumerate(of_pair):
                angle = torch.tensor(place[axis] * 10_000.0**-power, dtype=x.dtype)
                a, b_ = part[:, token, :, pair], part[:, token, :, half + pair]
                y[:, token, :, pair] = a * angle.cos() - b_ * angle.sin()
                y[:, token, :, half + pair] = a * angle.sin() + b_ * angle.cos()
        turned.append(y)
    q, k, v = *turned, parts[2]
    weights = softmax(torch.einsum("bqnd,bknd->bnqk", q, k) / (c / HEADS) ** 0.5, -1)
    return attn.proj(torch.einsum("bnqk,bknd->bqnd", weights, v).reshape(x.shape))


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


def looking(*meets):
    """Query by query, head by head: a softmax over the keys that the rule of that head lets it see."""

    def mix(attn, x):
        grid = Grid(*x.shape[1:4])
        tokens = list(itertools.product(*map(range, x.shape[1:4])))
        q, k, v = (part.flatten(3) for part in heads_of(attn, x))  # (B, heads, d, M)
        y = []
        for head in range(HEADS):
            meet = meets[head * len(meets) // HEADS]
            for i, a in enumerate(tokens):
                seen = [j for j, b in enumerate(tokens) if meet(a, b, grid)]
                weights = softmax(torch.einsum("bd,bdk->bk", q[:, head, :, i], k[:, head][:, :, seen]), -1)
                y.append(torch.einsum("bk,bdk->bd", weights, v[:, head][:, :, seen]))
        y = torch.stack(y, -1).unflatten(-1, (HEADS, *x.shape[1:4])).transpose(1, 2)
        return put_together(attn, y)

    return mix


def in_areas(attn, x):
    halves = [(slice(0, (n + 1) // 2), slice((n + 1) // 2, n)) for n in x.shape[1:4]]
    return in_boxes(attn, x, *halves)


def values_from_earlier_frames(attn, x):
    q, k, v = heads_of(attn, x)
    passed = []
    for t in range(x.shape[1]):
        weights = softmax(torch.einsum("bndhw,bndshw->bnhws", q[:, :, :, t], k[:, :, :, : t + 1]), -1)
        passed.append(torch.einsum("bnhws,bndshw->bndhw", weights, v[:, :, :, : t + 1]))
    weights = softmax(torch.einsum("bndthw,bndtij->bnthwij", q, k), -2, -1)
    return put_together(attn, torch.einsum("bnthwij,bndtij->bndthw", weights, torch.stack(passed, 3)))


def keys_from_frames_at(*offsets):
    """One channel of keys and values from each offset in turn, as far as there is such a frame."""

    def mix(attn, x):
        q, k, v = attn.qkv(x).chunk(3, -1)
        moved = []
        for part in (k, v):
            y = part.clone()
            for channel, offset in enumerate(offsets):
                for t in range(x.shape[1]):
                    if 0 <= t + offset < x.shape[1]:
                        y[:, t, ..., channel] = part[:, t + offset, ..., channel]
            moved.append(y)
        q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in (q, *moved))
        scores = softmax(torch.einsum("bthwnd,btijnd->bthwnij", q, k) / (CHANNELS / HEADS) ** 0.5, -2, -1)
        return attn.proj(torch.einsum("bthwnij,btijnd->bthwnd", scores, v).flatten(-2))

    return mix


def leaping(level):
    def mix(attn, x):
        frames = x.shape[1]
        distance = -(-frames // 2 ** (level + 1))
        q, k, v = heads_of(attn, x)
        found = []
        for t in range(frames):
            both = [s for s in (t, partner(t, frames, distance)) if s < frames]
            weights = softmax(torch.einsum("bndhw,bndsij->bnhwsij", q[:, :, :, t], k[:, :, :, both]), -3, -2, -1)
            found.append(torch.einsum("bnhwsij,bndsij->bndhw", weights, v[:, :, :, both]))
        zero = torch.zeros_like(found[0])
        y = []
        for own, after, before in zip(found, [*found[1:], zero], [zero, *found[:-1]], strict=True):
            y.append(torch.cat([after[:, :, :2], before[:, :, 2:4], own[:, :, 4:]], 2))
        return put_together(attn, torch.stack(y, 3))

    return mix


def adapted(adapter, x):
    """Down, GELU, up."""
    x = x @ adapter.down.weight.T + adapter.down.bias
    x = x * 0.5 * (1 + torch.erf(x / 2**0.5))
    return x @ adapter.up.weight.T + adapter.up.bias


def with_adapters(stepped, x):
    """AIM's whole block: attention along time, in the frame, and the MLP, an adapter with each."""
    (again,), block = stepped.steps, stepped.block
    attention = block.attn.module.attention
    x = x + adapted(again.adapter, over_time(attention, block.norm1(x)))
    y = in_frames(attention, block.norm1(x))
    x = x + y + adapted(block.attn.adapter, y)
    y = block.norm2(x)
    return x + block.mlp.module(y) + adapted(block.mlp.adapter, y) / 2


def convolved(module, x):
    """Channel by channel three frames are weighed; beyond the ends there is nothing."""
    y = x @ module.down.weight.T + module.down.bias
    weight, mixed = module.conv.weight[:, 0, :, 0, 0], []
    for t in range(x.shape[1]):
        frame = module.conv.bias.expand_as(y[:, t])
        for tap, s in enumerate((t - 1, t, t + 1)):
            if 0 <= s < x.shape[1]:
                frame = frame + weight[:, tap] * y[:, s]
        mixed.append(frame)
    return x + torch.stack(mixed, 1) @ module.up.weight.T + module.up.bias


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
    "joint(rotary=True)": [attend_turned],
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
    "aim": [with_adapters],
    "st-adapter": [convolved, in_frames],
    "areas": [in_areas],
    "areas @ 3": [all_at_once],
    "mem": [values_from_earlier_frames],
    "zeroi2v": [keys_from_frames_at(-1, 1)],
    "zeroi2v(far=2, fraction=16)": [keys_from_frames_at(-1, 1, -2, 2)],
    "leap": [leaping(0)],
    **{text: [looking(*MEETS[text])] for text in RELATIONS},
    "svg": [looking(band_of_frames, band_of_places)],
}


def naive_block(text, block, mixes, x):
    """Attention and MLP with residuals, extra steps where the definition has them."""
    if mixes == [with_adapters]:
        return with_adapters(block, x)
    *steps, last = mixes
    modules = [*getattr(block, "steps", []), *getattr(block, "between", [])]
    block = getattr(block, "block", block)

    def step(x):
        mix = steps.pop(0)
        if mix is class_tokens_of_neighbours:
            return mix(x)
        module = modules.pop(0)
        if mix is convolved:
            return convolved(module, x)
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
