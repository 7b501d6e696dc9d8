"""The receptive field of one patch in space and time, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab import attention
from tps_lab.attention import Grid, Variant, parse
from tps_lab.errors import InputError
from tps_lab.measure.inspection import receptive_field_by_gradient
from tps_lab.viz.labels import wrap
from tps_lab.viz.plots import _End, _names_at_the_end
from tps_lab.viz.style import INK, QUIET, RULE, colour, looks, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

Size = tuple[int, int, int]


@styled
def coverage(
    variants: Sequence[Variant | str],
    grid: Size = (16, 7, 7),
    depth: int = 8,
    token: Size | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the clip's patches in the receptive field of one patch, after each block.

    Args:
        variants: variants or their text forms, one line each.
        grid: frames, rows and columns of patches.
        depth: blocks.
        token: frame, row and column of the patch; None is one near the middle.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: a variant does not fit the grid, or the patch is not in it.

    >>> ax = coverage(["spatial", "tps", "tps(every=1)", "joint"])
    """
    ax = new_axes(5.6, 3.4) if ax is None else ax
    chosen = [parse(variant) for variant in variants]
    ends = []
    for variant, used in zip(chosen, looks(map(str, chosen)), strict=True):
        shares = [100 * float(field.mean()) for field in _fields(variant, grid, depth, token)]
        ax.plot(
            range(depth + 1), shares, color=used.colour, linestyle=used.line, marker=used.marker,
            markersize=used.marker_size(5), markeredgecolor="white", clip_on=False,
        )  # fmt: skip
        ends.append(_End(depth, shares[-1], variant.label, used.colour, used))
    ax.set_xlim(0, depth)
    ax.set_ylim(0, 100)
    ax.set_xticks(range(0, depth + 1, max(1, depth // 8)))
    ax.set_xlabel("after block")
    ax.set_ylabel("receptive field (% of patches)")
    _names_at_the_end(ax, ends)
    return ax


@styled
def receptive_field(
    variant: Variant | str,
    grid: Size = (8, 4, 4),
    depth: int = 4,
    token: Size | None = None,
    after: int | None = None,
    measured: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The receptive field of one patch after `after` blocks of `depth`, frame by frame.

    What the last of these blocks added is in full colour, what was there before is pale. Arguments
    and errors as for `coverage`; `measured` takes the gradients of a real model (`measure.inspection`) instead
    of following the variant's own partition: the same picture, if both are right.

    >>> ax = receptive_field("tps", after=2)
    """
    chosen = parse(variant)
    after = depth if after is None else after
    if not 0 <= after <= depth:
        raise InputError(f"after must be 0 to {depth} blocks, got {after}")
    rows = _measured(chosen, grid, depth, token) if measured else _fields(chosen, grid, depth, token)
    now, before = rows[after], rows[max(after - 1, 0)]
    frames, height, width = grid
    ax = new_axes(0.2 * frames * (width + 1) + 0.4, 0.2 * (height + 1) + 0.9) if ax is None else ax
    shade = np.where(before, 0.4, 1.0) * now if after else now * 1.0
    pixels = _blend(shade.reshape(grid), colour(str(chosen)))
    for t in range(frames):
        x = t * (width + 1)
        ax.imshow(pixels[t], extent=(x, x + width, height, 0), interpolation="nearest", zorder=1)
        ax.hlines(range(height + 1), x, x + width, color=RULE, linewidth=0.5, zorder=2)
        ax.vlines(range(x, x + width + 1), 0, height, color=RULE, linewidth=0.5, zorder=2)
    t, h, w = _token(grid, token)
    ax.add_patch(_square(t * (width + 1) + w, h))
    ax.set_xlim(-0.3, frames * (width + 1) - 0.7)
    ax.set_ylim(height + 0.3, -0.3)
    ax.set_aspect("equal")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_yticks([])
    ax.set_xticks([t * (width + 1) + width / 2 for t in range(frames)], [str(t) for t in range(frames)])
    ax.set_xlabel("frame", color=QUIET)
    said = f"after {after} of {depth} blocks: {100 * now.mean():.0f} % of the patches"
    ax.set_title(wrap(f"{chosen.label}, {said}", 90), loc="left")
    return ax


@styled
def reach_animation(
    variant: Variant | str,
    grid: Size = (8, 4, 4),
    depth: int = 6,
    token: Size | None = None,
    ax: Axes | None = None,
) -> FuncAnimation:
    """`receptive_field` block after block, as an animation; in a notebook: `viz.player(reach_animation("tps"))`.

    Arguments and errors as for `coverage`.

    >>> animation = reach_animation("tps", depth=2)
    """
    from matplotlib.animation import FuncAnimation

    place: Any = receptive_field(variant, grid, depth, token, after=0, ax=ax)

    @styled
    def draw(after: int) -> list[Any]:
        place.clear()
        receptive_field(variant, grid, depth, token, after, ax=place)
        return []

    return FuncAnimation(place.figure, draw, frames=depth + 1, interval=900, blit=False)


# ---------------------------------------------------------------------- parts


def _fields(variant: Variant, grid: Size, depth: int, token: Size | None) -> list[np.ndarray]:
    """After each block, which patches: bool (T·H·W,) each; class tokens count, but are left out."""
    place = _token(grid, token)
    tokens = Grid(*grid, int(variant.needs_class_token), variant.prefix_of)
    is_patch = np.concatenate([np.zeros(tokens.clip_prefix, bool), tokens.coordinates()[1] >= 0])
    index = int(np.flatnonzero(is_patch)[np.ravel_multi_index(place, grid)])
    return [row[is_patch] for row in attention.receptive_field(variant, tokens, depth, index)]


def _measured(variant: Variant, grid: Size, depth: int, token: Size | None) -> list[np.ndarray]:
    return [row.ravel() for row in receptive_field_by_gradient(variant, grid, depth, _token(grid, token))]


def _token(grid: Size, token: Size | None) -> Size:
    place = (grid[0] // 2, grid[1] // 2, grid[2] // 2) if token is None else token
    if not all(0 <= at < length for at, length in zip(place, grid, strict=True)):
        raise InputError(f"token {place} is not in a grid of (frames, rows, columns) = {grid}")
    return place


def _blend(shade_THW: np.ndarray, fill: str) -> np.ndarray:
    from matplotlib.colors import to_rgb

    return 1 - shade_THW[..., None] * (1 - np.array(to_rgb(fill)))


def _square(x: float, y: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), 1, 1, fill=False, edgecolor=INK, linewidth=1.6, zorder=3)
