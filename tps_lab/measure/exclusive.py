"""One measurement at a time on this machine, whatever else its processes prepare meanwhile."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Wait until no other process of this user is inside `alone(what)`, and keep them out.

    The lock goes with the process that holds it, however it ends.

    >>> with alone("doctest"):
    ...     pass
    """
    file = Path(tempfile.gettempdir(), f"tps-lab-{os.getuid()}-{what}.lock")
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # unlocks, too
