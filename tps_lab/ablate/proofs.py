"""What was proved about a grid's cells before any of them was trained, and whether their results keep to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tps_lab.errors import InputError
from tps_lab.training.config import RunConfig

# Counterparts whose answers are equal in real numbers may differ in the last bit of a float, and once in a
# great while that decides which of two classes is ahead: one test clip in a thousand.
SLACK_PCT = 0.1


def proved(config: RunConfig) -> dict[str, Any]:
    """`proved_ceiling_pct` and `proved_reason` for a cell's row; empty if nothing is proved (see `tps_lab.explain`)."""
    names = ("attention", "backbone", "data", "tubelet", "temporal_position")
    return dict(_proved(RunConfig(**{name: getattr(config, name) for name in names})))


@lru_cache(maxsize=1000)
def _proved(config: RunConfig) -> Mapping[str, Any]:
    from tps_lab.explain import explain

    try:
        found = explain(config).ceiling
    except InputError:  # no such data here; what cannot work is refused elsewhere
        return {}
    if found.ceiling_pct is None:
        return {}
    return {"proved_ceiling_pct": found.ceiling_pct, "proved_reason": found.reason}


@dataclass(frozen=True)
class Confronted:
    """A proved ceiling beside the runs that it is about.

    Args:
        highest_pct: the best test accuracy of the finished runs.
        runs: how many there are.
    """

    name: str
    ceiling_pct: float
    reason: str
    highest_pct: float
    runs: int

    @property
    def kept(self) -> bool:
        return self.highest_pct <= self.ceiling_pct + SLACK_PCT


def confront(rows: Iterable[Mapping[str, Any]], name: str = "case") -> list[Confronted]:
    """One entry for every name whose finished runs have a proved ceiling.

    Args:
        name: the key of a row that runs of one variant share.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("status") == "done" and row.get("proved_ceiling_pct") is not None:
            groups.setdefault(str(row.get(name)), []).append(row)
    return [
        Confronted(
            label,
            min(float(row["proved_ceiling_pct"]) for row in group),
            str(group[0].get("proved_reason", "")),
            max(float(row["top1_pct"]) for row in group),
            len(group),
        )
        for label, group in groups.items()
    ]
