"""Diagnostics: the clips of a scene show the same frames, so order-blind models are capped; each shows what it says."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from tps_lab import InputError
from tps_lab.data import data_sets, parse
from tps_lab.data._diagnostic import Diagnostic

SMALL = {"train": 96, "val": 48, "test": 48}
# "still" asks nothing of time
DIAGNOSTICS = [name for name, cls in data_sets().items() if issubclass(cls, Diagnostic) and name != "still"]
CASES = [
    *DIAGNOSTICS, "speed(frames=7)", "direction(step=3)", "order(gap=1)", "order(gap=8)", "order(gap=11)",
    "first(gap=3)", "first(gap=5)", "first(hold=1, gap=9)", "rhythm(frames=32)", "counting(frames=10)", "match(gap=1)",
    "match(gap=5)",
]  # fmt: skip


def opened(text, **changes):
    return parse(text, **(SMALL | changes)).opened()


def all_of(clips, split="test"):
    return clips.batch(split, torch.arange(clips.size(split)))


@pytest.mark.parametrize("text", CASES)
def test_twins_show_the_same_frames_bit_for_bit_and_have_different_labels(text):
    clips = opened(text)
    x, y = all_of(clips)
    k, frames = clips.clips_per_scene, clips.clip_shape[1]
    assert clips.ceiling == 1 / k
    assert clips.size("test") % k == 0
    for scene in range(0, len(x), k):
        # an order of the frames that knows nothing of the pictures shown: by their bytes
        sets = [sorted(clip[0, t].numpy().tobytes() for t in range(frames)) for clip in x[scene : scene + k]]
        assert all(frames_of == sets[0] for frames_of in sets)
        assert len(set(y[scene : scene + k].tolist())) == k


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_no_order_blind_classifier_passes_the_ceiling(name):
    clips = opened(name)
    x, y = all_of(clips)
    frames = x[:, 0].double().flatten(2)  # (N, T, pixels)
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        first = torch.randn(frames.shape[2], 32, generator=rng, dtype=torch.float64)
        last = torch.randn(32, len(clips.classes), generator=rng, dtype=torch.float64)
        # sorted, so that sums do not even differ by rounding
        seen = (frames @ first / 10).tanh().sort(1).values.sum(1)
        assert ((seen @ last).argmax(1) == y).double().mean() <= clips.ceiling


def needed_reach(shown: np.ndarray) -> int | None:
    """How far apart frames must be seen together to tell the clips of every scene apart, on a ring without ends.

    Args:
        shown: (scenes, clips_per_scene, T), see `Clips.pictures_shown`.

    Returns:
        The least r for which windows of r + 1 frames in a row differ; None if not even the whole ring does.
    """
    scenes = np.unique(shown, axis=0)
    for reach in range(scenes.shape[-1]):
        if all(len({_ring(clip, reach) for clip in scene}) == len(scene) for scene in scenes):
            return reach
    return None


def _ring(clip: Iterable[int], reach: int) -> tuple[Any, ...]:
    pictures = [int(picture) for picture in clip]
    around = pictures + pictures
    return tuple(sorted(Counter(tuple(around[s : s + reach + 1]) for s in range(len(pictures))).items()))


@pytest.mark.parametrize("text", CASES)
def test_the_stated_reach_is_what_the_scenes_need(text):
    clips = opened(text)
    assert clips.reach == needed_reach(clips.pictures_shown())


@pytest.mark.parametrize("text", CASES)
def test_pictures_shown_say_which_frames_are_equal(text):
    clips = opened(text)
    x, _ = all_of(clips)
    shown = clips.pictures_shown().reshape(-1, clips.clip_shape[1])
    for clip, numbers in zip(x[:: clips.clips_per_scene + 1], shown[:: clips.clips_per_scene + 1], strict=True):
        for t in range(len(numbers)):
            for u in range(t):
                assert torch.equal(clip[:, t], clip[:, u]) == (numbers[t] == numbers[u])


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_clips_follow_from_the_seed_alone_whatever_else_is_in_the_batch(name):
    clips = opened(name)
    together, labels = clips.batch("train", torch.arange(10))
    alone, label = opened(name).batch("train", torch.tensor([7]))
    assert torch.equal(alone[0], together[7])
    assert label[0] == labels[7]
    assert not torch.equal(opened(name, seed=1).batch("train", torch.arange(10))[0], together)


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_no_digit_is_in_two_splits_and_no_class_is_missing(name):
    clips = opened(name, train=960, val=480, test=480)
    used = {split: set(made.digit.flatten().tolist()) - {-1} for split, made in clips.scenes.items()}
    assert not used["train"] & used["val"]
    assert not used["train"] & used["test"]
    assert not used["val"] & used["test"]
    counts = torch.bincount(clips.batch("train", torch.arange(960))[1], minlength=len(clips.classes))
    assert (counts > 0).all()
    if name != "first":  # its labels are drawn with the digits
        assert counts.min() == counts.max()


# ---------------------------------------------------------------------- the clip shows what the label says


def lit(x):
    """Frames with something in them: bool (N, T), of clips without noise."""
    return x[:, 0].flatten(2).amax(2) > x[:, 0].amin() + 1e-3


def test_direction_and_speed():
    x, y = all_of(opened("direction(noise=0)"))
    ink = x[:, 0] - x[:, 0].amin()
    where = torch.linspace(-1, 1, 24)
    total = ink.sum((2, 3))
    across = (ink.sum(2) * where).sum(2) / total
    down = (ink.sum(3) * where).sum(2) / total
    for label, (dx, dy) in enumerate([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)]):
        for moved, sign in ((across[:, -1] - across[:, 0], dx), (down[:, -1] - down[:, 0], dy)):
            assert (moved[y == label].sign() * (moved[y == label].abs() > 0.2) == sign).all()
    clips = opened("speed(noise=0)")
    x, y = all_of(clips)
    steps = (x[:, 0, 1:] - x[:, 0, :-1]).abs().sum((1, 2, 3))  # the faster, the more changes
    means = [steps[y == label].mean().item() for label in range(4)]
    assert means == sorted(means)


def test_order_first_and_match():
    x, y = all_of(opened("order(gap=5, noise=0)"))
    times = lit(x).nonzero()[:, 1].reshape(-1, 2)
    assert ((times[:, 1] - times[:, 0]) == 5).all()
    top = torch.stack([x[i, 0, t, :12].sum() > x[i, 0, t, 12:].sum() for i, t in enumerate(times[:, 0].tolist())])
    assert torch.equal(top, y == 0)
    clips = opened("first(noise=0)")
    x, y = all_of(clips)
    assert (lit(x).sum(1) == 6).all()
    first = clips.scenes["test"].digit.gather(1, clips.scenes["test"].shown.flatten(1)[:, :0].new_ones(24, 1))[:, 0]
    from sklearn.datasets import load_digits

    assert y[0::2].tolist() == load_digits().target[first.numpy()].tolist()
    x, y = all_of(opened("match(gap=3, noise=0)"))
    times = lit(x).nonzero()[:, 1].reshape(-1, 4)
    assert (times.diff(dim=1) == 3).all()
    same = torch.tensor([torch.equal(x[i, :, t[0]], x[i, :, t[1]]) for i, t in enumerate(times.tolist())])
    assert torch.equal(same, y == 0)


def test_rhythm_and_counting():
    x, y = all_of(opened("rhythm(noise=0)"))
    on = lit(x)
    neighbours = (on & on.roll(1, 1)).sum(1)
    assert [set(neighbours[y == label].tolist()) for label in range(4)] == [{0}, {2}, {0}, {3}]
    x, y = all_of(opened("counting(noise=0)"))
    on = lit(x)
    assert (on.sum(1) == on[0].sum()).all()
    assert torch.equal((on[:, 1:] & ~on[:, :-1]).sum(1) - 1, y)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("order(gap=16)", "gap must be 1 to 15 in a clip of 16 frames, got 16"),
        ("match(gap=6)", "gap must be 1 to 5"),
        ("rhythm(frames=20)", "nearest: 16"),
        ("speed(frames=6)", "nearest that works: 7"),
        ("first(hold=9)", "take 18 frames, the clip has 16"),
        ("counting(frames=8)", "needs frames ≥ 10"),
        ("rhythm(test=3)", "sets of 4 clips"),
        ("direction(noise=-1)", "noise of data set 'direction' must be from 0 to 1,000, got -1"),
        ("order(gaps=3)", "did you mean 'gap'"),
        ("rythm", "did you mean 'rhythm'"),
    ],
)
def test_bad_options_are_named(text, says):
    with pytest.raises(InputError, match=says):
        parse(text)


def test_still_shows_one_digit_that_stands():
    clips = opened("still(noise=0)")
    assert clips.clip_shape == (3, 1, 24, 24)
    assert (clips.ceiling, clips.clips_per_scene, clips.reach) == (None, 1, 0)
    x, y = all_of(opened("still(frames=3)", test=300))
    assert torch.equal(x[:, :, 0], x[:, :, 2])
    assert set(y.tolist()) == set(range(10))
    with pytest.raises(InputError, match="must be from 1 to"):
        parse("still(frames=0)")


@pytest.mark.parametrize("step", [1.0, 2.5, 6.0])
def test_direction_moves_by_its_step(step):
    clips = opened(f"direction(frames=8, size=48, step={step}, noise=0)")
    x, y = all_of(clips)
    columns = torch.arange(48.0)
    ink = x[:, 0] - x[:, 0].amin((1, 2, 3), keepdim=True)
    middle = (ink.sum(2) * columns).sum(-1) / ink.sum((2, 3)).clamp(min=1e-6)
    seen = 0
    for clip, label in zip(middle[y < 2], y[y < 2], strict=True):  # right and left
        whole = (clip > 15) & (clip < 32)  # nothing is cut off
        moved = clip.diff()[whole[1:] & whole[:-1]]
        seen += len(moved)
        assert torch.allclose(moved, torch.full_like(moved, step if label == 0 else -step), atol=0.3)
    assert seen > 5
    with pytest.raises(InputError, match="step must be 0 to size=48"):
        parse("direction(size=48, step=49)")
