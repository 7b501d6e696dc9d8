"""Frames of a clip, whatever it is stored as: a video, or a folder of pictures; from the cache if there is one."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tps_lab.data import _cache
from tps_lab.data._files import frames_among, printable
from tps_lab.data._seek import read_by_torchcodec, read_chosen
from tps_lab.data._video import UnreadableVideo, said

if TYPE_CHECKING:
    from PIL import Image


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
        path: a video, or a folder of pictures in the order of the numbers in their names.
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

    def decode(path: Path, choose: Callable[[int], Sequence[int]], size: int | None) -> NDArray[np.uint8]:
        return (read_pictures if os.path.isdir(path) else DECODERS[decoder])(path, choose, size)

    cached = _cache.configured()
    return cached.read(path, within, size, decode, decoder) if cached else decode(path, within, size)


DECODERS = {"pyav": read_chosen, "torchcodec": read_by_torchcodec}


def pictures_in(path: Path) -> list[str]:
    """The names of the pictures in a folder that are the frames of its video, in order.

    Raises:
        UnreadableVideo: the folder cannot be looked into, holds none, or those of several videos.
    """
    try:
        with os.scandir(path) as entries:
            names = frames_among(entry.name for entry in entries)
    except (OSError, ValueError) as error:
        raise UnreadableVideo(path, said(error)) from error
    if not names:
        raise UnreadableVideo(path, "no picture in the folder")
    return names


def read_pictures(path: Path, choose: Callable[[int], Sequence[int]], size: int | None) -> NDArray[np.uint8]:
    """As `read`, of a folder of pictures."""
    from PIL import Image

    names = pictures_in(path)
    found: dict[int, NDArray[np.uint8]] = {}
    wanted = [int(i) for i in choose(len(names))]
    for i in sorted(set(wanted)):
        try:
            with Image.open(path / names[i]) as picture:
                rgb = _as_shown(picture)
        except Image.DecompressionBombError as error:
            raise UnreadableVideo(path, f"picture {printable(names[i])} is too large") from error
        except _UnknownWhite as error:
            raise UnreadableVideo(path, f"picture {printable(names[i])} {error}") from error
        except (OSError, ValueError, SyntaxError) as error:  # PIL: SyntaxError for broken PNGs
            why = "cut off or damaged" if (path / names[i]).stat().st_size else "empty file"
            raise UnreadableVideo(path, f"picture {printable(names[i])}: {why}") from error
        if size is not None and min(rgb.size) != size:
            scale = size / min(rgb.size)
            shape = max(size, round(rgb.width * scale)), max(size, round(rgb.height * scale))
            rgb = rgb.resize(shape, Image.Resampling.BILINEAR)  # averages areas where it gets smaller
        found[i] = np.asarray(rgb)
    if len({pixels.shape for pixels in found.values()}) > 1:
        raise UnreadableVideo(path, "its pictures differ in size")
    return np.stack([found[i] for i in wanted])


class _UnknownWhite(Exception):
    """A picture that does not say which of its numbers is white."""


def _as_shown(picture: Image.Image) -> Image.Image:
    """A picture in RGB as people see it: upright, from its own black to its own white, and black where transparent."""
    from PIL import Image, ImageOps

    picture.load()
    with contextlib.suppress(OSError, ValueError, TypeError, SyntaxError, KeyError, struct.error):  # damaged EXIF
        ImageOps.exif_transpose(picture, in_place=True)
    black_to_white = _eight_bits(picture) if picture.mode.startswith(("I", "F")) else picture
    if black_to_white.has_transparency_data:
        shown = black_to_white.convert("RGBA")
        rgb = Image.new("RGB", shown.size)
        rgb.paste(shown, mask=shown.getchannel("A"))
    else:
        rgb = black_to_white.convert("RGB")
    return rgb


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Greys of more than eight bits, scaled to 0 to 255."""
    from PIL import Image

    tags = getattr(picture, "tag_v2", {})  # of a TIFF
    bits, kind = int(tags.get(258, (16,))[0]), int(tags.get(339, (1,))[0])
    if picture.mode.startswith("F") or bits > 16 or kind != 1:
        raise _UnknownWhite("has floating-point, signed or 32-bit numbers, and nothing says which of them is white")
    grey = np.asarray(picture).astype(np.int64)
    if (hidden := picture.info.get("transparency")) is not None:
        grey = np.where(grey == hidden, 0, grey)
    scaled = (grey * 255 + (1 << bits - 1)) // ((1 << bits) - 1)
    if tags.get(262) == 0:  # TIFF's "white is zero"
        scaled = 255 - scaled
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
