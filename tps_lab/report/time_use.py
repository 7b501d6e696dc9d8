"""The part of a report that asks whether models use time at all: from `time_use.json` in the runs' folders.

`tps-lab evaluate --rearranged` leaves that file beside a run's row; runs without it are not shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tps_lab.viz.time_use import time_use

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tps_lab.results.groups import Run

FILE = "time_use.json"


def pictures(runs: Iterable[Run]) -> list[tuple[str, Figure]]:
    """A caption and a figure for each data set whose runs have one; for `build`'s `extra_figures`."""
    by_data: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in runs:
        for found in getattr(run, "time_use", ()):
            by_data.setdefault(str(run.row.get("data")), {}).setdefault(str(run.row.get("label")), []).append(found)
    made = []
    for data, labels in by_data.items():
        named = {label: _mean(several) for label, several in labels.items()}
        figure = time_use(named).get_figure(root=True)
        assert figure is not None
        seeds = "" if all(len(several) == 1 for several in labels.values()) else " Means over seeds."
        said = " ".join(f"{label}: {found['answer']}" for label, found in named.items() if found["answer"])
        made.append(
            (f"Does it use time at all? {data}: test clips with their frames rearranged.{seeds} {said}", figure)
        )
    return made


def _mean(several: list[dict[str, Any]]) -> dict[str, Any]:
    """One model's figures, averaged over its seeds."""
    first = several[0]
    if len(several) == 1:
        return first
    rows = []
    for row in first["probes"]:
        values = [one["top1_pct"] for found in several for one in found["probes"] if one["probe"] == row["probe"]]
        rows.append(row | {"top1_pct": sum(values) / len(values)})
    return first | {"probes": rows, "answer": ""}
