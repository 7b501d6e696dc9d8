"""What a report says of itself, and what it compares its runs with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tps_lab.report.budgets import Budgets


@dataclass(frozen=True)
class About:
    """Of one report.

    Args:
        title: the page's heading.
        question: what the runs should answer, in a sentence.
        baseline: label or case that all others are compared with; None takes spatial attention, or
            the first.
        compare: instead of a baseline, the axis of a grid ("attention.border") along which cases are
            compared with the one that differs from them there alone.
        across: an axis at whose values the order along `compare` is compared, such as the model's size.
        paper: a paper's numbers to stand beside ours: label, case, variant or pattern → measure →
            number.
        paper_source: which table of which paper that is, and on what data.
        command: what makes this report again, shown in it.
        remake: the command that makes a run again, if it is no `tps-lab train`.
        left_out: runs that could not be read, and why.
        overview: the page above this one, as a link from it.
        budgets: who is ahead after how many steps, and what each case was tuned to.
    """

    title: str = "Attention variants compared"
    question: str = ""
    baseline: str | None = None
    compare: str | None = None
    across: str | None = None
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    paper_source: str = ""
    command: str = ""
    remake: str = ""
    left_out: tuple[str, ...] = ()
    overview: str = ""
    budgets: Budgets = field(default_factory=Budgets)

    @classmethod
    def of_grid(cls, grid: Mapping[str, Any], **others: Any) -> About:
        """What a grid file says, and others, which replace that; a baseline among them replaces its axis, too."""
        found = {key: grid[key] for key in ("title", "question", "baseline", "compare", "across") if grid.get(key)}
        if isinstance(grid.get("paper"), Mapping):
            found["paper"] = grid["paper"].get("numbers") or {}
            found["paper_source"] = str(grid["paper"].get("source") or "")
        if "baseline" in others:
            found.pop("compare", None)
            found.pop("across", None)
        return cls(**found | others)
