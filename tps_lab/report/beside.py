"""What other commands leave beside a run's row, such as `tps-lab evaluate` and `tps-lab probe`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tps_lab.errors import InputError


def read_beside(run: Any, pattern: str, needed: set[str], command: str) -> list[dict[str, Any]]:
    """The JSON files in a run's folder whose names fit a pattern, in the order of their names.

    Args:
        run: a run; one from elsewhere than a folder has none.
        needed: keys that they must have.
        command: what writes them again.

    Raises:
        InputError: a file is damaged.
    """
    folder = getattr(run, "path", None)
    files = [] if folder is None else sorted(Path(folder).glob(pattern))
    return [_read(file, needed, command) for file in files]


def _read(file: Path, needed: set[str], command: str) -> dict[str, Any]:
    try:
        row = json.loads(file.read_text())
        missing = needed - row.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"cannot read {file}: {error}; {command} writes it again") from error
    if missing:
        raise InputError(f"{file} lacks {', '.join(sorted(missing))}; {command} writes it again")
    return dict(row)
