"""A certificate as a picture, and as a badge for a README."""

from __future__ import annotations

import textwrap
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.viz.style import CEILING, QUIET, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

    from tps_lab.explain import Certificate

_USED, _UNUSED = "#0072b2", "#f2f2f2"
_COLOURS = {"sees order": "#2e7d32", "order-blind": "#6b6b6b", "broken": CEILING}  # others see part of it


@styled
def certificate(found: Certificate, ax: Axes | None = None) -> Axes:
    """Which frames are used: by the answer, and by each time step of the last tokens that still have a time.

    Args:
        found: of `tps_lab.certify`.
    """
    rows = [np.array(found.uses)]
    names = ["answer"]
    if found.inside.fields is not None:
        steps = len(found.inside.fields)
        rows += list(found.inside.fields)
        names += [f"step {s}" for s in range(steps)]
    ax = ax or new_axes(3.2 + 0.42 * found.layout.frames, 1.8 + 0.3 * len(rows))
    for y, row in enumerate(rows):
        for t, used in enumerate(row):
            ax.add_patch(_square(t, y, _USED if used else _UNUSED))
    ax.set_xlim(-0.6, found.layout.frames - 0.4)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xticks(range(found.layout.frames))
    ax.set_yticks(range(len(rows)), names)
    ax.set_xlabel("influenced by frame")
    ax.grid(False)
    ax.set_title(f"{found.model}\n{textwrap.fill(found.verdict, 58)}", loc="left", fontsize=9)
    same = [f"{'same' if kept else 'other'} answer: {name}" for name, kept in _changes(found).items()]
    ax.text(1.02, 1, "\n".join(same), transform=ax.transAxes, va="top", fontsize=8, color=QUIET, linespacing=1.5)
    return ax


def _changes(found: Certificate) -> dict[str, bool]:
    s = found.symmetry
    return {
        "shuffled": s.blind,
        "played backwards": s.reversible,
        "shifted round its ends": s.period == 1,
        "neighbours swapped": any(b - a == 1 for c in s.classes for a, b in pairwise(c)),
        "pictures stay longer": found.repetition,
    }


def _square(x: int, y: int, colour: str) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.42, y - 0.42), 0.84, 0.84, color=colour, linewidth=0)


def badge(found: Certificate) -> str:
    """A small SVG: "time | sees order"."""
    left, right = "time", found.kind
    a, b = 8 * len(left) + 8, 6.6 * len(right) + 14
    colour = _COLOURS.get(right, "#b26a00")
    text = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" fill="#fff" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{a + b:.0f}" height="20" role="img" '
        f'aria-label="{escape(left)}: {escape(right)}"><title>{escape(found.model)}: {escape(found.verdict)}</title>'
        f'<rect width="{a + b:.0f}" height="20" rx="3" fill="#555"/>'
        f'<rect x="{a}" width="{b:.0f}" height="20" rx="3" fill="{colour}"/><rect x="{a}" width="4" height="20" '
        f'fill="{colour}"/><text x="{a / 2}" y="14" {text}>{escape(left)}</text>'
        f'<text x="{a + b / 2:.0f}" y="14" {text}>{escape(right)}</text></svg>\n'
    )
