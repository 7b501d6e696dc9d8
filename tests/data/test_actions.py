"""`actions`: real motion drawn as bodies. The geometry against its own definition, the clips against the ceiling."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tps_lab import InputError
from tps_lab.data import _motion, parse
from tps_lab.data.actions import _DIRECTIONS, _OTHER_SIDE, _SPAN, _STRETCHES, ActionClips, Actions, draw

installed = pytest.mark.skipif(
    importlib.util.find_spec("pybullet_data") is None,
    reason="the motions are not installed: pip install 'tps_lab[motion]'",
)
# at rest: standing upright, everything unturned
REST = [0.1, 0, 0.9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, *[1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0] * 2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fifteen made-up motions: a body at rest that turns about the vertical, each at its own speed."""
    for i, action in enumerate(_motion.ACTIONS):
        frames = []
        for k in range(9):
            angle = 0.02 * (i + 1) * k
            frames.append([*REST[:4], np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0, *REST[8:]])
        (tmp_path / f"humanoid3d_{action}.txt").write_text(json.dumps({"Loop": "wrap", "Frames": frames}))
    return tmp_path


@pytest.fixture
def clips(folder: Path) -> ActionClips:
    return Actions(path=str(folder), train=60, val=30, test=60).opened()


def test_the_body_at_rest(folder: Path) -> None:
    first = _motion.poses(folder / "humanoid3d_walk.txt")[0]
    assert first.shape == (len(_motion.CAPSULES), 2, 3)
    parts = {(c.joint, c.end): ends for c, ends in zip(_motion.CAPSULES, first, strict=True)}
    head = parts["neck", (0, 0.7, 0)][0]
    np.testing.assert_allclose(head, [0, 0.9 + (0.944604 + 0.895576 + 0.7) / 4, 0], atol=1e-6)
    hand = parts["left elbow", (0, -1.035788, 0)][0]
    np.testing.assert_allclose(
        hand, [-0.02405, 0.9 + (0.944604 + 0.974 - 1.099152 - 1.035788) / 4, -0.18311], atol=1e-6
    )
    foot = parts["right ankle", (0.42, -0.09, 0)][1]
    np.testing.assert_allclose(foot, [0.105, 0.9 - (1.686184 + 1.63948 + 0.09) / 4, 0.084887], atol=1e-6)


def test_poses_in_between_turn_evenly(folder: Path) -> None:
    poses = _motion.poses(folder / "humanoid3d_walk.txt")  # 0.3 radians every 0.1 s
    assert len(poses) == round(0.8 * _motion.RATE)
    toes = poses[:, next(i for i, c in enumerate(_motion.CAPSULES) if c.joint == "right ankle"), 1]
    angle = np.unwrap(np.arctan2(toes[:, 2], toes[:, 0]))
    np.testing.assert_allclose(np.diff(angle), -0.3 / 0.1 / _motion.RATE, atol=1e-5)


def test_quaternions_and_matrices_against_scipy() -> None:
    from scipy.spatial.transform import Rotation, Slerp

    rng = np.random.default_rng(0)
    q = rng.normal(size=(40, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    want = Rotation.from_quat(q[:, [1, 2, 3, 0]])
    np.testing.assert_allclose(_motion._matrices(q), want.as_matrix(), atol=1e-12)
    for a, b, share in zip(q[:20], q[20:], rng.random(20), strict=True):
        between = Slerp([0, 1], Rotation.from_quat(np.stack([a, b])[:, [1, 2, 3, 0]]))(share).as_matrix()
        got = _motion._matrices(_motion._slerp(a[None], b[None], np.array([[share]])))[0]
        np.testing.assert_allclose(got, between, atol=1e-9)


def test_a_capsule_is_drawn_where_it_is() -> None:
    """Against distances worked out pixel by pixel."""
    a, b, radius, size = np.array([-0.5, -0.2]), np.array([0.3, 0.6]), 0.2, 20
    args = (torch.tensor(np.stack([a, b]))[None, None], torch.zeros(1, 1), torch.full((1, 1), radius), torch.ones(1, 1))
    picture = draw(*args, size)[0].numpy()
    for row in range(size):
        for column in range(size):
            p = (np.array([column, row]) + 0.5) * 2 / size - 1
            share = np.clip((p - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            distance = np.linalg.norm(p - a - share * (b - a))
            if distance < radius - 0.06:
                assert abs(picture[row, column] - (1 - 0.5 * (distance / radius) ** 2)) < 1e-5
            elif distance > radius + 0.06:
                assert picture[row, column] == 0


def test_the_nearer_one_hides_the_farther() -> None:
    ends = torch.zeros(1, 2, 2, 2)
    picture = draw(ends, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.8]]), torch.tensor([[0.2, 1.0]]), 16)
    assert picture[0, 8, 8] < 0.25
    together = draw(
        *(v.expand(70, *v.shape[1:]) for v in (ends, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2))), 16
    )
    parts = draw(
        *(v.expand(70, *v.shape[1:]) for v in (ends, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2))), 16, 64
    )
    assert torch.equal(together, parts)


def test_every_second_clip_is_the_one_before_reversed(clips: ActionClips) -> None:
    for split in ("train", "val", "test"):
        x, y = clips.batch(split, torch.arange(30))
        assert x.shape == (30, 3, 16, 32, 32)
        assert torch.equal(x[0::2], x[1::2].flip(2))
        assert torch.equal(y[0::2] + 1, y[1::2])
        assert torch.bincount(y).tolist() == [1] * 30


