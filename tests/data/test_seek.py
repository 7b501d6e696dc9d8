"""Frames by number: the same as decoding everything and counting, on every kind of file."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from layouts import clip, footage, webm
from small_videos import encode

from tps_lab.data._seek import look, read_chosen
from tps_lab.data._video import UnreadableVideo


def decoded_in_full(path: Path, size: int | None = None) -> np.ndarray:
    """Every frame, by PyAV alone, in the order shown."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of 60 real frames, each with its own difficulty."""
    place, frames = tmp_path_factory.mktemp("seek"), footage()[:60].copy()
    for bit in range(6):  # real footage repeats frames: write the number into the picture
        frames[:, 16:32, 7 * bit : 7 * bit + 7] = 255 * (np.arange(60) >> bit & 1)[:, None, None, None]
    rng = np.random.default_rng(0)
    uneven = np.cumsum(rng.integers(5, 120, 60)).tolist()
    made = {
        "mp4": encode(place / "a.mp4", frames),
        "avi": encode(place / "a.avi", frames),
        "webm": webm(place / "a.webm", frames),
        "uneven times": encode(place / "uneven.mkv", frames, times=uneven),
        "picture by picture": encode(place / "key.mkv", frames, "mjpeg") if "mjpeg" in av.codecs_available else None,
    }
    if "libx264" in av.codecs_available:  # frames that are stored in another order than shown, and short groups
        for name, options in {
            "b frames": {"g": "12", "bf": "3"},
            "open groups": {"x264-params": "keyint=10:open-gop=1"},
        }.items():
            path = place / f"{name}.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=25, options=options)
                stream.height, stream.width, stream.pix_fmt = 36, 44, "yuv420p"
                for pixels in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:36, :44]))))
                container.mux(stream.encode())
            made[name] = path
    return {name: path for name, path in made.items() if path is not None}


@pytest.mark.parametrize(
    "name", ["mp4", "avi", "webm", "uneven times", "picture by picture", "b frames", "open groups"]
)
def test_frames_are_exactly_those(files: dict[str, Path], name: str) -> None:
    if name not in files:
        pytest.skip("this PyAV has no encoder for it")
    whole = decoded_in_full(files[name])
    assert look(files[name]).frames == len(whole) == 60
    rng = np.random.default_rng(1)
    picks = [[0], [59], [30, 29, 28], [5, 5, 50], *(rng.integers(0, 60, 4).tolist() for _ in range(6))]
    for wanted in picks:
        got = read_chosen(files[name], lambda total, wanted=wanted: wanted)
        bits = [got[:, 24, 7 * bit + 3].mean(1) > 127 for bit in range(6)]
        assert sum(b.astype(int) << i for i, b in enumerate(bits)).tolist() == wanted
        # another converter than PyAV's own may round the last bit otherwise; other frames differ by far more
        assert np.abs(got.astype(int) - whole[wanted].astype(int)).max() <= 3


