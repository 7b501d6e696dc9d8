"""How a variant is drawn, the same in every picture, table and report. Its class says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

# Matplotlib's line styles
STROKES: dict[str, Any] = {
    "solid": "-",
    "dashed": (0, (5, 1.5)),
    "dotted": (0, (1.5, 1.2)),
    "dashdot": (0, (6, 1.5, 1.5, 1.5)),
    "sparse": (0, (3, 3)),
    "long": (0, (8, 3)),
}
_LARGER = {"*": 1.5, "P": 1.2, "X": 1.15, "^": 1.1, "v": 1.1, "<": 1.1, ">": 1.1, "p": 1.2}


@dataclass(frozen=True)
class Look:
    """A colour, and a marker and a line style that can be told apart in a grey print.

    Args:
        colour: hex, "#rrggbb".
        marker: Matplotlib's letter.
        stroke: one of `STROKES`.
    """

    colour: str
    marker: str
    stroke: Literal["solid", "dashed", "dotted", "dashdot", "sparse", "long"] = "solid"

    @property
    def line(self) -> Any:
        """Matplotlib's line style, text or (offset, dashes)."""
        return STROKES[self.stroke]

    def marker_size(self, size: float) -> float:
        """Points that make this marker look as large as a square of `size`."""
        return size * _LARGER.get(self.marker, 1)
