"""The axes of a grid, as cases are named by them: "frames=16", "temporal_position=on"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


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
