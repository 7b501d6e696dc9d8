"""Reading what others may have left, and writing where others may have been.

A results folder may belong to a group. So a file is read only if it is a plain one and no larger than such a
file can be (no pipe that never answers, no link to a device without an end), and it is written beside its name, under
a name that nobody can foresee, and then renamed: a link that somebody put there is replaced, never followed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tps_lab.errors import InputError

MOST_TEXT = 32 << 20  # bytes of a file of text; the largest that runs write are lists of metrics, a few MB
_HALF = ".part"


class Damaged(InputError):
    """A file that is there but cannot be what it should be; the message says why."""


def read(file: Path, most: int = MOST_TEXT) -> bytes:
    """The bytes of a plain file.

    Args:
        most: bytes that it may have.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is no plain file, too large, or cannot be read.
    """
    try:
        # without O_NONBLOCK, opening a named pipe waits for somebody to write into it
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        if os.path.islink(file):
            raise Damaged(f"{file.name} is a link to nothing") from None
        raise
    except OSError as error:
        raise Damaged(f"{file.name} cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Damaged(f"{file.name} is no plain file")
    with os.fdopen(handle, "rb") as content:
        found = bytearray()
        try:
            while len(found) <= most and (piece := content.read(1 << 20)):
                found += piece
        except OSError as error:
            raise Damaged(f"{file.name} cannot be read: {error.strerror or error}") from None
    if len(found) > most:
        raise Damaged(f"{file.name} is larger than {most >> 20} MiB, more than such a file can have")
    return bytes(found)


def read_text(file: Path, most: int = MOST_TEXT) -> str:
    """As `read`, decoded as UTF-8."""
    try:
        return read(file, most).decode()
    except UnicodeDecodeError:
        raise Damaged(f"{file.name} is no UTF-8 text") from None


def parse_json(text: str, name: str) -> Any:
    """JSON as data; `Damaged` says what is wrong with it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise Damaged(f"{name} is nested too deeply") from None
    except ValueError as error:  # cut, no JSON, or a number of thousands of digits
        raise Damaged(f"{name} is no whole JSON: {error}".split(";")[0]) from None


def read_json(file: Path, most: int = MOST_TEXT) -> Any:
    """As `read_text`, parsed."""
    return parse_json(read_text(file, most), file.name)


# ---------------------------------------------------------------------- writing


@contextmanager
def writing(path: Path, within: bool = False) -> Iterator[None]:
    """What the system refuses inside is blamed on `path`.

    Args:
        within: `path` is a folder, and what of it was refused is named if the system says it.

    Raises:
        InputError: what cannot be written, and why.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {(within and error.filename) or path}: {error.strerror or error}") from error


@contextmanager
def whole(file: Path, to_disk: bool = True) -> Iterator[Path]:
    """A new empty file to write into, which takes the place of `file` at the end, or vanishes after an error.

    Its name ends as that of `file` does. What stood there is replaced; if that was a link, the link is.
    """
    half = new_beside(file)
    try:
        yield half
        if to_disk:
            synced(half)
        half.replace(file)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def write_whole(file: Path, content: str | bytes, to_disk: bool = True) -> None:
    """Write, flush to disk, rename: readers see the whole file or none, and no link is followed."""
    with whole(file, to_disk) as half:
        half.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def new_beside(file: Path) -> Path:
    """An empty file beside `file` that this call made, under a name that nobody could foresee."""
    while True:
        half = file.with_name(f".{file.stem[:60]}.{secrets.token_hex(8)}{_HALF}{file.suffix}")
        with suppress(FileExistsError):
            os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
            return half


def remove_halves(folder: Path) -> None:
    """Take away what a process that was killed in the middle of `whole` left."""
    for half in folder.glob(f".*{_HALF}*"):
        with suppress(OSError):
            half.unlink()


def open_to_write(file: Path, mode: str = "a") -> IO[Any]:
    """A plain file of ours, opened to append ("a") or to read and change ("r+"); made if it is not there.

    Raises:
        OSError: it is a link, or no plain file, or another name of one that stands elsewhere.
    """
    flags = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    handle = os.open(file, flags | (os.O_WRONLY | os.O_APPEND if mode == "a" else os.O_RDWR), 0o666)
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        os.close(handle)
        raise OSError(errno.ELOOP, "it is no plain file of its own", str(file))
    return open(file, mode, encoding="utf-8", opener=lambda path, flags: handle)  # its name is the path


def folder(path: Path) -> Path:
    """A folder below one that somebody named: made if it is missing, never a link to elsewhere.

    Raises:
        OSError: it cannot be made, or is a link.
    """
    path.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"{path.name} is a link to elsewhere", str(path))
    return path


def check_folder(path: Path) -> None:
    """Refuse a folder that could not be written, before any work is done for it; makes nothing.

    Raises:
        InputError: it is a file, or the folder that it would stand in cannot be written.
    """
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    with writing(path):
        if not there.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        new_beside(there / "tps-lab").unlink()


def check_file(path: Path) -> None:
    """Refuse a file that could not be written, or that is there already, before any work is done for it.

    Raises:
        InputError: it exists, or stands in no folder that can be written.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if os.path.lexists(path):
        raise InputError(f"{path} already exists: remove it, or give another name")
    if not path.absolute().parent.is_dir():
        raise InputError(f"cannot write {path}: no such folder: {path.parent}")
    with writing(path):
        new_beside(path).unlink()


def synced(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
