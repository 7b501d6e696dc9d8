"""The data set that an order-blind model cannot solve, and why."""

import numpy as np
import pytest
import torch

from tps_lab import InputError
from tps_lab.data import _digits, parse
from tps_lab.data.opposites import PAIRS, Opposites


@pytest.fixture(scope="module")
def clips():
    return Opposites(train=64, val=24, test=48).opened()


def test_the_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    (ink, what), theirs = _digits.load(), load_digits()
    assert torch.equal(ink, torch.from_numpy(theirs.images).float() / 16)
    assert torch.equal(what, torch.from_numpy(theirs.target).long())


def test_every_second_clip_is_the_one_before_reversed(clips):
    for split in ("train", "val", "test"):
        x, y = clips.batch(split, torch.arange(24))
        assert torch.equal(x[0::2], x[1::2].flip(2))
        assert torch.equal(y[0::2] + 1, y[1::2])


def test_an_order_blind_classifier_is_capped_at_half(clips):
    # any function of the frames as a set: here a random projection of their mean
    x, y = clips.batch("test", torch.arange(48))
    for seed in range(20):
        weights = torch.randn(3 * 24 * 24, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        guess = (x.double().mean(2).flatten(1) @ weights).argmax(1)
        assert (guess == y).double().mean() <= clips.ceiling


def test_a_clip_is_the_same_whatever_else_is_in_the_batch(clips):
    together, _ = clips.batch("train", torch.arange(10))
    alone, label = clips.batch("train", torch.tensor([7]))
    assert torch.equal(alone[0], together[7])
    assert label.item() == 7


def test_a_seed_gives_the_same_clips_to_the_bit_and_another_seed_others():
    def first(seed):
        return Opposites(train=8, val=2, test=2, seed=seed).opened().batch("train", torch.arange(4))[0]

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_no_digit_is_in_two_splits(clips):
    used = {split: set(scene["digit"].tolist()) for split, scene in Opposites().opened().scenes.items()}
    assert not used["train"] & used["val"]
    assert not used["train"] & used["test"]
    assert not used["val"] & used["test"]


def test_classes_are_balanced_and_named(clips):
    _, y = clips.batch("test", torch.arange(48))
    assert torch.bincount(y).tolist() == [4] * 12
    assert clips.classes[::2] == tuple(first for first, _ in PAIRS)
    assert clips.pairs[0] == (0, 1)


@pytest.mark.parametrize("motion", range(6))
def test_the_motion_is_what_the_class_says(motion):
    clips = Opposites(train=600, val=2, test=2, noise=0.0, tremor=0.0).opened()
    x, _ = clips.batch("train", torch.arange(2 * motion, 600, 12))  # forwards, of this pair
    ink = x[:, 0] - x[:, 0].amin()
    where = torch.linspace(-1, 1, 24)
    total = ink.sum((2, 3))
    across, down = (ink.sum(2) * where).sum(2) / total, (ink.sum(3) * where).sum(2) / total
    change = {
        "right": across[:, -1] - across[:, 0],
        "down": down[:, -1] - down[:, 0],
        "grow": (total[:, -1] - total[:, 0]) / total.mean(1),
        "appear": (ink[:, -1].amax((1, 2)) - ink[:, 0].amax((1, 2))) / ink.amax((1, 2, 3)),
    }
    name = PAIRS[motion][0]
    if name in change:
        assert change[name].median() > 0.1
    if name == "diagonal down":
        assert change["right"].median() > 0.1
        assert change["down"].median() > 0.1
    if name == "clockwise":  # neither slides nor grows
        assert abs(change["right"].median()) < 0.1
        assert abs(change["down"].median()) < 0.1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("opposites(frames=1)", "frames of data set 'opposites' must be from 2 to 10,000, got 1"),
        ("opposites(train=7)", "train must be even"),
        ("opposites(noise=-1)", "noise of data set 'opposites' must be from 0 to 1,000, got -1"),
        ("opposites(motion=-0.5)", "motion of data set 'opposites' must be from 0 to 1, got -0.5"),
        ("opposites(hidden=1)", "hidden of data set 'opposites' must be from 0 to 0.99, got 1"),
        ("digit(hidden=0.9, train=10000000)", "clips, train, val and test together, would take more than 1 GiB"),
        ("opposites(noise=much)", "noise must be a number"),
        ("opposites(frame=8)", "did you mean 'frames'"),
        ("oposites", "did you mean 'opposites'"),
    ],
)
def test_bad_options_are_named(text, says):
    with pytest.raises(InputError, match=says):
        parse(text)


