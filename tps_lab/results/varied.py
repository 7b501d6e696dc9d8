"""Groups of a grid along one of its axes: lines of cases that are alike in all else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tps_lab.results.axes import level_text, of_several
from tps_lab.results.groups import Group


@dataclass(frozen=True)
class Line:
    """Cases that differ in one axis alone.

    Args:
        name: what their labels have in common.
        at: the axis' value, as tables write it → the group.
    """

    name: str
    at: dict[str, Group]


def lines(groups: Sequence[Group], axis: str) -> list[Line]:
    """The groups along an axis ("attention.border"), in their order; groups without that axis are left out."""
    found: dict[str, dict[str, Group]] = {}
    for group in groups:
        varied = dict(group.first.get("varied") or {})
        if axis in varied:
            level = level_text(varied.pop(axis))
            found.setdefault(repr(sorted(varied.items())), {})[level] = group
    return [Line(_in_common([group.label for group in at.values()]), at) for at in found.values()]


def axis_to_draw(groups: Sequence[Group], asked: str | None = None) -> str | None:
    """The axis that is worth a picture: the one asked for, else the one of numbers; None if there is none.

    One axis alone is a table's column, so there must be another beside it.
    """
    several = of_several(group.first.get("varied") or {} for group in groups)
    if len(several) < 2:
        return None
    if asked in several:
        return asked
    numbers = [key for key, values in several.items() if all(type(value) in (int, float) for value in values)]
    return numbers[0] if len(numbers) == 1 else None


def _in_common(labels: Sequence[str]) -> str:
    parts = [label.split(", ") for label in labels]
    return ", ".join(part for part in parts[0] if all(part in other for other in parts)) or labels[0]
