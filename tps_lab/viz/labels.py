"""Names beside points, placed so that they cover neither each other nor the data."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation, Text

_Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels
_ANGLES = [0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240]  # degrees, the nicest first
_STEPS = (0, 9, 20, 34, 50, 70)  # points between marker and label
_SIZE, _MARKER_SIZE = 8.5, 8.0  # points


def wrap(text: str, width: int = 24) -> str:
    """A label on as many lines as it needs; only words that no picture has room for are broken."""
    endless = any(len(word) > 2 * width for word in text.split())
    return "\n".join(textwrap.wrap(text, width, break_long_words=endless, break_on_hyphens=False)) or text


def in_legend(text: str) -> str:
    """A name for a legend, from which Matplotlib leaves out those that begin with "_"."""
    return f"\N{HAIR SPACE}{text}" if text.startswith("_") else text


def place_labels(
    ax: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    avoid: Sequence[Text] = (),
) -> list[Annotation]:
    """Write `texts` near `points`, off each other, off all markers, off `lines` (data units) and off the
    texts to `avoid`.

    Call it last: it measures the figure as it stands. A label that ends up far from its point gets
    a thin line to it.

    >>> from tps_lab.viz.style import new_axes
    >>> ax = new_axes()
    >>> notes = place_labels(ax, [(0.5, 0.5), (0.5, 0.51)], ["one", "other"])
    """
    figure = ax.get_figure(root=True)
    if figure is None or not points:
        return []
    notes = [
        ax.annotate(wrap(text), point, xytext=(0, 0), textcoords="offset points", fontsize=_SIZE, linespacing=1.1)
        for text, point in zip(texts, points, strict=True)
    ]
    for note in notes:
        note.set_in_layout(False)  # or the layout would move the axes away under the measured labels
    figure.draw_without_rendering()
    dot = figure.dpi / 72
    extents = [note.get_window_extent() for note in notes]
    sizes = [(box.width + 2 * dot, box.height + 1 * dot) for box in extents]
    places = ax.transData.transform(np.asarray(points, float))
    frame = _boxes([ax.get_window_extent().extents])
    radius = _MARKER_SIZE / 2 * dot
    markers = [_around(x, y, 2 * radius, 2 * radius) for x, y in places]
    taken = _boxes([*markers, *(text.get_window_extent().extents for text in avoid)])
    paths = [ax.transData.transform(np.asarray(line, float)) for line in lines]
    strokes = _boxes([bead for path in paths for bead in _beads(path, 2 * dot)])

    options = [_boxes(_options(place, wide_high, radius, dot)) for place, wide_high in zip(places, sizes, strict=True)]
    far = np.repeat(_STEPS, len(_ANGLES)) * dot
    fixed = [
        100 * (wide * high - _overlap(boxes, frame))
        + 60 * _overlap(boxes, taken)
        + 15 * _overlap(boxes, strokes)
        + 4 * (far + 1e-3 * np.tile(range(len(_ANGLES)), len(_STEPS)))
        for boxes, (wide, high) in zip(options, sizes, strict=True)
    ]
    chosen = [int(costs.argmin()) for costs in fixed]
    for _ in range(6):
        before = list(chosen)
        for i, costs in enumerate(fixed):
            others = _boxes([options[j][chosen[j]] for j in range(len(options)) if j != i])
            chosen[i] = int((costs + 40 * _overlap(options[i], others)).argmin())
        if chosen == before:
            break

    for i, note in enumerate(notes):
        box = options[i][chosen[i]]
        x, y = places[i]
        # corner of the text, as an offset from its point
        note.set_position(((box[0] + dot - x) / dot, (box[1] + 0.5 * dot - y) / dot))
        if far[chosen[i]] > 12 * dot:
            _leader(ax, box, places[i], radius)
    return notes


def spread(wanted: Sequence[float], gap: float | Sequence[float], low: float, high: float) -> list[float]:
    """Positions near the wanted ones, at least `gap` apart and inside low to high if they fit.

    `gap` may be the height that each one needs.

    >>> spread([1.0, 1.1], 1.0, 0.0, 5.0)
    [0.55, 1.55]
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(np.asarray(wanted, float), kind="stable")
    heights = np.broadcast_to(np.asarray(gap, float), len(wanted))[order]
    # less the room of those below, places only need to be in order: the nearest such are an isotonic regression
    below = np.cumsum(heights) - heights / 2
    rest = isotonic_regression(np.asarray(wanted, float)[order] - below).x if len(wanted) else below
    places = np.empty(len(wanted))
    places[order] = np.maximum(np.minimum(rest, high - heights.sum()), low) + below
    return [round(float(place), 9) for place in places]


def _options(place: Any, wide_high: tuple[float, float], radius: float, dot: float) -> list[_Box]:
    """Boxes around a point: at every step from its marker, in every direction."""
    (x, y), (wide, high) = place, wide_high
    found = []
    for step in _STEPS:
        for angle in _ANGLES:
            out = radius + (2 + step) * dot
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            # the box touches the circle of radius `out` from outside, in that direction
            centre_x = x + dx * out + (0 if abs(dx) < 0.1 else math.copysign(wide / 2, dx))
            centre_y = y + dy * out + (0 if abs(dy) < 0.1 else math.copysign(high / 2, dy))
            found.append(_around(centre_x, centre_y, wide, high))
    return found


def _beads(path: np.ndarray, size: float) -> list[_Box]:
    """Small boxes along a line of pixels."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(path):
        count = max(int(math.hypot(x1 - x0, y1 - y0) / (2 * size)), 1)
        for step in range(count + 1):
            share = step / count
            boxes.append(_around(x0 + share * (x1 - x0), y0 + share * (y1 - y0), size, size))
    return boxes


def _boxes(boxes: Sequence[Any]) -> np.ndarray:
    """(N, 4), also of none."""
    return np.asarray(boxes, float).reshape(-1, 4)


def _around(x: float, y: float, wide: float, high: float) -> _Box:
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area that each of the boxes (N, 4) shares with the others (M, 4), one after the other: (N,)."""
    one = boxes[:, None]
    sides = np.minimum(one[..., 2:], others[:, 2:]) - np.maximum(one[..., :2], others[:, :2])
    return np.asarray(sides.clip(min=0).prod(-1).sum(-1))


def _leader(ax: Axes, box: Any, place: Any, radius: float) -> None:
    """A thin line from the nearest edge of a label to its point's marker."""
    x, y = place
    near = np.array([min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])])
    towards = near - (x, y)
    length = float(np.hypot(*towards)) or 1.0
    start = np.array([x, y]) + towards / length * (radius + 1)
    ends = ax.transData.inverted().transform([start, near])
    ax.plot(ends[:, 0], ends[:, 1], color="#9a9a9a", linewidth=0.7, zorder=1.5, scalex=False, scaley=False)
