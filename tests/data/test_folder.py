"""`video-folder`: its clips, tasks and splits, real ones where they can be had."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_videos import needs_clips

from tps_lab import data
from tps_lab.data import SPLITS
from tps_lab.data._sample_clips import COLLECTIONS, SAMPLE_CLIPS, sample_clips
from tps_lab.data._video import read_frames
from tps_lab.data.folder import FolderClips, VideoFolder
from tps_lab.errors import InputError

av = pytest.importorskip("av")


def read_numbers(clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `numbered` frames say: frame numbers (B, T), the video (B,) and whether mirrored (B,)."""
    bright = (clips * 0.25 + 0.5) * 255
    left, right = bright[:, 0, :, 4, 1], bright[:, 0, :, 4, -2]
    mirrored = left[:, 0] > right[:, 0]
    number = torch.where(mirrored[:, None], right, left) / 2
    return number.round().long(), torch.maximum(left, right)[:, 0].round().long(), mirrored


plain = functools.partial(VideoFolder, contrast=False)  # pixels say what they are


def everything(clips: FolderClips, split: data.Split) -> tuple[torch.Tensor, torch.Tensor]:
    return clips.batch(split, torch.arange(clips.size(split)))


# The clips


def test_direction_is_the_order_of_frames(two: Path) -> None:
    clips = plain(path=str(two), size=16, stride=2, frames=5).opened()
    assert clips.classes == ("forwards", "backwards")
    assert (clips.pairs, clips.ceiling, clips.clip_shape) == (((0, 1),), 0.5, (3, 5, 16, 16))
    for split in SPLITS:
        x, label = everything(clips, split)
        assert x.shape == (clips.size(split), 3, 5, 16, 16)
        assert (x.dtype, label.dtype) == (torch.float32, torch.int64)
        assert label.tolist() == [0, 1] * (len(x) // 2)
        step = read_numbers(x)[0].diff()
        assert torch.equal(step, (2 - 4 * label)[:, None].expand_as(step))


@pytest.mark.parametrize("split", SPLITS)
def test_backwards_is_the_exact_reversal(two: Path, split: data.Split) -> None:
    x, _ = everything(VideoFolder(path=str(two), size=16).opened(), split)
    assert torch.equal(x[1::2], x[0::2].flip(2))
    assert not torch.equal(x[1::2], x[0::2])


def test_speed_is_the_distance_of_frames(two: Path) -> None:
    clips = plain(path=str(two), size=16, frames=3, task="speed").opened()
    assert clips.classes == ("1x", "2x", "4x")
    assert clips.ceiling is None
    assert "not bounded" in clips.ceiling_reason
    for split in SPLITS:
        x, label = everything(clips, split)
        number, _, _ = read_numbers(x)
        assert torch.equal(number.diff(), (2**label)[:, None].expand(-1, 2))
        assert number[0::3, 0].tolist() == number[1::3, 0].tolist() == number[2::3, 0].tolist()


@pytest.mark.parametrize(("task", "clips_per_scene"), [("direction", 2), ("order", 6), ("shift", 4)])
def test_classes_of_a_scene_show_the_same_frames(two: Path, task: str, clips_per_scene: int) -> None:
    clips = plain(path=str(two), size=16, task=task, test=60).opened()
    assert (clips.clips_per_scene, clips.ceiling, len(clips.classes)) == (
        clips_per_scene,
        1 / clips_per_scene,
        clips_per_scene,
    )
    for split in SPLITS:
        x, label = everything(clips, split)
        assert label.tolist() == list(range(clips_per_scene)) * (len(x) // clips_per_scene)
        number = read_numbers(x)[0].reshape(-1, clips_per_scene, 8)
        shown = torch.from_numpy(clips.pictures_shown(split).copy())
        assert torch.equal(number, number.amin((1, 2), keepdim=True) + shown)
        assert (shown.sort(-1).values == torch.arange(8)).all()
        assert len({tuple(row) for row in shown[0].tolist()}) == clips_per_scene
    # any model that averages over frames, here a random one: at most one clip of a scene is right
    x, label = everything(clips, "test")
    for seed in range(5):
        weights = torch.randn(
            3 * 16 * 16, clips_per_scene, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        guess = (x.double().mean(2).flatten(1) @ weights).argmax(1)
        assert (guess == label).double().mean() <= 1 / clips_per_scene


def test_orders_and_shifts_by_hand() -> None:
    order = VideoFolder(task="order").offsets
    assert order[0] == (0, 1, 2, 3, 4, 5, 6, 7)
    assert order[1] == (0, 1, 2, 6, 7, 3, 4, 5)
    assert order[5] == (6, 7, 3, 4, 5, 0, 1, 2)
    assert VideoFolder(task="shift").offsets[1] == (0, 1, 3, 2, 4, 5, 6, 7)
    assert VideoFolder(task="shift", frames=16).offsets[3][12:] == (14, 15, 12, 13)


@pytest.mark.parametrize("task", ["direction", "speed"])
def test_splits_share_no_frame_and_keep_a_gap(two: Path, task: str) -> None:
    clips = plain(path=str(two), size=8, frames=3, task=task).opened()
    for video, n in ((230, 100), (250, 90)):
        seen = {}
        for split in SPLITS:
            number, of, mirrored = read_numbers(everything(clips, split)[0])
            seen[split] = set(number[of == video].flatten().tolist())
            assert (mirrored.float().mean() == 0.5) if split == "train" else not mirrored.any()
        train, val, test = (seen[split] for split in SPLITS)
        assert train == set(range(int(0.7 * n)))
        assert min(val) - max(train) == min(test) - max(val) == 3 + 1  # 2.5 % of either is 3 frames
        assert max(test) == n - 1


def test_same_bits_every_time_in_any_company(two: Path) -> None:
    options = VideoFolder(path=str(two), size=16, train=40)
    a, b = options.opened(), options.opened()
    for split in SPLITS:
        x, _ = everything(a, split)
        assert torch.equal(x, everything(b, split)[0])
        some = torch.tensor([7, 2, 2, 0])
        assert torch.equal(a.batch(split, some)[0], x[some])
        assert torch.equal(a.batch(split, some[:1])[0], x[7:8])


def test_limits_thin_out_by_seed(two: Path) -> None:
    def starts(**options: int) -> list[int]:
        clips = VideoFolder(path=str(two), size=8, train=41, test=6, **options).opened()
        assert (clips.size("train"), clips.size("test")) == (40, 6)
        return clips.starts["train"].tolist()

    assert starts() == starts(seed=0) != starts(seed=1)


def test_batch_goes_to_the_device(two: Path) -> None:
    clips = VideoFolder(path=str(two), size=8).opened()
    for split in SPLITS:
        x, label = clips.batch(split, torch.arange(4), "meta")
        assert (x.device.type, label.device.type) == ("meta", "meta")


def test_text_form_reads_back() -> None:
    options = VideoFolder(path="some/clips", task="speed", frames=4)
    assert str(options) == "video-folder(path=some/clips, task=speed, frames=4)"
    assert data.parse(str(options)) == options
    assert VideoFolder(path=Path("some/clips"), task="speed", frames=4) == options  # type: ignore[arg-type]


# Real clips


@needs_clips
def test_real_clips() -> None:
    clips = plain(path="samples", size=24).opened()
    assert list(clips.videos) == sorted(SAMPLE_CLIPS)
    assert [len(video) for video in clips.videos.values()] == [132, 250, 120]
    assert clips.notes[0] == "3 videos, split by time, into 351 train, 61 val, 62 test frames"
    assert "CC BY 3.0" in clips.notes[1]
    assert [clips.size(split) for split in SPLITS] == [1320, 80, 82]
    x, _ = clips.batch("train", torch.arange(200))
    assert -2 <= x.min() < x.max() <= 2
    assert abs(x.mean()) < 0.6
    assert 0.5 < x.std() < 1.5
    a, b = clips.batch("test", torch.arange(82))[0].reshape(41, 2, *x.shape[1:]).unbind(1)
    assert torch.equal(b, a.flip(2))
    assert (a != b).flatten(1).any(1).all()  # real motion: no clip is its own reversal


@needs_clips
def test_scaling_averages_areas() -> None:
    path = sample_clips()["carphone_pristine.mp4"]  # 176×144, so 16 pixels come from 9×9
    whole = read_frames(path, [0, 60])
    assert whole.shape == (2, 144, 176, 3)
    cut = whole[:, :, 16:160].reshape(2, 16, 9, 16, 9, 3).mean((2, 4))
    # the scaled width is 19.56, rounded to 20: the middle columns agree, the outer ones shift a little
    assert np.abs(read_frames(path, [0, 60], size=16)[:, :, 6:10] - cut[:, :, 6:10]).mean() < 4


@needs_clips
def test_real_clip_cut_in_half_is_named(tmp_path: Path) -> None:
    for name, path in sample_clips().items():
        (tmp_path / name).write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "whole.mp4").symlink_to(sample_clips()["carphone_pristine.mp4"])
    clips = VideoFolder(path=str(tmp_path), size=16).opened()
    reason = "not a video, or cut off before its index"
    each = "; ".join(f"{name} ({reason})" for name in sorted(SAMPLE_CLIPS))
    assert clips.notes[0] == f"skipped 3 of 4 videos: {each}"
    assert list(clips.videos) == ["whole.mp4"]


@pytest.mark.parametrize("name", COLLECTIONS)
def test_sample_clips_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    install = re.escape(COLLECTIONS[name].install)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"path={name} are part of a package that is not installed: {install}"):
        VideoFolder(path=name).opened()
    spec = importlib.util.spec_from_loader(COLLECTIONS[name].module, None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=f"the installed package lacks .*mp4.*{install}"):
        sample_clips(name)


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason=f"needs {COLLECTIONS['earth'].install}")
def test_the_earth_turns() -> None:
    clips = VideoFolder(path="earth", size=16, stride=8).opened()
    assert [len(video) for video in clips.videos.values()] == [901]
    assert "gradio" in clips.notes[1]
    assert "gradio" not in sys.modules


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "directon"}, "unknown task of video-folder 'directon'; did you mean 'direction'? "),
        ({"frames": 1}, "frames of data set 'video-folder' must be from 2 to 10,000, got 1"),
        ({"size": 7}, "size of data set 'video-folder' must be from 8 to 4,096, got 7"),
        ({"stride": 0}, "stride of data set 'video-folder' must be from 1 to 10,000, got 0"),
        ({"test": 1}, "test must be 2 or more, a clip of each class, got 1"),
        ({"task": "speed", "val": 2}, "val must be 3 or more, a clip of each class, got 2"),
        ({"path": 7}, "path must be a folder, got 7"),
        ({"task": "shift", "frames": 10}, "frames must be a multiple of 4 and 8 or more (nearest: 8) for task=shift"),
        ({"task": "order", "frames": 2}, "frames must be 3 or more for task=order, got frames=2"),
    ],
)
def test_errors_about_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        VideoFolder(**options)  # type: ignore[arg-type]
    assert message in str(raised.value)


