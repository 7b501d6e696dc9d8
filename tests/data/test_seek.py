"""Frames by number: the same as decoding everything and counting, on every kind of file."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import av
import numpy as np
import pytest
from layouts import clip, footage, webm
from small_videos import encode

from tps_lab.data._frames import read
from tps_lab.data._seek import look, read_chosen
from tps_lab.data._video import UnreadableVideo, read_frames


def decoded_in_full(path: Path) -> np.ndarray:
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


# Containers that keep no time of display, and codecs that store frames in another order than they show them


def coded(path: Path, codec: str, frames: int, rate: int = 25, times: list[int] | None = None, **options: str) -> Path:
    """Frame i says its number in stripes, a bit each."""
    form = {".wmv": "asf", ".m2ts": "mpegts", ".mts": "mpegts", ".ts": "mpegts", ".m4v": "mp4"}.get(path.suffix)
    with av.open(f"file:{path}", "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(frames):
            pixels = np.repeat(255 * (i >> np.arange(8) & 1), 8).astype(np.uint8)[None, :, None]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.broadcast_to(pixels, (48, 64, 3))))
            if times is not None:
                frame.pts = times[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(pixels: np.ndarray) -> list[int]:
    bits = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 16 :: pixels.shape[2] // 8].mean(-1) > 127
    return (bits[:, :8] << np.arange(8)).sum(1).tolist()


# with threads of its own the encoder once took a test process down with it
ALONE = "log-level=none:pools=none:frame-threads=1"
OPEN = {"x264-params": "keyint=10:open-gop=1:bframes=5:b-pyramid=strict"}
KINDS = [
    *((suffix, "libx264", options) for suffix in ("avi", "asf", "wmv", "flv", "mkv", "mp4", "mov", "m4v", "3gp", "mpg",
                                                  "vob", "m2ts") for options in ({}, {"bf": "0"}, OPEN)),
    *((suffix, "mpeg4", {"bf": "2"}) for suffix in ("avi", "asf", "mp4", "mkv", "mov", "m2ts")),
    *((suffix, "mpeg2video", {"bf": "2"}) for suffix in ("avi", "asf", "mpg", "vob", "m2ts", "mkv")),
    *((suffix, "mpeg4", {}) for suffix in ("avi", "mp4")),
    ("mpg", "mpeg1video", {"bf": "2"}), ("avi", "mjpeg", {}), ("wmv", "wmv2", {}), ("asf", "msmpeg4v2", {}),
    ("avi", "msmpeg4v2", {}), ("flv", "flv", {}), ("mkv", "libx265", {"x265-params": f"{ALONE}:keyint=12"}),
    ("mp4", "libx265", {"x265-params": f"{ALONE}:keyint=12"}), ("m2ts", "libx265", {"x265-params": ALONE}),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec", "options"), KINDS, ids=lambda value: str(value)[:24])
def test_every_way_of_reading_gives_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, codec: str, options: dict[str, str]
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    for frames, rate in ((36, 25), (24, 24)):
        path = coded(tmp_path / f"{frames}.{suffix}", codec, frames, rate, **options)
        assert (look(path).frames, look(path).problem) == (frames, "")
        assert look(path).seconds == pytest.approx(1.44 if frames == 36 else 1, abs=0.1) or suffix in ("mpg", "vob")
        assert numbers(read_frames(path)) == list(range(frames))
        assert numbers(read_chosen(path, range)) == list(range(frames))
        for size in (None, 24):
            whole = read_chosen(path, range, size)
            for i in range(frames):
                assert np.array_equal(read(path, lambda n, i=i: [i], size)[0], whole[i]), i
            picks = [30 % frames, 3, 3, frames - 1]
            with monkeypatch.context() as patch:
                patch.setenv("TPS_LAB_CACHE", str(tmp_path / "cache"))
                for _ in range(2):
                    assert np.array_equal(read(path, lambda n, picks=picks: picks, size), whole[picks])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "libx264"), ("webm", "libvpx"), ("flv", "libx264"), ("wmv", "wmv2"), ("asf", "libx264"),
     ("asf", "mpeg2video"), ("avi", "mpeg4"), ("mp4", "libx264"), ("m2ts", "libx264"), ("mpg", "mpeg2video")],
)  # fmt: skip
def test_one_rule_says_whether_a_file_is_whole(tmp_path: Path, suffix: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")

    def accepted(path: Path) -> tuple[bool, bool]:
        try:
            by_packets = not look(path).problem
        except UnreadableVideo:
            by_packets = False
        try:
            return by_packets, bool(len(read_frames(path)))
        except UnreadableVideo:
            return by_packets, False

    cut = tmp_path / f"cut.{suffix}"
    for frames, rate in ((1, 25), (2, 1), (5, 25), (24, 24), (100, 25), (10, 1)):
        if rate == 1 and codec == "mpeg2video":
            continue  # it has no such rate
        path = coded(tmp_path / f"a.{suffix}", codec, frames, rate)
        assert accepted(path) == (True, True), (frames, rate)
    content = coded(path, codec, 100).read_bytes()
    for share in (0.2, 0.5, 0.8):
        cut.write_bytes(content[: int(share * len(content))])
        by_packets, by_frames = accepted(cut)
        assert not by_frames or by_packets, "what is decoded to its end is whole by its packets, too"
        if suffix not in ("m2ts", "mpg") and share < 0.8:  # of which nothing promises a length
            assert not by_packets, share


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_a_camera_that_dropped_frames_left_a_whole_avi(tmp_path: Path, codec: str) -> None:
    """AVI keeps a moment without a new picture as an empty chunk, and its header counts it."""
    path = coded(tmp_path / "a.avi", codec, 36, 25, [i if i < 18 else i + 40 for i in range(36)], bf="0")
    about = look(path)
    assert (about.frames, about.problem) == (36, "")
    assert about.seconds_at(18) == pytest.approx(58 / 25, abs=0.05)
    assert numbers(read_frames(path)) == numbers(read_chosen(path, range)) == list(range(36))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableVideo, match="truncated"):
        read_frames(path)


def test_times_of_a_video_of_any_rate(tmp_path: Path) -> None:
    """240 frames in 10 s, then one a second; and a video that does not begin at zero."""
    times = [*range(240), *(240 + 24 * i for i in range(20))]
    about = look(coded(tmp_path / "a.mkv", "libx264", 260, 24, times, bf="0"))
    assert about.seconds_at(240) == pytest.approx(10, abs=0.01)
    assert about.seconds_at(250) == pytest.approx(20, abs=0.01)
    assert [about.frame_at(second) for second in (0, 5, 10, 10.5, 20, 99)] == [0, 120, 240, 241, 250, 260]
    late = look(coded(tmp_path / "b.mkv", "libx264", 50, 25, [100 + i for i in range(50)]))
    assert (late.seconds_at(0), late.seconds_at(25)) == (0, pytest.approx(1, abs=0.01))
    assert late.seconds == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "http:clip.mp4", "concat:a.mp4", "file:x.mp4", "pipe:0.mp4", "a,b%03d.mp4"]
)
def test_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    coded(tmp_path / "plain.mp4", "mpeg4", 5).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for given in (name, f"./{name}", str(tmp_path / name)):
        assert look(given).frames == 5
        assert numbers(read_frames(given)) == [0, 1, 2, 3, 4]
        assert numbers(read_chosen(given, lambda total: [4])) == [4]


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = coded(tmp_path / "a.mpg", "mjpeg", 9)  # which a program stream cannot name
    with pytest.raises(UnreadableVideo, match=r"its codec is unknown here|no video stream"):
        look(path)


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
        for attempt in (lambda: look(path), lambda: read_chosen(path, lambda total: [0, total // 2, total - 1], 16)):
            with contextlib.suppress(UnreadableVideo):
                attempt()
