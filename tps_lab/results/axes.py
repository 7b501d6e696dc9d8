"""The axes of a grid: how cases are named by them ("frames=16", "temporal_position=on"), and what varies along one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tps_lab.results.groups import Group


def level_text(value: Any) -> str:
    """A value of an axis: "on", "16", "zero"."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def short(axis: str) -> str:
    """An axis without what it is an option of: "border" for attention.border."""
    return axis.rpartition(".")[2]


def of_several(varied: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Axes that have several values → these, in the order in which they come.

    Args:
        varied: of each case, axis → value.
    """
    found: dict[str, dict[str, Any]] = {}
    for values in varied:
        for key, value in values.items():
            found.setdefault(key, {}).setdefault(repr(value), value)
    return {key: list(levels.values()) for key, levels in found.items() if len(levels) > 1}


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
