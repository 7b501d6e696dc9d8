"""The list of a collection's usable clips: written by `tps-lab data check --fix-list`, read by `only=FILE`.

One clip a line, split, label and name with tabs between; a name with odd characters stands as JSON. The
videos themselves are never touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from tps_lab.data._files import printable
from tps_lab.data._listing import Entry, read_lines
from tps_lab.errors import InputError

_HEAD = "# usable clips of a collection: split, label and name below its folder; read with only=THIS FILE"


def write(file: Path, clips: Iterable[tuple[str, Entry]]) -> int:
    """Write the list; returns how many clips it names.

    Raises:
        InputError: the file exists (nothing is overwritten) or cannot be written.
    """
    lines = [_HEAD, *(f"{split}\t{entry.label}\t{_text(entry.name)}" for split, entry in clips)]
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise InputError(f"{printable(file)} exists, and nothing is overwritten; give another name") from None
    except OSError as error:
        raise InputError(f"cannot write {printable(file)}: {error.strerror or error}") from error
    return len(lines) - 1


def usable_names(file: str | os.PathLike[str]) -> frozenset[str]:
    """The names that a list holds.

    Raises:
        InputError: it cannot be read, or a line is no clip.
    """
    names = set()
    for number, line in read_lines(Path(file).expanduser()):
        if line.startswith("#"):
            continue
        parts = line.split("\t")
        try:
            names.add(json.loads(parts[2]) if parts[2].startswith('"') else parts[2])
        except (IndexError, ValueError):
            where = f"{printable(file)}, line {number}"
            raise InputError(f"{where}: {line!r} is not SPLIT, LABEL and NAME with tabs between") from None
    return frozenset(names)


def _text(name: str) -> str:
    return name if name.isprintable() and name == name.strip() and not name.startswith('"') else json.dumps(name)
