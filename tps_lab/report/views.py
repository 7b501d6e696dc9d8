"""The part of a report on several views of each video: from the `views-KxC.json` that `tps-lab evaluate` leaves in
the runs' folders. Papers print such figures without saying what the views cost; here both stand in one line.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tps_lab.results.groups import Group, Interval, student, wilson


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
