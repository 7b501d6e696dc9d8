"""The attended sets of many variants side by side, and where the tokens of mixed frames come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.attention import Variant, parse
from tps_lab.measure.inspection import receptive_field_by_gradient
from tps_lab.patterns import Border, ShiftPattern
from tps_lab.viz.labels import wrap
from tps_lab.viz.mosaics import offset_colour
from tps_lab.viz.reach import Size, _blend, _square, _token
from tps_lab.viz.style import INK, QUIET, RULE, colour, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def attended_sets(
    variants: Sequence[Variant | str],
    grid: Size = (8, 3, 3),
    token: Size | None = None,
    depth: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """What one patch takes from in each variant, a row each, asked of real models by gradients.

    In full colour what it takes from in one block: the first in which frames meet, or simply the first. Pale is
    the receptive field after all `depth` blocks. Nothing is taken from the variant's own statement of whom it
    lets meet: see `measure.inspection.receptive_field_by_gradient`.

    Args:
        variants: variants or their text forms.
        grid: frames, rows and columns of patches.
        token: frame, row and column of the patch that asks, outlined; None is one near the middle.
        depth: blocks.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: a variant does not fit the grid, or the patch is not in it.

    >>> ax = attended_sets(["spatial", "joint"], grid=(4, 2, 2))
    """
    chosen = [parse(variant) for variant in variants]
    frames, height, width = grid
    t, h, w = _token(grid, token)
    ax = new_axes(0.2 * frames * (width + 1) + 2.3, 0.2 * len(chosen) * (height + 1) + 0.6) if ax is None else ax
    for row, variant in enumerate(chosen):
        alone = [receptive_field_by_gradient(variant, grid, depth, (t, h, w), block) for block in range(depth)]
        in_time = (found[1] for found in alone if np.delete(found[1], t, axis=0).any())
        one_block = next(in_time, alone[0][1])
        pixels = _blend(np.where(one_block, 1.0, 0.35 * alone[0][-1]), colour(str(variant)))
        top = row * (height + 1)
        for frame in range(frames):
            _cells(ax, pixels[frame], frame * (width + 1), top)
        ax.add_patch(_square(t * (width + 1) + w, top + h))
    _frames_below(ax, grid, len(chosen))
    places = [row * (height + 1) + height / 2 for row in range(len(chosen))]
    ax.set_yticks(places, [wrap(variant.label, 22) for variant in chosen], color=INK)
    return ax


@styled
def provenance(
    pattern: ShiftPattern | str,
    grid: Size = (8, 3, 3),
    border: Border = "circular",
    back: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Which frame each token of each mixed frame comes from, as numbers: a box is a mixed frame.

    Colours as in `mosaic`: orange the past, blue the future, by how far away; a cross where a zero border lets
    nothing in.

    Args:
        pattern: a pattern, its name, or a tile.
        grid: frames, rows and columns of patches.
        border: what enters at the ends of the clip.
        back: show the frames after shift back instead: every token in the frame that it came from, which for
            a circular border is its own number everywhere.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: the pattern does not fit the clip.

    >>> ax = provenance("A", grid=(4, 2, 2))
    """
    pattern = ShiftPattern.parse(pattern)
    frames, height, width = grid
    source = pattern.source_frames(frames, height, width, border)
    offsets = pattern.offsets_on(height, width)
    if back:
        from tps_lab.attention import Grid
        from tps_lab.attention.patch_shift import shift_routes

        routes = shift_routes(Grid(*grid), pattern, border)
        fetched = source.ravel()[np.maximum(routes.scatter, 0)]
        source = np.where(routes.scatter >= 0, fetched, -1).reshape(grid)
        offsets = np.zeros_like(offsets)
    ax = new_axes(0.3 * frames * (width + 0.6) + 0.3, 0.3 * height + 0.8) if ax is None else ax
    step = width + 0.6
    largest = max(8, *(abs(k) for k in pattern.offsets))
    from matplotlib.patches import Rectangle

    for (t, row, column), frame in np.ndenumerate(source):
        fill = np.array(offset_colour(int(offsets[row, column]), largest))
        x = t * step + column
        ax.add_patch(Rectangle((x, row), 1, 1, facecolor=fill, edgecolor="white", linewidth=0.8))
        ax.text(
            x + 0.5, row + 0.53, "×" if frame < 0 else str(frame), ha="center", va="center", fontsize=8,
            color="white" if fill.mean() < 0.55 else INK,
        )  # fmt: skip
    _frames_below(ax, grid, 1, step)
    ax.set_yticks([])
    what = "after shift back: every token's own frame again" if back else "frame that each token comes from"
    ax.set_title(wrap(f"{pattern}, border {border}: {what}", 90), loc="left")
    ax.set_xlabel("frame" if back else "mixed frame", color=QUIET)
    return ax


def _cells(ax: Any, pixels_HWC: np.ndarray, x: float, y: float) -> None:
    height, width = pixels_HWC.shape[:2]
    ax.imshow(pixels_HWC, extent=(x, x + width, y + height, y), interpolation="nearest", zorder=1)
    ax.hlines(np.arange(height + 1) + y, x, x + width, color=RULE, linewidth=0.5, zorder=2)
    ax.vlines(np.arange(width + 1) + x, y, y + height, color=RULE, linewidth=0.5, zorder=2)


def _frames_below(ax: Axes, grid: Size, rows: int, step: float | None = None) -> None:
    frames, height, width = grid
    step = width + 1 if step is None else step
    ax.set_xlim(-0.3, (frames - 1) * step + width + 0.3)
    ax.set_ylim(rows * (height + 1) - 0.7, -0.3)
    ax.set_aspect("equal")
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks([t * step + width / 2 for t in range(frames)], [str(t) for t in range(frames)])
    ax.set_xlabel("frame", color=QUIET)
