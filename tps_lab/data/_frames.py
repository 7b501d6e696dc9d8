"""Frames of a clip, whatever it is stored as: a video, or a folder of pictures; from the cache if there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tps_lab.data._video import UnreadableVideo, said

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read(
    path: Path,
    choose: Callable[[int], Sequence[int]],
    size: int | None = None,
    start: int = 0,
    stop: int = 0,
    decoder: str = "pyav",
) -> NDArray[np.uint8]:
    """The frames that `choose` picks.

    Args:
        path: a video, or a folder of pictures in the order of their names.
        choose: number of frames → which.
        size: short side in pixels; as stored without.
        start, stop: the part of the video that is the clip; 0, 0 means all of it.
        decoder: "pyav" or "torchcodec"; pictures are read by Pillow.

    Returns:
        (N, H, W, 3) uint8, RGB.

    Raises:
        UnreadableVideo: it cannot be read, and why.
    """

    def within(total: int) -> list[int]:
        first, last = min(start, total - 1), min(stop or total, total)
        return [first + int(i) for i in choose(max(1, last - first))]

    from tps_lab.data import _cache

    cached = _cache.configured()
    if cached is not None:
        return cached.read(path, within, size, _DECODERS[decoder], decoder)
    return _DECODERS[decoder](path, within, size)


def _pyav(path: Path, choose: Callable[[int], Sequence[int]], size: int | None) -> NDArray[np.uint8]:
    if os.path.isdir(path):
        return read_pictures(path, choose, size)
    from tps_lab.data._seek import read_chosen

    return read_chosen(path, choose, size)


def _torchcodec(path: Path, choose: Callable[[int], Sequence[int]], size: int | None) -> NDArray[np.uint8]:
    if os.path.isdir(path):
        return read_pictures(path, choose, size)
    from tps_lab.data._torchcodec import read_chosen

    return read_chosen(path, choose, size)


_DECODERS = {"pyav": _pyav, "torchcodec": _torchcodec}
DECODERS = tuple(_DECODERS)


def pictures_in(path: Path) -> list[str]:
    """The names of a folder's pictures, in order.

    Raises:
        UnreadableVideo: the folder cannot be looked into, or holds none.
    """
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.name.lower().endswith(PICTURES))
    except OSError as error:
        raise UnreadableVideo(path, said(error)) from error
    if not names:
        raise UnreadableVideo(path, "no picture in the folder")
    return names


def read_pictures(path: Path, choose: Callable[[int], Sequence[int]], size: int | None) -> NDArray[np.uint8]:
    """As `read`, of a folder of pictures."""
    import numpy as np
    from PIL import Image

    names = pictures_in(path)
    found: dict[int, NDArray[np.uint8]] = {}
    wanted = [int(i) for i in choose(len(names))]
    for i in sorted(set(wanted)):
        try:
            with Image.open(path / names[i]) as picture:
                rgb = picture.convert("RGB")
        except Image.DecompressionBombError as error:
            raise UnreadableVideo(path, f"picture {names[i]} is too large") from error
        except (OSError, ValueError, SyntaxError) as error:  # PIL: SyntaxError for broken PNGs
            why = "cut off or damaged" if (path / names[i]).stat().st_size else "empty file"
            raise UnreadableVideo(path, f"picture {names[i]}: {why}") from error
        if size is not None and min(rgb.size) != size:
            scale = size / min(rgb.size)
            shape = max(size, round(rgb.width * scale)), max(size, round(rgb.height * scale))
            rgb = rgb.resize(shape, Image.Resampling.BILINEAR)  # averages areas where it gets smaller
        found[i] = np.asarray(rgb)
    if len({pixels.shape for pixels in found.values()}) > 1:
        raise UnreadableVideo(path, "its pictures differ in size")
    return np.stack([found[i] for i in wanted])