@pytest.mark.parametrize(("frames", "stride"), [(8, 1), (5, 3), (2, 20)])
@pytest.mark.parametrize("task", ["direction", "speed"])
def test_too_short_means_too_short(frames: int, stride: int, task: str) -> None:
    options = VideoFolder(frames=frames, stride=stride, task=task)
    assert options.span == (frames - 1) * stride * (4 if task == "speed" else 1) + 1
    for n in range(1500):
        parts = options.split(n)
        assert options.usable(n) == all(len(part) >= options.span for (part,) in parts.values())
        if options.usable(n):
            train, val, test = (parts[split][0] for split in SPLITS)
            assert train.start == 0
            assert test.stop == n
            assert min(val.start - train.stop, test.start - val.stop) >= max(stride, 0.025 * n)
    assert options.usable(1499)


def test_tiles_are_squares_side_by_side():
    from tps_lab.data import parse

    whole = parse("video-folder(path=samples, size=16, stride=2)").opened()
    tiled = parse("video-folder(path=samples, size=16, stride=2, tiles=2)").opened()
    assert {name.partition("#")[0] for name in tiled.videos} == set(whole.videos)
    assert sum(name.startswith("bikes") for name in tiled.videos) == 2 * 4  # 640×272 at 32 along the short side: 75×32
    assert tiled.size("test") > 2 * whole.size("test")
    assert len({len(frames) for name, frames in tiled.videos.items() if name.startswith("bikes")}) == 1
    with pytest.raises(InputError, match="tiles of data set 'video-folder' must be from 1 to 16, got 0"):
        parse("video-folder(path=samples, tiles=0)")


