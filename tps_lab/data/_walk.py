"""Folders and those below them, links followed, none entered twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(root: Path, refused: Callable[[OSError], None]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of the files in it, subfolders in alphabetical order.

    Links to folders are followed, as collections are often built of them, but no folder is entered
    twice: a link may lead to one above it, and of two links to one folder the same is always the first.

    Args:
        refused: hears of every folder that could not be looked into.
    """
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(root, onerror=refused, followlinks=True):
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders.sort()
        yield Path(place), names
