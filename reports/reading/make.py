"""Sixteen frames of 300: found by their times (PyAV), by torchcodec, or by decoding the whole file.

Six files of the same real footage, each frame's number written into it, so that a wrong frame shows. Every way reads
the same frames in turn, and processor time is counted, which other programs on the machine hardly change.
`python reports/reading/make.py` makes the page; it needs the extras clips and torchcodec, and FFmpeg's libraries.
"""

from __future__ import annotations

import importlib.metadata
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tps_lab.results.runs import processor

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, write_csv, write_page  # noqa: E402

FRAMES, WANTED, SHORT = 300, 16, 256
BITS = 9  # of a frame's number
# name → the file's suffix, codec and its options
FILES: dict[str, tuple[str, str, dict[str, str]]] = {
    "MP4, H.264, a keyframe in 250": (".mp4", "libx264", {"g": "250"}),
    "MP4, H.264, a keyframe in 12": (".mp4", "libx264", {"g": "12"}),
    "WebM, VP9, a keyframe in 128": (".webm", "libvpx-vp9", {"g": "128", "deadline": "realtime", "cpu-used": "8"}),
    "AVI, MPEG-4, a keyframe in 12": (".avi", "mpeg4", {"g": "12"}),
    "AVI, H.264 with B-frames": (".avi", "libx264", {"g": "48"}),
    "M2TS, H.264 with B-frames": (".m2ts", "libx264", {"g": "48"}),
}


def by_times(path: Path, wanted: list[int]) -> Any:
    from tps_lab.data._seek import read_chosen

    return read_chosen(path, lambda total: wanted, SHORT)


def by_torchcodec(path: Path, wanted: list[int]) -> Any:
    """By torchcodec what it finds by times, the rest by PyAV, so that frames are the right ones."""
    import numpy as np
    from torchcodec.decoders import VideoDecoder

    from tps_lab.data._seek import look

    packets = look(path)
    try:
        # a container for broadcasts has no index: a seek lands about where it should
        if path.suffix == ".m2ts" or not len(packets.pts):
            return by_times(path, wanted)
        decoder = VideoDecoder(str(path), seek_mode="exact", num_ffmpeg_threads=1)
        found = decoder.get_frames_at(wanted)
        times = found.pts_seconds.numpy() - float(decoder.metadata.begin_stream_seconds or 0)
        if len(decoder) != packets.frames or np.abs(times - packets.times[wanted]).max() > 1e-3:
            return by_times(path, wanted)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return by_times(path, wanted)
    return scaled(found.data)


def by_torchcodec_alone(path: Path, wanted: list[int]) -> Any:
    from torchcodec.decoders import VideoDecoder

    return scaled(VideoDecoder(str(path), seek_mode="exact", num_ffmpeg_threads=1).get_frames_at(wanted).data)


def scaled(frames: Any) -> Any:
    """Frames (N, 3, H, W) as (N, H, W, 3), the short side as long as other ways have it."""
    from torchvision.transforms.v2 import functional as F

    return F.resize(frames, [SHORT], antialias=True).permute(0, 2, 3, 1).numpy()


def whole(path: Path, wanted: list[int]) -> Any:
    from tps_lab.data._video import read_frames

    return read_frames(path, size=SHORT, square=False)[wanted]


WAYS: dict[str, Callable[[Path, list[int]], Any]] = {
    "the package": by_times,
    "torchcodec or the package": by_torchcodec,
    "torchcodec alone": by_torchcodec_alone,
    "whole file": whole,
}


def encode(path: Path, form: str | None, codec: str, options: dict[str, str]) -> None:
    """300 frames of a street, forwards and backwards, with their numbers in the top rows."""
    import av
    import numpy as np

    from tps_lab.data._sample_clips import sample_clips
    from tps_lab.data._video import read_frames

    street = read_frames(sample_clips()["bikes.mp4"], size=SHORT, square=False)[:, :, :340]
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = street.shape[2], SHORT, "yuv420p"
        for i in range(FRAMES):
            pixels = street[i if i < len(street) else 2 * len(street) - 2 - i].copy()
            pixels[:32, : 32 * BITS] = np.repeat(255 * (i >> np.arange(BITS) & 1), 32)[None, :, None]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels))))
        container.mux(stream.encode())


def numbers(pixels: Any) -> list[int]:
    """The numbers that frames (T, H, W, 3) show."""
    import numpy as np

    return (((pixels[:, 16, 16 : 32 * BITS : 32].mean(-1) > 127) << np.arange(BITS)).sum(1)).tolist()


def measure(rounds: int, advance: Callable[[int, str | None], None]) -> list[dict[str, Any]]:
    import numpy as np

    from tps_lab.data.sampling import segments

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, (suffix, codec, options)) in enumerate(FILES.items()):
            path = Path(folder) / f"{k}{suffix}"
            encode(path, "mpegts" if suffix == ".m2ts" else None, codec, options)
            taken: dict[str, list[float]] = {way: [] for way in WAYS}
            right, failed = dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, "")
            for turn in range(rounds + 1):
                wanted = segments(FRAMES, WANTED, np.random.default_rng(turn)).tolist()
                for way, read in WAYS.items():
                    start = time.process_time()
                    try:
                        found = numbers(read(path, wanted))
                    except Exception as error:  # that it cannot is the finding
                        found, failed[way] = [], type(error).__name__
                    if turn:  # the first warms up
                        taken[way].append(1000 * (time.process_time() - start))
                        right[way] += sum(a == b for a, b in zip(found, wanted, strict=False))
                advance((rounds + 1) * k + turn + 1, None)
            rows += [
                {
                    "file": name,
                    "way": way,
                    "cpu_ms": round(statistics.median(taken[way]), 1),
                    "quartiles_ms": [round(q, 1) for q in statistics.quantiles(taken[way], n=4)[::2]],
                    "right": right[way],
                    "asked": rounds * WANTED,
                    "failed": failed[way],
                }
                for way in WAYS
            ]
    return rows


def main(
    out: Annotated[Path, typer.Option(help="Where report.md and reading.csv go.")] = HERE,
    rounds: Annotated[int, typer.Option(min=2, help="Clips per file and way.")] = 20,
    quiet: bool = False,
) -> None:
    """PyAV, torchcodec and decoding whole files: time for 16 of 300 frames, and whether they are the right ones."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        sys.exit(f"torchcodec is not installed, or finds no FFmpeg or torch that it can use: {error}".splitlines()[0])
    os.environ.pop("TPS_LAB_CACHE", None)
    with advancing("clips", len(FILES) * (rounds + 1), quiet) as advance:
        rows = measure(rounds, advance)
    write_csv(out / "reading.csv", rows)
    about = {
        "machine": processor(),
        "versions": {name: importlib.metadata.version(name) for name in ("av", "torchcodec", "torch", "torchvision")},
    }
    print(write_page(HERE / "template.md", out, rows=rows, files=FILES, ways=list(WAYS), rounds=rounds, **about))


if __name__ == "__main__":
    command(main)