def test_the_hard_one_is_hard_even_for_who_sees_every_digits_place():
    """The likeliest class from the fitted slopes of x, y, turn, size and light, each frame's tremor known to no one."""
    clips = parse("opposites(motion=0.5, tremor=0.3, test=60000)").opened()
    scene, t = clips.scenes["test"], np.linspace(-1, 1, 16)
    motion, amount = scene["motion"].numpy(), scene["amount"].numpy()
    goes = np.array(
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [5 / 6, 5 / 6, 0, 0, 0]]
    )
    tremor_of_slope = scene["tremor"].numpy() @ t / (t @ t) * 0.3
    slopes = 0.5 * amount[:, None] * goes[motion] + tremor_of_slope
    slopes[:, :2] += scene["drift"].numpy() / 0.6
    variance = 0.3**2 / (t @ t) + np.array([0.1**2 / 12 / 0.6**2] * 2 + [0] * 3)
    centres = 0.5 * np.concatenate([goes, -goes])
    likeliest = (((slopes[:, None] - centres) ** 2) / variance).sum(-1).argmin(1)
    assert 100 * np.mean(likeliest == motion) == pytest.approx(95, abs=0.6)


def test_the_same_clips_asked_what_they_show():
    clips, motions = parse("digit(train=64, val=24, test=48)").opened(), Opposites(train=128, val=48, test=96).opened()
    assert (clips.ceiling, clips.clips_per_scene, clips.reach, clips.pairs) == (None, 1, 0, ())
    assert [clips.size(split) for split in ("train", "val", "test")] == [64, 24, 48]
    x, y = clips.batch("test", torch.arange(48))
    shown, motion = motions.batch("test", 2 * torch.arange(48) + torch.arange(48) // 6 % 2)
    assert torch.equal(x, shown)
    assert torch.bincount(motion).tolist() == [4] * 12  # every motion as often, so that it tells nothing of the digit
    _, kinds = _digits.load()
    assert torch.equal(y, kinds[motions.scenes["test"]["digit"]])
    assert parse("digit(val=25)").opened().size("val") == 25  # there are no pairs to keep whole


@pytest.mark.parametrize("name", ["opposites", "digit"])
def test_a_hidden_square_is_empty_and_all_others_are_as_they_were(name):
    hidden, whole = (parse(f"{name}(noise=0, train=96, hidden={share})").opened() for share in (0.8, 0))
    (x, y), (full, same) = (clips.batch("train", torch.arange(96)) for clips in (hidden, whole))
    assert torch.equal(y, same)
    seen = torch.zeros_like(x, dtype=torch.bool)
    shares, empty = [], (0 - _digits.MEAN) / _digits.SPREAD
    for top in range(0, 24, 4):
        for left in range(0, 24, 4):
            square = (..., slice(top, top + 4), slice(left, left + 4))
            as_it_was = (x[square] == full[square]).all(-1).all(-1).all(1)  # (clips, frames)
            assert ((x[square] == empty).all(-1).all(-1).all(1) | as_it_was).all()
            seen[square] = as_it_was[:, None, :, None, None]
            inked = (full[square] != empty).any(-1).any(-1).any(1)
            shares.append(as_it_was[inked].double())
    assert torch.cat(shares).mean() == pytest.approx(0.2, abs=0.02)
    assert not torch.equal(seen[:, :, 0], seen[:, :, 1])  # other squares in every frame


def test_hidden_clips_are_still_reversed_pixel_for_pixel():
    clips = parse("opposites(hidden=0.8)").opened()
    x, y = clips.batch("val", torch.arange(24))
    assert torch.equal(x[0::2], x[1::2].flip(2))
    assert torch.equal(y[0::2] + 1, y[1::2])


def test_single_frames_are_enough_only_where_nothing_is_hidden():
    assert parse("digit").opened().reach == 0
    assert parse("digit(hidden=0.5)").opened().reach is None
    assert parse("opposites(hidden=0.5)").opened().reach == 1
