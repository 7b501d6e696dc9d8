"""Windowed attention against loops and rolls: no index, plan or gather of the package is used here."""

from unittest import mock

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.swin_transformer import WindowAttention

from tps_lab import create_model, videoize
from tps_lab.attention import parse
from tps_lab.attention._windows import WindowGrid
from tps_lab.backbones._windowed import TableAttention

TILES = {"tps(pattern=A)": [[0, 1], [-1, 0]], "tps(pattern=B)": [[0, 1], [-1, 2]], "tps(pattern=0 1 -1)": [[0, 1, -1]]}


def naive_map(x, module, tile, channel_shift, window, shift, length, roll_t, frame0, extent):
    """One clip (T, H, W, C) through window attention, token by token."""
    frames, height, width, c = x.shape
    heads, (m, n) = module.num_heads, window
    if channel_shift:  # in each head an eighth from t - 1, the next eighth from t + 1
        own = x.reshape(frames, height, width, heads, c // heads)
        fold = c // heads // 8
        past, future = torch.cat([own[:1], own[:-1]]), torch.cat([own[1:], own[-1:]])
        parts = [past[..., :fold], future[..., fold : 2 * fold], own[..., 2 * fold :]]
        x = torch.cat(parts, -1).reshape(x.shape)
    x = x.roll((-shift[0], -shift[1]), (1, 2))
    x = torch.nn.functional.pad(x, (0, 0, 0, -width % n, 0, -height % m))

    def part(position, size, window, roll):
        return 0 if roll == 0 or position < size - window else 1 if position < size - roll else 2

    big_h, big_w = x.shape[1:3]
    result = torch.zeros_like(x)
    table = module.relative_position_bias_table
    sizes = [2 * e - 1 for e in extent]
    for top in range(0, big_h, m):
        for left in range(0, big_w, n):
            rolled_t = [(t + roll_t) % frames for t in range(frames)]
            for first in range(0, frames, length):
                slots = [(i, a, b) for i in range(first, first + length) for a in range(m) for b in range(n)]
                source, where, labels = [], [], []
                for i, a, b in slots:
                    k = tile[a % len(tile)][b % len(tile[0])]
                    t = rolled_t[i]  # mixed frame t
                    source.append((t - k) % frames)
                    where.append((a, b))
                    label = part(top + a, big_h, m, shift[0]), part(left + b, big_w, n, shift[1])
                    labels.append((part(i, frames, length, roll_t), *label))
                tokens = torch.stack([x[t, top + a, left + b] for t, (a, b) in zip(source, where, strict=True)])
                q, k, v = module.qkv(tokens).reshape(len(slots), 3, heads, -1).permute(1, 2, 0, 3)
                scores = torch.einsum("hqd,hkd->hqk", q, k) * (c // heads) ** -0.5
                rows = np.zeros((len(slots), len(slots)), int)
                seen = torch.zeros(len(slots), len(slots), dtype=torch.bool)
                for i, (a, b) in enumerate(where):
                    for j, (d, e) in enumerate(where):
                        seen[i, j] = labels[i] == labels[j]
                        key_frame = source[j]
                        if frame0:
                            key_frame = (0 - tile[d % len(tile)][e % len(tile[0])]) % frames
                        if seen[i, j]:
                            offset = (source[i] - key_frame, a - d, b - e)
                            at = [o + size // 2 for o, size in zip(offset, sizes, strict=True)]
                            rows[i, j] = (at[0] * sizes[1] + at[1]) * sizes[2] + at[2]
                scores = scores + table[torch.from_numpy(rows)].permute(2, 0, 1)
                scores = scores.masked_fill(~seen, float("-inf"))
                y = module.proj(torch.einsum("hqk,hkd->qhd", scores.softmax(-1), v).flatten(1))
                for t, (a, b), value in zip(source, where, y, strict=True):  # back to where it came from
                    result[t, top + a, left + b] = value
    return result[:, :height, :width].roll(shift, (1, 2))


@st.composite
def cases(draw):
    variant = draw(st.sampled_from(["spatial", "tcs", *TILES]))
    length = draw(st.sampled_from([1, 1, 2]))
    frames = draw(st.sampled_from([4, 6] if length == 2 else [3, 4, 5]))
    return {
        "variant": variant,
        "frames": frames,
        "length": length,
        "height": draw(st.integers(2, 6)),
        "width": draw(st.integers(2, 6)),
        "window": draw(st.sampled_from([(2, 2), (3, 2), (2, 3)])),
        "shifted": draw(st.booleans()),
        "frame0": length == 1 and draw(st.booleans()),
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases())
def test_windows_are_the_loops(case):
    check_against_loops(**case)


@pytest.mark.parametrize("variant", ["tcs", "tps(pattern=D)"])
def test_the_released_codes_frame0_index_over_16_frames(variant):
    tile = [[0, 1, 2, 3], [-1, -7, 4, 5], [-2, -4, 7, 6], [-3, -5, -6, 8]] if "tps" in variant else None
    check_against_loops(variant, 16, 1, 3, 3, (2, 2), True, True, tile)


def check_against_loops(variant, frames, length, height, width, window, shifted, frame0, tile=None):
    torch.manual_seed(0)
    c, heads = 16, 2
    source = WindowAttention(c, heads, window_size=window).double()
    torch.nn.init.normal_(source.relative_position_bias_table)
    shift = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
    roll_t = length // 2 if shifted and length < frames else 0
    (mixer,) = parse(variant, every=1).block(0, 1) if variant != "spatial" else parse(variant).block(0, 1)
    grid = WindowGrid(frames, height, width, window=(length, *window), roll=(length // 2 if shifted else 0, *shift))
    extent = (frames, *window)
    module = TableAttention(source, mixer, grid, "frame0" if frame0 else "diagonal", extent).double()
    with torch.no_grad():  # every time offset its own bias
        module.relative_position_bias_table.normal_()
    tile = tile or TILES.get(variant, [[0]])
    x = torch.randn(2, frames, height, width, c, dtype=torch.float64, requires_grad=True)
    ours = module(x.flatten(0, 1)).reshape(x.shape)
    rest = (tile, variant == "tcs", window, shift, length, roll_t, frame0, extent)
    theirs = torch.stack([naive_map(clip, module, *rest) for clip in x])
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    weight = torch.randn_like(ours)
    inputs = [x, module.relative_position_bias_table, module.qkv.weight, module.proj.weight]
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_local_in_a_swin_is_spatial_attention_in_windows_of_several_frames():
    tiny = {"img_size": 24, "patch_size": 4, "embed_dim": 16, "depths": (2,), "num_heads": (2,), "window_size": 2}
    image = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, **tiny).double().eval()
    local = videoize(image, "local(window_frames=2, window=2)", frames=4).eval()
    spatial = videoize(image, "spatial", frames=4, temporal_window=2).eval()
    clip = torch.randn(1, 3, 4, 24, 24, dtype=torch.float64)
    torch.testing.assert_close(local(clip), spatial(clip), rtol=0, atol=1e-12)


def swin(variant):
    model = create_model("swin_micro", variant, frames=4, size=24, num_classes=5).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model, torch.randn(2, *model.clip_shape)


@pytest.mark.parametrize("variant", ["spatial", "tps(pattern=A)", "local(window=3)"])
def test_unfused_windows_give_the_same(variant):
    model, clips = swin(variant)
    fused = model(clips)
    switched = [part for part in model.modules() if isinstance(part, TableAttention)]
    assert switched
    for part in switched:
        part.fused_attn = False
    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", side_effect=AssertionError):
        torch.testing.assert_close(model(clips), fused)


@pytest.mark.parametrize("variant", ["spatial", "tps(pattern=A)", "local(window=3)"])
def test_every_mask_suits_the_fused_kernel(variant):
    """On CUDA a mask whose keys are not neighbours in memory sends the call to the unfused path."""
    model, clips = swin(variant)
    right, strides = torch.nn.functional.scaled_dot_product_attention, []

    def watched(q, k, v, mask, *args, **kwargs):
        strides.append(mask.stride(-1))
        return right(q, k, v, mask, *args, **kwargs)

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", watched):
        model(clips)
    assert strides
    assert set(strides) == {1}
