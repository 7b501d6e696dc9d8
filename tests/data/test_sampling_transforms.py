"""Sampling against definitions written out, transforms against torchvision and by what must stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from tps_lab.data import sampling, transforms
from tps_lab.errors import InputError


@given(total=st.integers(1, 400), frames=st.integers(1, 40), seed=st.integers(0, 9))
def test_segments_take_one_frame_of_each_part(total: int, frames: int, seed: int) -> None:
    for rng in (None, np.random.default_rng(seed)):
        index = sampling.segments(total, frames, rng).tolist()
        for k, i in enumerate(index):
            assert k * total // frames <= i <= -(-(k + 1) * total // frames) - 1 or total < frames
        assert index == sorted(index)
        assert index[0] >= 0
        assert index[-1] < total


@given(total=st.integers(1, 400), frames=st.integers(1, 40), stride=st.integers(1, 5), seed=st.integers(0, 9))
def test_dense_frames_stand_a_stride_apart(total: int, frames: int, stride: int, seed: int) -> None:
    index = sampling.dense(total, frames, stride, np.random.default_rng(seed))
    span = (frames - 1) * stride + 1
    assert ((np.diff(index) - stride) % total == 0).all()
    assert 0 <= index.min() <= index.max() < total
    if span <= total:
        assert (np.diff(index) == stride).all()


def test_test_clips_by_hand() -> None:
    assert sampling.segments(12, 4).tolist() == [1, 4, 7, 10]
    assert [c.tolist() for c in sampling.clips_of(12, 4, "segments", 1, 3)] == [
        [0, 3, 6, 9],
        [1, 4, 7, 10],
        [2, 5, 8, 11],
    ]
    assert [c.tolist() for c in sampling.clips_of(20, 3, "dense", 2, 1)] == [[8, 10, 12]]
    assert [c[0] for c in sampling.clips_of(104, 3, "dense", 2, 4)] == [12, 37, 62, 87]  # of starts 0 to 99
    assert sampling.dense(5, 4, 2).tolist() == [0, 2, 4, 1]  # too short: round its end
    assert sampling.segments(2, 4).tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="a clip needs 1 frame or more"):
        sampling.segments(0, 4)


def test_training_reaches_every_frame() -> None:
    rng = np.random.default_rng(0)
    assert set(np.concatenate([sampling.segments(13, 4, rng) for _ in range(200)])) == set(range(13))
    assert set(np.concatenate([sampling.dense(13, 4, 3, rng) for _ in range(200)])) == set(range(13))


def frames(t: int = 3, height: int = 40, width: int = 52) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (t, 3, height, width), dtype=np.uint8))


@given(seed=st.integers(0, 2**32), n=st.integers(0, 3), magnitude=st.integers(0, 30))
@settings(max_examples=25, deadline=None)
def test_randaugment_is_torchvisions_and_leaves_the_worlds_random_numbers_alone(
    seed: int, n: int, magnitude: int
) -> None:
    clip = frames()
    before = torch.random.get_rng_state()
    got = transforms.rand_augment(clip, np.random.default_rng(seed), n, magnitude)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**63)))
        want = v2.RandAugment(n, magnitude, fill=[124.0, 116.0, 104.0])(clip)
    assert torch.equal(got, want)


def test_randaugment_draws_many_operations() -> None:
    clip = frames(1, 8, 8)
    seen = {transforms.rand_augment(clip, np.random.default_rng(i), 1).numpy().tobytes() for i in range(200)}
    assert len(seen) > 15


def test_threads_do_not_share_random_numbers() -> None:
    from concurrent.futures import ThreadPoolExecutor

    clip = frames()
    alone = [transforms.rand_augment(clip, np.random.default_rng(i)) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda i: transforms.rand_augment(clip, np.random.default_rng(i)), range(40))
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_frames_get_the_same(seed: int) -> None:
    one = frames(1)
    clip = one.expand(4, -1, -1, -1).clone()
    out = transforms.train_clip(clip, np.random.default_rng(seed), 24, erasing=0.5)
    assert out.shape == (4, 3, 24, 24)
    assert out.dtype == torch.uint8
    assert (out == out[:1]).all()
    again = transforms.train_clip(clip, np.random.default_rng(seed), 24, erasing=0.5)
    assert torch.equal(out, again)


@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 1000))
def test_crops_stay_inside(height: int, width: int, seed: int) -> None:
    top, left, h, w = transforms.crop_box(height, width, np.random.default_rng(seed))
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h > 0
    assert w > 0


def test_three_crops_are_left_centre_right() -> None:
    clip = torch.arange(40).to(torch.uint8).expand(2, 3, 16, 40)
    assert [view[0, 0, 0, [0, -1]].tolist() for view in transforms.crops_of(clip, 16, 3)] == [
        [0, 15],
        [12, 27],
        [24, 39],
    ]
    upright = clip.transpose(-1, -2)
    assert [view[0, 0, [0, -1], 0].tolist() for view in transforms.crops_of(upright, 16, 3)] == [
        [0, 15],
        [12, 27],
        [24, 39],
    ]
    with pytest.raises(InputError, match="crops must be 1 or 3, got 2"):
        transforms.crops_of(clip, 16, 2)


def test_erasing_is_one_rectangle_in_all_frames() -> None:
    clip = torch.zeros(3, 3, 40, 40, dtype=torch.uint8)
    shares = []
    for seed in range(200):
        out = transforms.erase(clip, np.random.default_rng(seed), 0.5)
        gone = (out == torch.tensor(transforms._GREY, dtype=torch.uint8)[:, None, None]).all(1)
        assert (gone == gone[:1]).all()
        rows, columns = gone[0].any(1), gone[0].any(0)
        assert gone[0].sum() == rows.sum() * columns.sum()
        shares.append(gone[0].float().mean().item())
    erased = [share for share in shares if share]
    assert 70 < len(erased) < 130
    assert 0.01 < min(erased) <= max(erased) < 0.35
    assert torch.equal(transforms.erase(clip, np.random.default_rng(0), 0.0), clip)


def test_normalised() -> None:
    grey = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None, None].expand(3, 2, 4, 4)
    assert transforms.normalised(grey[None]).abs().max() < 0.02


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixing(way: str) -> None:
    torch.manual_seed(0)
    x = torch.arange(4.0).reshape(4, 1, 1, 1, 1).expand(4, 3, 2, 12, 12).clone()
    labels = torch.tensor([0, 1, 2, 3])
    for _ in range(20):
        mixed, targets = transforms.mix(x, labels, 5, **{way: 1.0})
        assert mixed.shape == x.shape
        assert type(mixed) is torch.Tensor
        assert torch.allclose(targets.sum(1), torch.ones(4))
        assert (mixed == mixed[:, :1, :1]).all()  # every frame and channel alike
        # a clip's mean is the labels' mean, since clip i is filled with i
        assert torch.allclose(mixed.mean((1, 2, 3, 4)), targets @ torch.arange(5.0), atol=1e-4)


def test_smoothing() -> None:
    x, labels = torch.zeros(2, 3, 1, 4, 4), torch.tensor([1, 0])
    same, targets = transforms.mix(x, labels, 4, smoothing=0.1)
    assert same is x
    assert torch.allclose(targets, torch.tensor([[0.025, 0.925, 0.025, 0.025], [0.925, 0.025, 0.025, 0.025]]))
    logits = torch.randn(2, 4, dtype=torch.float64)
    want = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.allclose(torch.nn.functional.cross_entropy(logits, targets.double()), want)
    for options in ({"mixup": -1.0}, {"smoothing": 1.0}):
        with pytest.raises(InputError, match="must be 0 or more"):
            transforms.mix(x, labels, 4, **options)
