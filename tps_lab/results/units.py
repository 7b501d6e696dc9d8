"""Figures as people read them: a unit that fits a whole column or axis, and enough digits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["count", "bytes", "seconds", "ms", "percent", "rate"]

_LADDERS: dict[str, list[tuple[float, str]]] = {
    "count": [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")],
    "bytes": [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")],
    "seconds": [(3600, "h"), (60, "min"), (1, "s")],
    "ms": [(1, "ms")],
    "percent": [(1, "%")],
    "rate": [(1, "clips/s")],
}


@dataclass(frozen=True)
class Unit:
    """What to divide by, what to call it, and how many decimals show three digits of the least."""

    divisor: float
    name: str
    decimals: int

    def number(self, value: float | None) -> str:
        """The value in this unit, without the unit's name; "–" if there is none."""
        return "–" if value is None else f"{value / self.divisor:,.{self.decimals}f}"

    def text(self, value: float | None) -> str:
        """The value with the unit's name.

        >>> unit_for("bytes", [128 * 2**20]).text(128 * 2**20)
        '128 MiB'
        """
        return "–" if value is None else f"{self.number(value)} {self.name}".rstrip()


def unit_for(kind: Kind, values: Iterable[float | None]) -> Unit:
    """The largest unit in which the median value is at least 1, for a whole column at once."""
    known = sorted(abs(v) for v in values if v is not None and math.isfinite(v) and v != 0)
    if not known:
        return Unit(_LADDERS[kind][-1][0], _LADDERS[kind][-1][1], 0)
    middle = known[len(known) // 2]
    divisor, name = next((step for step in _LADDERS[kind] if middle >= step[0]), _LADDERS[kind][-1])
    if kind == "percent":
        return Unit(divisor, name, 1)
    decimals = 2 - math.floor(math.log10(known[0] / divisor))
    return Unit(divisor, name, 0 if divisor == 1 and kind in ("count", "bytes") else min(max(decimals, 0), 2))
