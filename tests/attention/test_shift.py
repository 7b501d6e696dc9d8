"""The patch shift alone, against a loop over patches and against rolls written out by hand."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tps_lab import InputError, ShiftPattern, patterns
from tps_lab.attention import patch_shift
from tps_lab.attention._modules import permute_tokens, take_tokens
from tps_lab.attention.patch_shift import shift_patches

torch.set_num_threads(1)

BORDERS = ["circular", "zero", "edge"]
quick = settings(deadline=None, max_examples=40)
tiles = hnp.arrays("int64", hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.integers(-4, 4)).map(
    lambda tile: tile.tolist()
)
sizes = st.sampled_from([(2, 5, 7, 3, 1), (1, 7, 2, 5, 3), (3, 11, 5, 2, 2), (1, 5, 1, 1, 2), (2, 13, 3, 7, 1)])


def clip(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_patch_at_a_time(x, tile, border, sign=-1):
    """mixed[t] = x[t - k], shifted back with sign=+1; plain indexing that autograd follows."""
    frames = []
    for t in range(x.shape[1]):
        rows = []
        for h in range(x.shape[2]):
            row = []
            for w in range(x.shape[3]):
                source = t + sign * tile[h % len(tile)][w % len(tile[0])]
                inside = 0 <= source < x.shape[1]
                if border == "circular":
                    row.append(x[:, source % x.shape[1], h, w])
                elif border == "edge":
                    row.append(x[:, min(max(source, 0), x.shape[1] - 1), h, w])
                else:
                    row.append(x[:, source, h, w] if inside else torch.zeros_like(x[:, 0, h, w]))
            rows.append(torch.stack(row, 1))
        frames.append(torch.stack(rows, 1))
    return torch.stack(frames, 1)


def rolls_of_a(x):
    """Pattern A, 0 1 / -1 0, as two rolls along time."""
    y = x.clone()
    y[:, :, 0::2, 1::2] = torch.roll(x[:, :, 0::2, 1::2], 1, dims=1)
    y[:, :, 1::2, 0::2] = torch.roll(x[:, :, 1::2, 0::2], -1, dims=1)
    return y


def rolls_of_c(x):
    """Pattern C as eight rolls along time, as the released code writes it."""
    y = x.clone()
    y[:, :, 0::3, 0::3] = torch.roll(x[:, :, 0::3, 0::3], -4, dims=1)
    y[:, :, 0::3, 1::3] = torch.roll(x[:, :, 0::3, 1::3], 1, dims=1)
    y[:, :, 0::3, 2::3] = torch.roll(x[:, :, 0::3, 2::3], 2, dims=1)
    y[:, :, 1::3, 0::3] = torch.roll(x[:, :, 1::3, 0::3], -1, dims=1)
    y[:, :, 1::3, 2::3] = torch.roll(x[:, :, 1::3, 2::3], 3, dims=1)
    y[:, :, 2::3, 0::3] = torch.roll(x[:, :, 2::3, 0::3], -2, dims=1)
    y[:, :, 2::3, 1::3] = torch.roll(x[:, :, 2::3, 1::3], -3, dims=1)
    y[:, :, 2::3, 2::3] = torch.roll(x[:, :, 2::3, 2::3], 4, dims=1)
    return y


# ---------------------------------------------------------------------- values


@quick
@given(sizes, tiles, st.sampled_from(BORDERS), st.booleans())
def test_shift_is_the_loop_over_patches(size, tile, border, inverse):
    x = clip(*size)
    expected = one_patch_at_a_time(x, tile, border, sign=1 if inverse else -1)
    assert torch.equal(shift_patches(x, ShiftPattern.parse(tile), border, inverse), expected)


@pytest.mark.parametrize("size", [(2, 5, 7, 11, 3), (1, 8, 6, 6, 2), (1, 7, 2, 1, 5)])
@pytest.mark.parametrize(("name", "rolls"), [("A", rolls_of_a), ("C", rolls_of_c)])
def test_shift_is_the_rolls_of_the_paper(name, rolls, size):
    x = clip(*size)
    assert torch.equal(shift_patches(x, name), rolls(x))


@quick
@given(sizes, tiles)
def test_shift_back_undoes_a_circular_shift_bit_for_bit(size, tile):
    x, pattern = clip(*size), ShiftPattern.parse(tile)
    assert torch.equal(shift_patches(shift_patches(x, pattern), pattern, inverse=True), x)
    assert torch.equal(shift_patches(shift_patches(x, pattern, inverse=True), pattern), x)


def test_the_ends_of_a_clip_by_hand():
    frames = torch.tensor([10.0, 20, 30]).reshape(1, 3, 1, 1, 1)
    shifted = {border: shift_patches(frames, "1", border).flatten().tolist() for border in BORDERS}
    assert shifted == {"circular": [30, 10, 20], "zero": [0, 10, 20], "edge": [10, 10, 20]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"border": "Circular"}, "unknown border 'Circular'; did you mean 'circular'"),
        ({"border": "x"}, "unknown border 'x'"),
        ({"border": None}, "unknown border 'None'"),
        ({"border": ["zero"]}, "unknown border"),
        ({"inverse": "no"}, "inverse must be True or False, got 'no'"),
        ({"inverse": None}, "inverse must be True or False, got None"),
        ({"x_BTHWC": clip(5, 7, 2, 3)}, "(B, T, H, W, C), got 4 axes: (5, 7, 2, 3)"),
        ({"x_BTHWC": None}, "got NoneType"),
        ({"x_BTHWC": clip(1, 5, 2, 3, 1).numpy()}, "got ndarray"),
        ({"x_BTHWC": clip(1, 0, 2, 3, 1)}, "frames must be 1 or more, got 0"),
    ],
)
def test_what_cannot_be_shifted_is_refused_in_one_line(given, said):
    with pytest.raises(InputError) as refused:
        shift_patches(**{"x_BTHWC": clip(1, 5, 2, 3, 1), "pattern": "A", **given})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_pattern_none_copies():
    x = clip(2, 3, 5, 7, 2)
    y = shift_patches(x, "none")
    assert torch.equal(y, x)


@pytest.mark.parametrize("border", BORDERS)
def test_a_clip_with_strides_of_its_own(border):
    channels_first = clip(2, 3, 5, 7, 2)
    x = channels_first.permute(0, 2, 3, 4, 1)
    assert not x.is_contiguous()
    assert torch.equal(shift_patches(x, "A", border), one_patch_at_a_time(x, [[0, 1], [-1, 0]], border))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32])
def test_pixels_of_any_type_keep_it(dtype):
    x = torch.arange(2 * 5 * 3 * 2 * 1).reshape(2, 5, 3, 2, 1).to(dtype)
    assert shift_patches(x, "C").dtype == dtype
    assert torch.equal(shift_patches(x, "C"), rolls_of_c(x))


def test_a_tile_too_long_for_the_clip_is_refused():
    with pytest.raises(InputError, match="offset -4, which a clip of 4 frames cannot hold"):
        shift_patches(clip(1, 4, 3, 2, 1), "C")


# ---------------------------------------------------------------------- gradients


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("border", BORDERS)
def test_gradient_is_that_of_the_loop(border, inverse):
    x, weight = clip(2, 5, 3, 2, 2).requires_grad_(), clip(2, 5, 3, 2, 2, seed=1)
    tile = [list(row) for row in patterns["C"].tile]
    (ours,) = torch.autograd.grad((shift_patches(x, "C", border, inverse) * weight).sum(), x)
    (naive,) = torch.autograd.grad((one_patch_at_a_time(x, tile, border, sign=1 if inverse else -1) * weight).sum(), x)
    torch.testing.assert_close(ours, naive, rtol=0, atol=1e-15)


@pytest.mark.parametrize("border", BORDERS)
def test_gradcheck(border):
    x = clip(1, 3, 2, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: shift_patches(x, "B", border), x)
    assert torch.autograd.gradgradcheck(lambda x: shift_patches(x, "B", border) ** 2, x)


def test_the_backward_of_a_circular_shift_is_a_gather():
    y = shift_patches(clip(1, 5, 3, 2, 1).requires_grad_(), "C")
    nodes, names = [y.grad_fn], []
    while nodes:
        node = nodes.pop()
        names.append(type(node).__name__)
        nodes += [parent for parent, _ in node.next_functions if parent is not None]
    assert "_PermuteBackward" in names
    assert not [name for name in names if "Index" in name], "an index_add or index_put would be slow"


def test_vmap_and_forward_without_gradient_agree():
    x, index = clip(3, 2, 5, 1), torch.tensor([3, 0, 4, 1, 2])
    inverse = torch.argsort(index)
    mapped = torch.vmap(lambda x: permute_tokens(x, index, inverse))(x.clone().requires_grad_())
    assert torch.equal(mapped, torch.stack([take_tokens(clip, index) for clip in x]))


def test_the_rows_that_an_index_keeps_are_those_of_the_batch_at_hand():
    index = torch.tensor([3, 0, 4, 1, 2])
    inverse = torch.argsort(index)
    for batch in (2, 3, 2):
        x = clip(batch, 5, 4)
        right = torch.stack([each[index] for each in x])
        assert torch.equal(take_tokens(x, index), right)
        assert torch.equal(permute_tokens(x, index, inverse), right)
        assert torch.equal(permute_tokens(x[:, :, None], index, inverse), right[:, :, None])
    assert torch.equal(copy.deepcopy(index), index)


# ---------------------------------------------------------------------- can these tests fail?


@pytest.fixture
def fresh_indices():
    patch_shift._shift_indices.cache_clear()
    yield
    patch_shift._shift_indices.cache_clear()


@pytest.mark.usefixtures("fresh_indices")
@pytest.mark.parametrize("mistake", ["sign", "transposed tile", "tile counted from 1"])
def test_a_mistake_would_be_seen(monkeypatch, mistake):
    right = ShiftPattern.offsets_on
    wrong = {
        "sign": lambda self, height, width: -right(self, height, width),
        "transposed tile": lambda self, height, width: right(self, width, height).T,
        "tile counted from 1": lambda self, height, width: right(self, height + 1, width)[1:],
    }
    monkeypatch.setattr(ShiftPattern, "offsets_on", wrong[mistake])
    x = clip(1, 5, 7, 3, 1)
    assert not torch.equal(shift_patches(x, "C"), rolls_of_c(x))
    assert not torch.equal(shift_patches(x, "A"), rolls_of_a(x))
    assert not torch.equal(shift_patches(x, "C"), one_patch_at_a_time(x, patterns["C"].tile, "circular"))
