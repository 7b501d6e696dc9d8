"""The exploded cube: which patch of which frame ends up in a mixed frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError
from tps_lab.patterns import Border, ShiftPattern
from tps_lab.viz.labels import wrap
from tps_lab.viz.mosaics import _pixels, mix, offset_colour
from tps_lab.viz.style import INK, QUIET, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

_SLANT, _SQUASH = 0.42, 0.62  # a frame seen from the side: how far its right edge rises, how narrow it gets


@styled
def exploded_cube(
    clip_THWC: Any,
    pattern: ShiftPattern | str,
    patch: int,
    frame: int | None = None,
    border: Border = "circular",
    ax: Axes | None = None,
) -> Axes:
    """Frames one behind the other, the patches that one mixed frame picks from each, and the mixed frame.

    After the idea of figure 2 of arXiv 2207.13259. Patches that are not picked are faded; the
    frame's own number is bold. Colours of outlines are those of `mosaic`: orange the past, blue
    the future.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), integers 0 to 255 or floats 0 to 1.
        pattern: a pattern, its name, or a tile.
        patch: side of a patch in pixels.
        frame: which mixed frame; None is the middle one.
        border: what enters at the ends of the clip.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: the clip has another shape, the pattern does not fit it, or there is no such frame.

    >>> ax = exploded_cube(np.zeros((8, 16, 24, 3)), "A", patch=8)
    """
    from matplotlib.transforms import Affine2D

    clip, pattern = _pixels(clip_THWC), ShiftPattern.parse(pattern)
    frames, height, width = clip.shape[:3]
    frame = frames // 2 if frame is None else frame
    if not 0 <= frame < frames:
        raise InputError(f"frame must be 0 to {frames - 1} for a clip of {frames} frames, got {frame}")
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)
    source = pattern.source_frames(frames, rows, columns, border)[frame]
    shown = sorted({int(t) for t in source.ravel() if t >= 0} | {frame})
    tall, wide = height / width, 1.0  # a frame is one unit wide
    step = 0.66
    left = len(shown) * step + 0.35  # where the mixed frame stands
    high = tall * (1 + _SLANT * _SQUASH) + 0.24
    ax = new_axes(1.3 * (left + 1.3), 1.3 * high + 0.3) if ax is None else ax
    ax.set_axis_off()
    for number, t in enumerate(shown):
        slanted = Affine2D().scale(_SQUASH * wide, tall).skew(0, math.atan(_SLANT * tall))
        slanted = slanted.translate(number * step, 0)
        picked = source == t
        _slab(ax, clip[t], picked, patch, slanted, t, frame, pattern)
        ax.text(
            number * step + _SQUASH / 2, -0.09, f"{t}", ha="center", va="top", fontsize=8,
            fontweight="bold" if t == frame else "normal", color=INK if t == frame else QUIET,
        )  # fmt: skip
    middle = 0.62 * tall
    ax.annotate(
        "", (left + 0.12, middle), (left - 0.28, middle), arrowprops={"arrowstyle": "-|>", "color": QUIET, "lw": 1.4}
    )
    flat = Affine2D().scale(wide, tall).translate(left + 0.2, 0.12 * tall)
    mixed = mix(clip, pattern, patch, frame, border)
    _slab(ax, mixed, np.ones((rows, columns), bool), patch, flat, None, frame, pattern)
    ax.text(left + 0.7, -0.09, f"mixed frame {frame}", ha="center", va="top", fontsize=8, color=INK)
    ax.set_xlim(-0.06, left + 1.26)
    ax.set_ylim(-0.2, high - 0.2)
    ax.set_aspect("equal")
    ax.set_title(wrap(f"{pattern}: one mixed frame from {len(shown)} frames", 60), loc="left")
    return ax


def _slab(
    ax: Axes, pixels: np.ndarray, picked: np.ndarray, patch: int, place: Transform, t: int | None, frame: int,
    pattern: ShiftPattern,
) -> None:  # fmt: skip
    """One frame on the unit square, moved to its place; what is not picked is faded."""
    from matplotlib.patches import Polygon

    height, width = pixels.shape[:2]
    rows, columns = picked.shape
    where = np.kron(picked, np.ones((patch, patch)))[:height, :width, None]
    faded = 0.82 + 0.18 * pixels  # towards white
    image = np.where(where > 0, pixels, faded)
    to_data = place + ax.transData
    ax.imshow(image, extent=(0, 1, 0, 1), transform=to_data, interpolation="nearest", aspect="auto", zorder=1)
    offsets = pattern.offsets_on(rows, columns)
    for (row, column), is_picked in np.ndenumerate(picked):
        offset = int(offsets[row, column])
        if not is_picked or (t is None and not offset):
            continue
        x0, x1 = column * patch / width, min((column + 1) * patch / width, 1)
        y0, y1 = 1 - row * patch / height, max(1 - (row + 1) * patch / height, 0)
        outline = offset_colour(offset, palest=0.5) if offset else (0.25, 0.25, 0.25)
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        ax.add_patch(Polygon(corners, fill=False, edgecolor=outline, linewidth=0.9, transform=to_data, zorder=2))
    edge = INK if t in (None, frame) else "#b5b5b5"
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    thick = 1.4 if t in (None, frame) else 0.7
    ax.add_patch(Polygon(square, fill=False, edgecolor=edge, linewidth=thick, transform=to_data, zorder=3))
