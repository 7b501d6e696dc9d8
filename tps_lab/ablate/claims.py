"""Who works on which cell, on a file system that several machines share, and no database.

.claims/<cell>.<n>      a claim; created exclusively, so that each number has one winner
.claims/<cell>.now      how far its holder is; replaced whole

Whoever holds the highest number holds the cell while the file keeps being touched. A holder that
fell silent is not evicted (two who do that at once would evict each other) but outbid: number n + 1
is free once. A holder that was only asleep sees the higher number and stops.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tps_lab import files

HEARTBEAT = 5.0  # seconds between touches
SILENT = 60.0  # seconds after which a holder counts as dead; far longer than file systems cache attributes


class Outbid(BaseException):
    """Somebody else holds the cell now. Not an error of the run, so nothing that catches those sees it."""


@dataclass
class Claim:
    """A claim on a cell, kept alive by a thread until it is released.

    Args:
        folder: the results folder.
        cell: the cell's id.
    """

    folder: Path
    cell: str
    file: Path
    _stop: threading.Event = field(default_factory=threading.Event)
    _now: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        threading.Thread(target=self._beat, daemon=True).start()

    def check(self) -> None:
        """Raise `Outbid` if somebody else has the cell."""
        if newest(self.folder, self.cell) != self.file:
            raise Outbid(f"{self.cell} was taken over")

    def update(self, **now: Any) -> None:
        """Let everybody see how far the cell is; written at most once a second, never a reason to fail."""
        due = time.monotonic() - self._now.get("at", -1.0) >= 1 or now.get("news")
        if due:
            self._now = self._now | {k: v for k, v in now.items() if v is not None} | {"at": time.monotonic()}
            with suppress(OSError):
                files.write_whole(_now_file(self.folder, self.cell), json.dumps(self._now), to_disk=False)

    def release(self) -> None:
        """Give it back: its time becomes that of 1970, so that it counts as silent at once."""
        self._stop.set()
        with suppress(OSError):
            os.utime(self.file, (0, 0), follow_symlinks=False)
        with suppress(OSError):
            _now_file(self.folder, self.cell).unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with suppress(OSError):
                os.utime(self.file, follow_symlinks=False)


def claim(folder: Path, cell: str) -> Claim | None:
    """The claim, or None if somebody else holds the cell.

    Raises:
        OSError: the folder cannot be written.
    """
    files.folder(folder)
    files.folder(folder / ".claims")
    held = newest(folder, cell)
    if held is not None and _alive(held):
        return None
    number = int(held.suffix[1:]) + 1 if held else 1
    file = folder / ".claims" / f"{cell}.{number}"
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w") as out:
        out.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}))
    for older in _all(folder, cell):
        if older != file and int(older.suffix[1:]) < number:
            with suppress(OSError):
                older.unlink()
    return Claim(folder, cell, file)


def held(folder: Path, cell: str) -> bool:
    """Whether somebody alive works on the cell."""
    file = newest(folder, cell)
    return file is not None and _alive(file)


def progress(folder: Path, cell: str) -> dict[str, Any]:
    """How far the cell is: step, steps, news; empty if nobody said."""
    try:
        found = files.read_json(_now_file(folder, cell), 1 << 16)
    except (OSError, files.Damaged):
        return {}
    return found if isinstance(found, dict) else {}


def newest(folder: Path, cell: str) -> Path | None:
    """The file of the highest claim."""
    return max(_all(folder, cell), key=lambda file: int(file.suffix[1:]), default=None)


def _all(folder: Path, cell: str) -> list[Path]:
    return [file for file in (folder / ".claims").glob(f"{cell}.*") if file.suffix[1:].isdigit()]


def _alive(file: Path) -> bool:
    try:
        touched = file.lstat().st_mtime
        holder = files.read_json(file, 1 << 16)
    except FileNotFoundError:
        return False
    except (OSError, files.Damaged):
        holder = {}  # just being written
    if isinstance(holder, dict) and holder.get("host") == socket.gethostname():
        pid = holder.get("pid")
        if not isinstance(pid, int) or holder.get("born") != _born(pid):
            return False
    return _clock_of(file.parent) - touched < SILENT


def _clock_of(folder: Path) -> float:
    """The time as the file system has it, which touches are stamped with; machines' clocks differ."""
    try:
        clock = files.new_beside(folder / ".clock")
    except OSError:
        return time.time()
    try:
        return clock.lstat().st_mtime
    finally:
        with suppress(OSError):
            clock.unlink()


def _born(pid: int) -> str | None:
    """When a process of this machine began; None if there is none. A number is used again, this is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc: say only whether it is there
        os.kill(pid, 0)
    except OSError:
        return None
    return "alive"


def _now_file(folder: Path, cell: str) -> Path:
    return folder / ".claims" / f"{cell}.now"