def test_only_what_is_needed_is_decoded(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    if "b frames" not in files:
        pytest.skip("this PyAV has no H.264 encoder")
    import tps_lab.data._seek as seek

    seen = []
    pixels_of = seek.pixels_of
    monkeypatch.setattr(seek, "pixels_of", lambda *a, **k: seen.append(1) or pixels_of(*a, **k))
    monkeypatch.setattr(seek, "_counted", lambda *a: pytest.fail("decoded from the start"))
    read_chosen(files["b frames"], lambda total: [total - 1, 2, 2])
    assert len(seen) == 2


@pytest.mark.parametrize("name", ["mp4", "webm"])
def test_a_cut_file_is_named(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    content = files[name].read_bytes()
    for share in (0.0, 0.1, 0.5, 0.8):
        path = tmp_path / f"cut{files[name].suffix}"
        path.write_bytes(content[: int(share * len(content))])
        try:
            problem = look(path).problem
        except UnreadableVideo as error:
            problem = error.reason
        assert problem.startswith(
            ("empty file", "not a video", "truncated: ", "damaged: ", "no frame", "no video stream")
        )


def test_colour_range_is_respected(tmp_path: Path) -> None:
    """The same grey, stored with levels 16 to 235 and with 0 to 255."""
    grey = np.full((4, 32, 32, 3), 200, np.uint8)
    for codec, pix_fmt in (("mpeg4", "yuv420p"), ("mjpeg", "yuvj420p")):
        path = tmp_path / f"{codec}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.height = stream.width = 32
            stream.pix_fmt = pix_fmt
            for pixels in grey:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(stream.encode())
        # taken for the other range it would be 186 or 216
        assert abs(read_chosen(path, lambda total: [1], 16).mean() - 200) < 4


def test_short_side_and_odd_sizes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", clip(0)[:, :35, :43], "ffv1")
    assert read_chosen(path, lambda total: [0], 17).shape[1:3] in {(17, 21), (17, 20)}
    assert read_chosen(path, lambda total: [0], 70).shape[1] == 70


def test_ten_thousand_frames_and_one(tmp_path: Path) -> None:
    many = encode(tmp_path / "many.mp4", np.broadcast_to(clip(0, 1)[:, :16, :16], (10_000, 16, 16, 3)))
    assert look(many).frames == 10_000
    assert read_chosen(many, lambda total: [total - 1, total // 2]).shape == (2, 16, 16, 3)
    one = encode(tmp_path / "one.mp4", clip(0, 1))
    assert read_chosen(one, lambda total: [0] * 5).shape[0] == 5


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video\n" * 99)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    sound = io.BytesIO()
    with av.open(sound, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    (tmp_path / "sound.mp4").write_bytes(sound.getvalue())
    reasons = {}
    for name in ("text", "empty", "loop", "sound", "gone"):
        with pytest.raises(UnreadableVideo) as raised:
            read_chosen(tmp_path / f"{name}.mp4", lambda total: [0])
        reasons[name] = raised.value.reason
    assert reasons == {
        "text": "not a video, or cut off before its index",
        "empty": "empty file",
        "loop": "too many levels of symbolic links",
        "sound": "no video stream",
        "gone": "no such file or directory",
    }


@pytest.mark.parametrize("name", ["mp4", "avi", "webm", "uneven times", "b frames"])
def test_fuzz(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    """Bytes changed, cut out and put in anywhere: frames, or the one error that says so."""
    if name not in files:
        pytest.skip("this PyAV has no encoder for it")
    whole = files[name].read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / f"fuzz{files[name].suffix}"
    for _ in range(25):
        content = bytearray(whole)
        for _ in range(int(rng.integers(1, 6))):
            at, n = int(rng.integers(len(content))), int(rng.integers(1, 400))
            noise = rng.integers(0, 256, n, dtype=np.uint8).tobytes()
            way = int(rng.integers(3))
            content[at : at + n * (way != 0)] = noise if way < 2 else b""
        path.write_bytes(content)
        for read in (lambda: look(path), lambda: read_chosen(path, lambda total: [0, total // 2, total - 1], 16)):
            with contextlib.suppress(UnreadableVideo):
                read()


def test_torchcodec_gives_the_same_frames(files: dict[str, Path], tmp_path: Path) -> None:
    from tps_lab import InputError
    from tps_lab.data import _torchcodec

    try:
        _torchcodec.check_installed()
    except InputError as error:
        pytest.skip(str(error))
    for path in files.values():
        pick = lambda total: [total - 1, 3, 3]  # noqa: E731
        assert np.abs(_torchcodec.read_chosen(path, pick).astype(int) - read_chosen(path, pick)).max() <= 3
    (tmp_path / "text.mp4").write_text("no video\n" * 99)
    (tmp_path / "empty.mp4").touch()
    for name in ("text", "empty", "gone"):
        with pytest.raises(UnreadableVideo):
            _torchcodec.read_chosen(tmp_path / f"{name}.mp4", lambda total: [0])


def test_torchcodec_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tps_lab import InputError, data

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(InputError, match="pip install torchcodec, or take decoder=pyav"):
        data.parse("class-folders", path=str(tmp_path), decoder="torchcodec").opened()
    with pytest.raises(InputError, match="unknown decoder 'decord'"):
        data.parse("class-folders", decoder="decord")
