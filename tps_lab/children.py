"""Processes of ours: Python that takes no module from the current folder, which may be somebody else's."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def python(*arguments: str | Path) -> list[str]:
    """The command that runs this Python; -P leaves the current folder out of its path."""
    return [sys.executable, "-P", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """Our environment for a child and for the children that it starts, with these variables besides."""
    # an empty entry, or a relative one, is the current folder again
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    here = str(Path(__file__).parents[1])
    if here != sysconfig.get_path("purelib") and here not in path:  # a checkout that was run where it lies
        path.append(here)
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path), **more}
