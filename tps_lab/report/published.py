"""Results that are published with this package, read back from what a report wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tps_lab import files
from tps_lab.errors import InputError
from tps_lab.report.tables import FORMULA
from tps_lab.results import archive, runs
from tps_lab.results.groups import Group, RowAlone, figure
from tps_lab.results.paired import Pair, baseline_of
from tps_lab.results.statistics import compare_all


def load(folder: str | Path) -> list[Any]:
    """The runs of a report: whole where it keeps their folders or their archive, else the lines of its `results.csv`.

    Raises:
        InputError: there is neither.

    >>> load("reports/ablations/attention")[0].row["attention"]  # doctest: +SKIP
    'spatial'
    """
    folder = Path(folder)
    file = folder if folder.suffix == ".csv" else folder / "results.csv"
    if folder.is_dir() and any(any(folder.rglob(name)) for name in ("row.json", archive.FILE)):
        return list(runs.find(folder))
    if not file.is_file():
        raise InputError(f"no published results in {folder}: neither runs nor results.csv")
    return [_run(line, file) for line in csv.DictReader(io.StringIO(files.read_text(file), newline=""))]


def by_seed(groups: Sequence[Group], baseline: str | None = None) -> list[Pair]:
    """Every group against the baseline by the accuracies of their common seeds alone.

    For published figures without answers to single clips. The interval is over seeds (Student's t of
    the paired differences) on these very test clips: other clips would widen it. Where the
    answers are there, `results.paired.paired` covers both.

    Args:
        baseline: a label or case; None is spatial attention.

    Raises:
        InputError: no group has that label or case.
    """
    base = baseline_of(groups, baseline)
    pairs, rights = [], []
    for group in groups:
        if group is base or not group.done:
            continue
        one, other = _accuracies(group), _accuracies(base)
        shared = [seed for seed in one if seed in other]
        pairs.append((group, shared))
        if shared:
            rights.append(tuple(np.array([[found[seed] / 100] for seed in shared]) for found in (one, other)))
    found = iter(compare_all(rights, over_clips=False))  # type: ignore[arg-type]
    return [
        Pair(group, base, next(found)) if shared else Pair(group, base, None, "no seed that both finished")
        for group, shared in pairs
    ]


def _accuracies(group: Group) -> dict[Any, float]:
    """Test accuracy (%) by seed."""
    both = ((run.row.get("seed"), figure(run.row, "top1_pct")) for run in group.done)
    return {seed: top1 for seed, top1 in both if top1 is not None}


def _run(line: dict[str, str], file: Path) -> RowAlone:
    """A line as a run: figures, but neither curves nor answers to single clips."""
    row: dict[str, Any] = {}
    for key, text in line.items():
        value = _value(text[1:] if text.startswith(tuple(f"'{sign}" for sign in FORMULA)) else text)
        if value is None:
            continue
        place, (*outer, last) = row, key.split(".") if not key.startswith("per_") else key.split(".", 1)
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return RowAlone(row, file, row.pop("environment", {}))


def _value(text: str) -> Any:
    if text == "":
        return None
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
