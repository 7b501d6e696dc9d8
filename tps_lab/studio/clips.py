"""Clips for the studio, (T, S, S, 3) uint8: from a package, drawn, or from a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from tps_lab import data
from tps_lab.data._sample_clips import sample_clips
from tps_lab.data._video import promised_frames, read_frames
from tps_lab.errors import InputError, unknown

SIDE = 224  # pixels
_STEP = 3  # frames of a video from one shown frame to the next
_BEGIN = {"bikes": 188}  # the longest stretch without a cut


def names() -> list[str]:
    """The clips that are at hand, the first to be shown first."""
    try:
        real = [Path(name).stem for name in sample_clips()]
    except InputError:  # the extra is not installed
        real = []
    return [*(name for name in ("bigbuckbunny", "bikes", "carphone_pristine") if name in real), "moving digit"]


@lru_cache(maxsize=8)
def load(name: str, frames: int) -> np.ndarray:
    """A clip by its name or by the path of a video file.

    Raises:
        InputError: no such clip or file, or the video is too short.
    """
    if name == "moving digit":
        return _digit(frames)
    if name in names():
        path = sample_clips()[f"{name}.mp4"]
    elif Path(name).suffix:
        path = Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"no such video file: {name}")
    else:
        raise unknown("clip", name, names())
    there, begin = promised_frames(path), _BEGIN.get(name, 0)
    if there < begin + _STEP * frames:
        begin = 0
    step = _STEP if there >= _STEP * frames else 1
    return read_frames(path, indices=range(begin, begin + frames * step, step), size=SIDE)


def frames_of(name: str, indices: range, side: int) -> np.ndarray:
    """Chosen frames of one of the packaged clips: (T, side, side, 3) uint8.

    Raises:
        InputError: the package that brings it is not installed.
    """
    return read_frames(sample_clips()[f"{name}.mp4"], indices=indices, size=side)


def _digit(frames: int) -> np.ndarray:
    clips = data.parse("opposites", frames=frames, size=28).opened()
    import torch

    clip, _ = clips.batch("test", torch.tensor([0]))
    shown = clip[0].movedim(0, -1).numpy()  # (T, H, W, C)
    shown = (shown - shown.min()) / (np.ptp(shown) or 1)
    pixels = np.broadcast_to(np.rint(255 * shown), (*shown.shape[:3], 3)).astype(np.uint8)
    return pixels.repeat(SIDE // 28, 1).repeat(SIDE // 28, 2)
