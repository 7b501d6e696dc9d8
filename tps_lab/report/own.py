"""Whose a report's folder is: a report goes where an earlier one of ours stands, or where nothing is in its way."""

from __future__ import annotations

import os
from pathlib import Path

from tps_lab import files
from tps_lab.errors import InputError
from tps_lab.results import archive

# stands in every page and every Markdown file that a report writes
HTML, MARKDOWN = '<meta name="generator" content="tps-lab">', "<!-- written by tps-lab -->"
_WITH_MARK = ("index.html", "report.md", "README.md")
_WITHOUT = ("results.csv", "results.tex", archive.FILE, "summary.json")


def check(out: Path, force: bool = False) -> None:
    """Refuse, before any work, a folder that a report should not or cannot be written into.

    Args:
        force: replace files of others too.

    Raises:
        InputError: it cannot be written, or holds files in a report's way that no report wrote.
    """
    files.check_folder(out)
    if force:
        return
    marked = [name for name in _WITH_MARK if os.path.lexists(out / name)]
    strange = [name for name in marked if not is_ours(out / name)]
    if not marked:
        strange = [name for name in _WITHOUT if os.path.lexists(out / name)]
    if strange:
        raise InputError(
            f"{out} holds {', '.join(strange)}, which no report wrote: give another --out, or --force to replace them"
        )


def is_ours(file: Path) -> bool:
    """Whether a report wrote this file."""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as content:
            start = content.read(1 << 16).decode("utf-8", "replace")
    except OSError:  # a link, or not to be read
        return False
    return HTML in start or MARKDOWN in start
