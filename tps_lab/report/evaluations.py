"""The parts of a report that `tps-lab evaluate` adds: several views of each video, and rearranged frames.

Both come from files that it leaves in the runs' folders (`views-KxC.json`, `time_use.json`); runs without them are not
shown. Papers print figures of several views without saying what the views cost; here both stand in one line.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tps_lab.results.groups import Group, Interval, RunLike, student, wilson
from tps_lab.viz.answers import time_use

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME_USE = "time_use.json"


@dataclass(frozen=True)
class Viewed:
    """One variant, tested over so many views.

    Args:
        label: the variant's.
        views: "4×3": places in time × crops.
        top1: of the averaged softmax, over seeds (over the test clips with one seed).
        alone: mean accuracy of a single view, percent.
        macs, macs_total: multiply-adds per view and for all views; None if disputed.
        seeds: how many runs were tested so.
    """

    label: str
    views: str
    top1: Interval
    alone: float
    macs: int | None
    macs_total: int | None
    seeds: int

    @property
    def cost(self) -> tuple[str, str]:
        """Multiply-adds as text, per view and in all."""
        if self.macs is None or self.macs_total is None:
            return "disputed", "disputed"
        return f"{self.macs / 1e9:.4g} G", f"{self.macs_total / 1e9:.4g} G"


def viewed(groups: Sequence[Group]) -> list[Viewed]:
    """A line for every variant and every number of views that its runs were tested with."""
    lines = []
    for group in groups:
        found: dict[str, list[dict[str, Any]]] = {}
        for run in group.done:
            for row in getattr(run, "views", ()):
                found.setdefault(row["views"], []).append(row)
        for views, rows in found.items():
            top1 = [row["top1_pct"] for row in rows]
            alone = statistics.fmean(value for row in rows for value in row["per_view_top1_pct"])
            over = student(top1) if len(top1) > 1 else wilson(top1[0], rows[0]["test_clips"])
            first = rows[0]
            lines.append(
                Viewed(group.label, views, over, alone, first["macs_per_view"], first["macs_total"], len(rows))
            )
    return lines


def rearranged(runs: Iterable[RunLike]) -> list[tuple[str, Axes]]:
    """A caption and a picture for each data set whose runs have one; for `build`'s `extra_figures`."""
    by_data: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in runs:
        for found in getattr(run, "time_use", ()):
            by_data.setdefault(str(run.row.get("data")), {}).setdefault(str(run.row.get("label")), []).append(found)
    made = []
    for data, labels in by_data.items():
        named = {label: over_seeds(several) for label, several in labels.items()}
        seeds = "" if all(len(several) == 1 for several in labels.values()) else " Means over seeds."
        said = " ".join(f"{label}: {found['answer']}" for label, found in named.items() if found["answer"])
        caption = f"Does it use time at all? {data}: test clips with their frames rearranged.{seeds} {said}"
        made.append((caption, time_use(named)))
    return made


def over_seeds(several: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `measure.time_use.facts` says of one model, its figures averaged over seeds, one at least."""
    first = several[0]
    if len(several) == 1:
        return first
    rows = []
    for row in first["probes"]:
        same = [one for found in several for one in found["probes"] if one["probe"] == row["probe"]]
        figures = [key for key, value in row.items() if isinstance(value, float)]
        rows.append(row | {key: statistics.fmean(one[key] for one in same) for key in figures})
    return first | {"probes": rows, "answer": ""}
