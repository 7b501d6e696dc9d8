"""What a `video-folder` reads: every kind of broken file and folder, and frames by index."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from small_videos import encode, moving

from tps_lab.data import folder
from tps_lab.data._files import printable
from tps_lab.data._seek import read_chosen
from tps_lab.data._video import UnreadableVideo, promised_frames, read_frames
from tps_lab.data.folder import VideoFolder
from tps_lab.errors import InputError

av = pytest.importorskip("av")
ROOT = not hasattr(os, "geteuid") or os.geteuid() == 0


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
    with pytest.raises(InputError, match=r"cannot open the folder .*: Permission denied"):
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

    assert error("") == "video-folder needs a folder, such as video-folder(path=my_videos), or path=samples or earth"
    no = "cannot open the folder"
    assert error(tmp_path / "x") == f"{no} '{tmp_path}/x': No such file or directory"
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

    monkeypatch.setattr(folder, "_MOST_BYTES", 3_000_000)
    with monkeypatch.context() as patch:
        patch.delattr(folder, "read_frames")  # it says so before it decodes anything
        asked = error(good.parent, size=128)
    assert "70 frames or more, 0.0 GB at size=128, and at most 0.0 GB" in asked
    monkeypatch.setattr(folder, "promised_frames", lambda path: 0)  # a header that does not tell
    assert error(good.parent, size=128) == asked


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


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
                                    (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)])  # fmt: skip
def test_frames_are_upright(good: Path, tmp_path: Path, matrix: tuple[int, ...], scale: float) -> None:
    # The matrix of an mp4's track header, x' = a x + c y and y' = b x + d y with y downwards.
    a, b, c, d = matrix
    stored = [round(value * scale * 2**16) for value in matrix]
    content = bytearray(good.read_bytes())
    at = content.index(b"tkhd") + 44
    assert struct.unpack(">9i", content[at : at + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    content[at : at + 36] = struct.pack(">9i", *stored[:2], 0, *stored[2:], 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)

    def shown(frames: np.ndarray) -> np.ndarray:
        """Pixel by pixel, by the definition."""
        y, x = np.indices(frames.shape[1:3])
        to_x, to_y = a * x + c * y, b * x + d * y
        to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
        out = np.zeros((len(frames), to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
        out[:, to_y, to_x] = frames[:, y, x]
        return out

    assert np.array_equal(read_frames(turned), shown(read_frames(good)))
    assert np.array_equal(read_chosen(turned, lambda n: [9]), shown(read_frames(good, [9])))
    assert np.array_equal(read_frames(turned, size=16), shown(read_frames(good, size=16)))
    assert np.array_equal(read_chosen(turned, lambda n: [9], 18), shown(read_chosen(good, lambda n: [9], 18)))


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
