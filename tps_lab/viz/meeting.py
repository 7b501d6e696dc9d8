"""Who sees whom: the picture of an attention variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.attention import Grid, Variant, parse
from tps_lab.errors import InputError
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import INK, QUIET, RULE, colour, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def who_sees_whom(
    variant: Variant | str,
    grid: tuple[int, int, int] = (8, 4, 4),
    token: tuple[int, int, int] | None = None,
    depth: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """What one patch sees in each mixing step of the first blocks, and its receptive field after them.

    A row is a step, a box in it a frame, a filled cell a patch that is seen; the patch that asks is
    outlined. The last row counts residual branches and all steps before: what is pale arrives
    through other patches. Class tokens count, but are not drawn.

    Args:
        variant: a variant or its text form.
        grid: frames, rows and columns of patches.
        token: frame, row and column of the patch that asks; None is one near the middle.
        depth: how many blocks to show.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: the variant does not fit the grid, or the patch is not in it.

    >>> ax = who_sees_whom("divided")
    """
    chosen = parse(variant)
    frames, height, width = grid
    asking = (frames // 2, height // 2, width // 2) if token is None else token
    if not all(0 <= at < length for at, length in zip(asking, grid, strict=True)):
        raise InputError(f"token {asking} is not in a grid of (frames, rows, columns) = {grid}")
    tokens = Grid(frames, height, width, int(chosen.needs_class_token), chosen.prefix_of)
    is_patch = tokens.coordinates()[1] >= 0
    row = int(np.flatnonzero(is_patch)[np.ravel_multi_index(asking, grid)])
    steps, names = [], []
    for index in range(depth):
        seen = chosen.mixers_on(tokens, index, depth)
        for number, matrix in enumerate(seen, 1):
            steps.append(matrix[row, is_patch])
            names.append(f"block {index + 1}" + (f", step {number}" if len(seen) > 1 else ""))
    after = chosen.influence(tokens, depth)[row, is_patch]
    shades = [*(seen * 1.0 for seen in steps), np.where(np.any(steps, axis=0), 1.0, 0.45) * after]
    names.append(f"after {depth} block{'s' if depth > 1 else ''}")

    ax = new_axes(0.2 * frames * (width + 1) + 1.8, 0.2 * len(names) * (height + 1) + 0.7) if ax is None else ax
    for down, shade in enumerate(shades):
        for frame, cells in enumerate(shade.reshape(grid)):
            _frame(ax, frame * (width + 1), down * (height + 1), cells, colour(str(chosen)))
        _outline(ax, asking[0] * (width + 1) + asking[2], down * (height + 1) + asking[1])
    ax.set_xlim(-0.2, frames * (width + 1) - 0.8)
    ax.set_ylim(len(names) * (height + 1) - 0.8, -0.2)
    ax.set_aspect("equal")
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks([frame * (width + 1) + width / 2 for frame in range(frames)], [str(t) for t in range(frames)])
    ax.set_yticks([down * (height + 1) + height / 2 for down in range(len(names))], names)
    ax.set_xlabel("frame", color=QUIET)
    ax.set_title(wrap(chosen.label, 60), loc="left")
    return ax


def _frame(ax: Axes, x: float, y: float, cells_HW: np.ndarray, fill: Any) -> None:
    from matplotlib.patches import Rectangle

    for (i, j), shade in np.ndenumerate(cells_HW):
        ax.add_patch(Rectangle((x + j, y + i), 1, 1, facecolor="white", edgecolor=RULE, linewidth=0.5))
        if shade:
            ax.add_patch(Rectangle((x + j, y + i), 1, 1, facecolor=fill, alpha=float(shade), linewidth=0))


def _outline(ax: Axes, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=INK, linewidth=1.6))
