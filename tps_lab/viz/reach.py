"""What one patch sees: in each mixing step, in one block of many variants, and block after block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab import attention
from tps_lab.attention import Grid, Variant, parse
from tps_lab.errors import InputError
from tps_lab.measure.inspection import is_patches, receptive_field_by_gradient, token_index
from tps_lab.patterns import check_whole
from tps_lab.text import counted
from tps_lab.viz.labels import wrap
from tps_lab.viz.mosaics import Size, check_sizes, frames_below
from tps_lab.viz.plots import End, names_at_the_end
from tps_lab.viz.style import INK, RULE, colour, curve, looks, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
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

    Raises:
        InputError: the variant does not fit the grid, or the patch is not in it.

    >>> ax = who_sees_whom("divided")
    """
    chosen = parse(variant)
    asking = _token(grid, token)
    frames, height, width = grid
    tokens, is_patch, row = _patches(chosen, grid, asking)
    steps, names = [], []
    for index in range(depth):
        seen = chosen.mixers_on(tokens, index, depth)
        for number, matrix in enumerate(seen, 1):
            steps.append(matrix[row, is_patch])
            names.append(f"block {index + 1}" + (f", step {number}" if len(seen) > 1 else ""))
    after = chosen.influence(tokens, depth)[row, is_patch]
    shades = [*(seen * 1.0 for seen in steps), np.where(np.any(steps, axis=0), 1.0, 0.45) * after]
    names.append(f"after {counted(depth, 'block')}")

    ax = new_axes(0.2 * frames * (width + 1) + 1.8, 0.2 * len(names) * (height + 1) + 0.7) if ax is None else ax
    _frames(ax, grid, shades, asking, colour(str(chosen)))
    _names_of_rows(ax, grid, names)
    ax.set_title(wrap(chosen.label, 60), loc="left")
    return ax


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

    Raises:
        InputError: a variant does not fit the grid, or the patch is not in it.

    >>> ax = attended_sets(["spatial", "joint"], grid=(4, 2, 2))
    """
    chosen = [parse(variant) for variant in variants]
    t, h, w = _token(grid, token)
    frames, height, width = grid
    ax = new_axes(0.2 * frames * (width + 1) + 2.3, 0.2 * len(chosen) * (height + 1) + 0.6) if ax is None else ax
    for row, variant in enumerate(chosen):
        alone = [receptive_field_by_gradient(variant, grid, depth, (t, h, w), block) for block in range(depth)]
        in_time = (found[1] for found in alone if np.delete(found[1], t, axis=0).any())
        one_block = next(in_time, alone[0][1])
        shade = np.where(one_block, 1.0, 0.35 * alone[0][-1])
        _frames(ax, grid, [shade], (t, h, w), colour(str(variant)), row)
    _names_of_rows(ax, grid, [wrap(variant.label, 22) for variant in chosen])
    return ax


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

    Raises:
        InputError: a variant does not fit the grid, or the patch is not in it.

    >>> ax = coverage(["spatial", "tps", "tps(every=1)", "joint"])
    """
    check_whole(depth=depth)
    ax = new_axes(5.6, 3.4) if ax is None else ax
    chosen = [parse(variant) for variant in variants]
    ends = []
    for variant, used in zip(chosen, looks(map(str, chosen)), strict=True):
        shares = [100 * float(field.mean()) for field in _fields(variant, grid, depth, token)]
        ax.plot(range(depth + 1), shares, **curve(used, 5), clip_on=False)
        ends.append(End(depth, shares[-1], variant.label, used.colour, used))
    ax.set_xlim(0, depth)
    ax.set_ylim(0, 100)
    ax.set_xticks(range(0, depth + 1, max(1, depth // 8)))
    ax.set_xlabel("after block")
    ax.set_ylabel("receptive field (% of patches)")
    names_at_the_end(ax, ends)
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
    check_whole(0, depth=depth, after=after)
    if not 0 <= after <= depth:
        raise InputError(f"after must be 0 to {depth} blocks, got {after}")
    if measured:
        rows = [row.ravel() for row in receptive_field_by_gradient(chosen, grid, depth, _token(grid, token))]
    else:
        rows = _fields(chosen, grid, depth, token)
    now, before = rows[after], rows[max(after - 1, 0)]
    _, height, width = grid
    ax = new_axes(0.2 * grid[0] * (width + 1) + 0.4, 0.2 * (height + 1) + 0.9) if ax is None else ax
    shade = np.where(before, 0.4, 1.0) * now if after else now * 1.0
    _frames(ax, grid, [shade], _token(grid, token), colour(str(chosen)))
    ax.set_yticks([])
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


def _patches(variant: Variant, grid: Size, place: Size) -> tuple[Grid, np.ndarray, int]:
    """A variant's tokens on a grid of patches, which of them are patches, and which is the one at that place."""
    tokens = Grid(*grid, int(variant.needs_class_token), variant.prefix_of)
    return tokens, is_patches(tokens), token_index(tokens, place)


def _fields(variant: Variant, grid: Size, depth: int, token: Size | None) -> list[np.ndarray]:
    """After each block, which patches: bool (T·H·W,) each; class tokens count, but are left out."""
    tokens, is_patch, index = _patches(variant, grid, _token(grid, token))
    return [row[is_patch] for row in attention.receptive_field(variant, tokens, depth, index)]


def _token(grid: Size, token: Size | None) -> Size:
    check_sizes("grid", grid, "frames", "rows", "columns")
    if token is None:
        return grid[0] // 2, grid[1] // 2, grid[2] // 2
    check_sizes("token", token, "frame", "row", "column", low=0)
    return token


def _frames(ax: Axes, grid: Size, shades: Sequence[np.ndarray], asking: Size, fill: str, first: int = 0) -> None:
    """Rows of frames from the row `first` on, a box a frame: shades from white to `fill`; who asks is outlined."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    frames, height, width = grid
    t, h, w = asking
    for row, shade in enumerate(shades, first):
        pixels_THWC = 1 - shade.reshape(*grid, 1) * (1 - np.array(to_rgb(fill)))
        top = row * (height + 1)
        for frame in range(frames):
            x = frame * (width + 1)
            ax.imshow(pixels_THWC[frame], extent=(x, x + width, top + height, top), interpolation="nearest", zorder=1)
            ax.hlines(np.arange(height + 1) + top, x, x + width, color=RULE, linewidth=0.5, zorder=2)
            ax.vlines(np.arange(width + 1) + x, top, top + height, color=RULE, linewidth=0.5, zorder=2)
        corner = (t * (width + 1) + w, top + h)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.6, zorder=3))
    frames_below(ax, grid, first + len(shades))


def _names_of_rows(ax: Axes, grid: Size, names: Sequence[str]) -> None:
    high = grid[1] + 1
    ax.set_yticks([row * high + grid[1] / 2 for row in range(len(names))], names, color=INK)