def test_mirrored_or_not(two: Path) -> None:
    both, once = (VideoFolder(path=str(two), size=16, mirror=mirror).opened() for mirror in (True, False))
    assert both.size("train") == 2 * once.size("train")
    assert not once.mirrored["train"].any()
    for split in ("val", "test"):
        assert torch.equal(everything(both, split)[0], everything(once, split)[0])


def test_training_clips_are_cut_anew_in_every_epoch(two: Path) -> None:
    """`numbered` pictures are cut in half: their seam says where a clip was cut out."""
    clips = plain(path=str(two), size=16, margin=4, mirror=False).opened()
    assert clips.bank.shape[-2:] == (24, 24)

    def seam(split: data.Split) -> torch.Tensor:
        x, _ = everything(clips, split)
        assert x.shape[-2:] == (16, 16)
        return (x[:, 0, :, 8].diff(dim=-1).abs().argmax(-1) + 1).T  # (T, B)

    assert (seam("test") == 8).all()
    first = seam("train")
    assert (first == first[0]).all()  # all frames of a clip alike
    assert torch.equal(first[0, 0::2], first[0, 1::2])  # and both clips of a scene
    assert set(first[0].tolist()) == set(range(4, 13))
    clips.set_epoch(1)
    second = seam("train")
    assert not torch.equal(first, second)
    clips.set_epoch(0)
    assert torch.equal(seam("train"), first)
    with pytest.raises(InputError, match="margin of data set 'video-folder' must be from 0 to 4,096, got -1"):
        plain(path=str(two), margin=-1)


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 400), block=st.integers(9, 60), frames=st.integers(2, 6), stride=st.integers(1, 3))
def test_blocks_take_turns_with_a_gap_where_the_split_changes(n: int, block: int, frames: int, stride: int) -> None:
    """Against a naive reading, frame by frame, of who a block belongs to."""
    try:
        options = VideoFolder(frames=frames, stride=stride, block=block)
    except InputError as error:
        least = int(str(error).partition("must be ")[2].split()[0])
        assert least > block
        VideoFolder(frames=frames, stride=stride, block=least)
        return
    gap = max(-(-block // 8), stride)
    turns = ["train", "train", "test", "train", "val"]
    owner = [turns[t // block % 5] for t in range(n)]
    want = [who if owner[max(t - gap, 0) : t + 1].count(who) == min(t, gap) + 1 else "" for t, who in enumerate(owner)]
    got = [""] * n
    for split, parts in options.split(n).items():
        for part in parts:
            for t in part:
                assert not got[t]
                got[t] = split
    assert got == want


def test_blocks_share_no_frame(two: Path) -> None:
    clips = plain(path=str(two), size=8, frames=3, block=8).opened()
    assert "split by blocks of 8 frames, taking turns" in clips.notes[0]
    seen = {split: read_numbers(everything(clips, split)[0])[0] for split in SPLITS}
    assert {t // 8 % 5 for t in seen["test"].flatten().tolist()} == {2}
    assert {t // 8 % 5 for t in seen["val"].flatten().tolist()} == {4}
    assert {t // 8 % 5 for t in seen["train"].flatten().tolist()} == {0, 1, 3}


@pytest.mark.parametrize("task", ["direction", "order", "shift"])
def test_every_clip_has_zero_mean_and_unit_spread(two: Path, task: str) -> None:
    as_they_are, clips = (
        VideoFolder(path=str(two), task=task, size=16, contrast=contrast).opened() for contrast in (False, True)
    )
    x, labels = everything(clips, "test")
    raw, same = everything(as_they_are, "test")
    assert torch.equal(labels, same)
    grey = (raw.double() + 2) * 63.75
    want = (grey - grey.mean((1, 2, 3, 4), True)) / (grey.std((1, 2, 3, 4), unbiased=False, keepdim=True) + 3)
    torch.testing.assert_close(x.double(), want, atol=1e-5, rtol=1e-5)
    # the clips of a scene show the same frames, bit for bit
    scenes = x.unflatten(0, (-1, clips.clips_per_scene))
    kept = scenes.sort(3).values
    assert (kept == kept[:, :1]).all()


def test_a_clip_of_one_colour_is_not_blown_up(two: Path) -> None:
    from tps_lab.data.folder import _contrasted

    grey = torch.full((2, 3, 4, 8, 8), 77, dtype=torch.uint8)
    assert (_contrasted(grey) == 0).all()
    grey[1, 0, 0, 0, 0] = 78
    assert _contrasted(grey).abs().max() < 0.4