def test_an_order_blind_classifier_is_capped_at_half(clips: ActionClips) -> None:
    x, y = clips.batch("test", torch.arange(60))
    for seed in range(10):
        weights = torch.randn(3 * 32 * 32, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert ((x.double().mean(2).flatten(1) @ weights).argmax(1) == y).double().mean() <= clips.ceiling


def test_a_clip_is_the_same_in_any_company_and_by_seed(clips: ActionClips, folder: Path) -> None:
    together, _ = clips.batch("train", torch.arange(10))
    assert torch.equal(clips.batch("train", torch.tensor([7]))[0][0], together[7])
    same, other = (Actions(path=str(folder), train=60, val=30, test=60, seed=seed).opened() for seed in (0, 1))
    assert torch.equal(same.batch("train", torch.arange(10))[0], together)
    assert not torch.equal(other.batch("train", torch.arange(10))[0], together)


@pytest.mark.parametrize("apart", [False, True])
def test_test_clips_show_segments_and_directions_that_training_never_does(folder: Path, apart: bool) -> None:
    scenes = Actions(path=str(folder), train=4000, val=400, test=2000, apart=apart).opened().scenes
    trained = scenes["train"]["start"]
    for split, scene in scenes.items():
        start, stop = scene["start"], scene["start"] + scene["span"]
        assert start.min() >= 0
        assert stop.max() <= 1 + 1e-6
        if apart:
            assert any_stretch(start, stop, split).all()
        elif split != "train":  # no clip begins within 2 % of the motion of where one of training does
            assert (start[:, None] - trained).abs().min() > (0.019 if split == "val" else 0.024)
        degrees = torch.rad2deg(scene["azimuth"])
        inside = ((degrees + 45) % 45 - 22.5).abs()  # from the middle of a sector
        low, high = _DIRECTIONS[split]
        assert ((inside >= low - 1e-3) & (inside <= high + 1e-3)).all()
        assert degrees.abs().max() <= 45
    every = sorted((low, high) for stretches in _STRETCHES.values() for low, high in stretches)
    assert all(b[0] - a[1] >= 0.0199 for a, b in itertools.pairwise(every))
    assert all(high - low >= _SPAN[True] - 1e-9 for low, high in every)


def test_a_mirrored_body_is_the_picture_of_the_mirrored_motion(clips: ActionClips) -> None:
    sides = [capsule.joint.replace("left", "right") for capsule in _motion.CAPSULES]
    assert [sides[i] for i in _OTHER_SIDE] == sides
    scene = {k: v[:6] for k, v in clips.scenes["train"].items() if k != "bank"} | {"azimuth": torch.zeros(6)}
    scene |= {"x": torch.zeros(6), "elevation": torch.zeros(6)}
    front = scene | {"azimuth": torch.full((6,), torch.pi / 2)}  # from the front the mirror shows left for right
    plain, mirrored = (clips.render(front | {"mirrored": torch.full((6,), m)}) for m in (False, True))
    shape = lambda x: (x > 0.02).float()  # noqa: E731  the inks differ
    assert (shape(plain).flip(-1) - shape(mirrored)).abs().mean() < 0.01
    assert (shape(plain) - shape(mirrored)).abs().mean() > 0.0


def any_stretch(start: torch.Tensor, stop: torch.Tensor, split: str) -> torch.Tensor:
    inside = [(start >= low - 1e-6) & (stop <= high + 1e-6) for low, high in _STRETCHES[split]]  # type: ignore[index]
    return torch.stack(inside).any(0)


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in (
        ({"train": 3}, "comes in pairs: train must be even"),
        ({"around": 100}, "around must be 45, 90, … 360, got 100"),
        ({"frames": 1}, "frames of data set 'actions' must be from 2 to 10,000, got 1"),
        ({"noise": -1.0}, "noise of data set 'actions' must be from 0 to 1,000, got -1.0"),
    ):
        with pytest.raises(InputError, match=message):
            Actions(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"lacks 15 of 15 motions, such as humanoid3d_backflip\.txt"):
        Actions(path=str(tmp_path)).opened()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'tps_lab\[motion\]'"):
        parse("actions").opened()
    file = tmp_path / "a.txt"
    for content in ("{", '{"Frames": [[1, 2]]}', "[]"):
        file.write_text(content)
        with pytest.raises(InputError, match="is no motion of the humanoid"):
            _motion.poses(file)


@installed
def test_the_real_motions() -> None:
    lengths = {action: len(_motion.poses(file)) / _motion.RATE for action, file in _motion.motion_files().items()}
    assert min(lengths.values()) == pytest.approx(0.8, abs=0.05)
    assert max(lengths.values()) == pytest.approx(4.4, abs=0.05)
    clips = Actions(train=30, val=30, test=30, noise=0.0).opened()
    x, _ = clips.batch("test", torch.arange(0, 30, 2))
    lit = (x[:, 0] > x.amin() + 0.5).float()
    assert (lit.mean((2, 3)) > 0.015).all()  # somebody is in every frame
    assert (lit[:, :, [0, -1]].mean((1, 2, 3)) < 0.2).all()
    assert (x.diff(dim=2).abs().amax((1, 2, 3, 4)) > 0.3).all()  # and moves
    assert abs(x.mean()) < 0.4
    assert 0.5 < x.std() < 1.5
