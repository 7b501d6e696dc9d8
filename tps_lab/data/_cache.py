"""Decoded frames kept on disk, up to a limit: what was decoded once is read back in milliseconds.

Off unless two environment variables say where and how much, since it changes no clip and so is no part
of a data set::

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
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps_lab import files
from tps_lab.errors import InputError

_SUFFIX = ".frames.npy"


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
        decoder: str = "",
    ) -> NDArray[np.uint8]:
        """The chosen frames of a video, which is decoded as a whole if it is not in the cache.

        Args:
            decode: (video, frame count → wanted frames, size) → frames.
            decoder: its name; what one decoder left is not read for another.
        """
        file = self._file(path, size, decoder)
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

    def _file(self, path: Path, size: int | None, decoder: str = "") -> Path | None:
        try:
            about = path.stat()
        except OSError:
            return None
        key = f"{os.path.realpath(path)}|{about.st_size}|{about.st_mtime_ns}|{size}|{decoder}"
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
