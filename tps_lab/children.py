"""Processes of ours: how many this machine takes, and Python that takes no module from the current folder, which may
be somebody else's."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from tps_lab.lazy import torch

# Linux hands out memory in pages of 4 KiB unless torch asks for large ones, and on a CPU much of a model's memory is
# fresh in every step: one of vit_micro took 171 ms instead of 195. torch reads this when it first allocates.
LARGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
_BYTES_EACH = 2 << 30  # a process with torch loaded and a small model in training takes half of it


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
    return {**LARGE_PAGES, **os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path), **more}


def how_many(wanted: int) -> int:
    """How many runs to train at a time on this machine: one on a GPU, else one per core."""
    if torch.cuda.is_available():
        return 1
    return max(1, min(wanted, cores(), memory_bytes() // _BYTES_EACH))


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
