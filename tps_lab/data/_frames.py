"""Frames of a clip, whatever it is stored as: a video, or a folder of pictures; from the cache if there is one.

The cache keeps decoded frames on disk, up to a limit: what was decoded once is read back in milliseconds. It is off
unless two environment variables say where and how much, since it changes no clip and so is no part of a data set::

    TPS_LAB_CACHE=/fast/disk/frames   TPS_LAB_CACHE_GB=200

One file per video and size, named by a hash of its path, length and time of change: a video that changes
is another one. Files are written beside their place and renamed, so that any number of processes may
read and write at once; the one that finds the limit passed removes what was used longest ago, alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tps_lab import files
from tps_lab.data._files import frames_among, printable
from tps_lab.data._seek import read_chosen
from tps_lab.data._video import UnreadableVideo, said
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_SUFFIX = ".frames.npy"  # of the cache's files


def read(
    path: Path,
    choose: Callable[[int], Sequence[int]],
    size: int | None = None,
    start: int = 0,
    stop: int = 0,
) -> NDArray[np.uint8]:
    """The frames that `choose` picks.

    Args:
        path: a video, or a folder of pictures in the order of the numbers in their names.
        choose: number of frames → which.
        size: short side in pixels; as stored without.
        start, stop: the part of the video that is the clip; 0, 0 means all of it.

    Returns:
        (N, H, W, 3) uint8, RGB.

    Raises:
        UnreadableVideo: it cannot be read, and why.
    """

    def within(total: int) -> list[int]:
        first, last = min(start, total - 1), min(stop or total, total)
        return [first + int(i) for i in choose(max(1, last - first))]

    def decode(path: Path, choose: Callable[[int], Sequence[int]], size: int | None) -> NDArray[np.uint8]:
        return (read_pictures if os.path.isdir(path) else read_chosen)(path, choose, size)

    cached = configured()
    return cached.read(path, within, size, decode) if cached else decode(path, within, size)


def pictures_in(path: Path) -> list[str]:
    """The names of the pictures in a folder that are the frames of its video, in order.

    Raises:
        UnreadableVideo: the folder cannot be looked into, holds none, or those of several videos, or what has the
            name of a frame is no plain file.
    """
    try:
        with os.scandir(path) as entries:
            found = {entry.name: entry for entry in entries}
        names = frames_among(found)
        for name in names:
            if not found[name].is_file():  # to open a named pipe would wait without an end
                gone = found[name].is_symlink() and not os.path.exists(path / name)
                why = "is a link to nothing" if gone else "is no plain file"
                raise ValueError(f"picture {printable(name)} {why}")
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
            try:
                why = "cut off or damaged" if (path / names[i]).stat().st_size else "empty file"
            except OSError as missing:  # taken away meanwhile
                why = said(missing)
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


# ---------------------------------------------------------------------- kept on disk


class Cache:
    """Decoded frames in a folder.

    Args:
        folder: made if needed; files of other names in it are left alone.
        limit_bytes: about how much it may hold; passed for a moment by what is being written.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the cache {folder}: {error.strerror or error}") from error
        self._since_look = limit_bytes  # bytes written since the folder was last measured: look at once

    def read(
        self,
        path: Path,
        choose: Callable[[int], Sequence[int]],
        size: int | None,
        decode: Callable[[Path, Callable[[int], Sequence[int]], int | None], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        """The chosen frames of a video, which is decoded as a whole if it is not in the cache.

        Args:
            decode: (video, frame count → wanted frames, size) → frames.
        """
        file = self._file(path, size)
        if file is not None:
            with contextlib.suppress(OSError, ValueError):  # not there, or taken away or cut short meanwhile
                frames = np.load(file, mmap_mode="r")
                os.utime(file)  # used just now
                return np.array(frames[[int(i) for i in choose(len(frames))]])
        frames = decode(path, range, size)
        if file is not None and frames.nbytes < self.limit_bytes:
            with contextlib.suppress(OSError):  # a full disk: go on without
                self._write(file, frames)
        return frames[[int(i) for i in choose(len(frames))]]

    def _file(self, path: Path, size: int | None) -> Path | None:
        try:
            about = path.stat()
        except OSError:
            return None
        key = f"{os.path.realpath(path)}|{about.st_size}|{about.st_mtime_ns}|{size}"
        return self.folder / (hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:32] + _SUFFIX)

    def _write(self, file: Path, frames: NDArray[Any]) -> None:
        with files.whole(file, to_disk=False) as half, half.open("wb") as out:
            np.save(out, frames, allow_pickle=False)
        self._since_look += frames.nbytes
        # other processes write too: look again well before this one alone could pass the limit
        if self._since_look >= max(self.limit_bytes // 50, 1):
            self._make_room()

    def _make_room(self) -> None:
        try:
            opened = files.open_to_write(self.folder / ".lock")
        except OSError:  # a link that somebody put there
            return
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return  # another process is at it
            self._since_look = 0
            held = sorted(self._files())
            total = sum(size for _, size, _ in held)
            for _, size, path in held:
                if total <= 0.95 * self.limit_bytes:
                    break
                with contextlib.suppress(OSError):
                    os.unlink(path)
                total -= size

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """When each file was last used, its bytes, and where it is."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    with contextlib.suppress(OSError):
                        about = entry.stat()
                        yield about.st_mtime, about.st_size, entry.path


def configured() -> Cache | None:
    """The cache that the environment asks for.

    Raises:
        InputError: the limit is no number, or the folder cannot be made.
    """
    folder = os.environ.get("TPS_LAB_CACHE", "")
    return _opened(folder, os.environ.get("TPS_LAB_CACHE_GB", "20")) if folder else None


@lru_cache(maxsize=8)
def _opened(folder: str, gigabytes: str) -> Cache:
    try:
        limit = float(gigabytes)
    except ValueError:
        limit = -1.0
    if not limit > 0:
        raise InputError(f"TPS_LAB_CACHE_GB must be a number above 0, got {gigabytes!r}")
    return Cache(Path(folder).expanduser(), int(limit * 1e9))
