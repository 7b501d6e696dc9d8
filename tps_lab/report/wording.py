"""Figures and lists as sentences say them."""

from __future__ import annotations

from collections.abc import Sequence

from tps_lab.report.tables import over
from tps_lab.results.groups import Group, Interval


def listed(words: Sequence[str], separator: str = ", ") -> str:
    """Words as people list them: "a, b and c"."""
    return " and ".join(words) if len(words) < 3 else f"{separator.join(words[:-1])} and {words[-1]}"


def interval(group: Group, top1: Interval) -> str:
    """What a mean's interval is: "95 % interval over 5 seeds: 55.2–56.9"."""
    return f"95 % interval over {over(group)}: {top1.span}" if top1.over else "interval unknown"


def signed(found: object) -> str:
    """A comparison with true minus signs: "−0.7 (−2.1 to +0.8)"."""
    return str(found).replace("-", "−")
