"""Pictures of shift patterns: the tile itself, and the frames that the tokens of mixed frames come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError, shortened
from tps_lab.patterns import Border, ShiftPattern, check_switch, check_whole
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import INK, QUIET, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Size = tuple[int, int, int]  # frames, rows and columns of patches

# Past (positive offsets) to vermilion, future to blue; the ends of the scale are nearly as dark as
# each other, and both stay apart from the middle under every common colour blindness.
_FUTURE, _NOW, _PAST = "#0b4f86", "#f4f2ee", "#c04a08"
LARGEST = 8  # of the gallery, so that an offset has one colour in all pictures
_POWER = 0.42  # below one: near offsets stay apart


def check_sizes(what: str, given: Any, *names: str, low: int = 1) -> None:
    """Refuse what is not a whole number for each of these names, from `low`."""
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        raise InputError(f"{what} must be ({', '.join(names)}), got {shortened(repr(given))}")
    check_whole(low, **dict(zip(names, given, strict=True)))


def offset_colour(offset: int, largest: int = LARGEST, palest: float = 0.0) -> tuple[float, float, float]:
    """The colour of an offset, (r, g, b) from 0 to 1.

    `palest` keeps thin lines from fading: it is the share of full colour that even the smallest
    offset gets.
    """
    share = palest + (1 - palest) * (abs(offset) / max(largest, abs(offset), 1)) ** _POWER
    middle, end = (bytes.fromhex(colour[1:]) for colour in (_NOW, _PAST if offset > 0 else _FUTURE))
    red, green, blue = ((a + share * (b - a)) / 255 for a, b in zip(middle, end, strict=True))
    return red, green, blue


def ink_on(offset: int, largest: int = LARGEST) -> str:
    """The colour of a number that stands on its offset's colour."""
    return "#ffffff" if sum(offset_colour(offset, largest)) < 3 * 0.55 else INK


@styled
def mosaic(
    pattern: ShiftPattern | str | Sequence[Sequence[int]],
    grid: tuple[int, int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The tile of a pattern, outlined, and how it repeats over the patch grid.

    A number is how many frames back a patch is taken from; orange is the past, blue the future.

    Args:
        pattern: a pattern, a gallery name, or a tile.
        grid: rows and columns of patches to draw; None is 7×7, a Swin window, or the tile's size
            if that is larger.

    >>> ax = mosaic("C")
    >>> ax.get_title(loc="left")
    'C'
    """
    from matplotlib.patches import Rectangle

    pattern = ShiftPattern.parse(pattern)
    if grid is None:
        grid = max(7, pattern.rows), max(7, pattern.columns)
    check_sizes("grid", grid, "rows", "columns")
    rows, columns = grid
    ax = ax or new_axes(2.5, 2.5 * rows / columns + 0.2)
    largest = max(LARGEST, *(abs(k) for k in pattern.offsets))
    size = min(11.0, 68 / max(rows, columns)) * (0.8 if any(abs(k) > 9 for k in pattern.offsets) else 1)
    for (row, column), offset in np.ndenumerate(pattern.offsets_on(rows, columns)):
        in_tile = row < pattern.rows and column < pattern.columns
        colour = np.array(offset_colour(int(offset), largest))
        shown = colour if in_tile else 1 - 0.38 * (1 - colour)  # paler, and opaque: prints alike everywhere
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=tuple(shown), edgecolor="white", linewidth=0.8))
        ax.text(
            column + 0.5, row + 0.5, signed(int(offset)), ha="center", va="center", fontsize=size,
            color="white" if in_tile and colour.mean() < 0.55 else INK if in_tile else "#7d7d7d",
            fontweight="bold" if in_tile else "normal",
        )  # fmt: skip
    corner = min(pattern.columns, columns), min(pattern.rows, rows)
    ax.add_patch(Rectangle((0, 0), *corner, fill=False, edgecolor=INK, linewidth=1.6, clip_on=False))
    ax.set_xlim(0, columns)
    ax.set_ylim(rows, 0)
    ax.set_aspect("equal")
    ax.set_axis_off()
    long = len(str(pattern)) > 26  # a tile's own text: it is read off the picture anyway
    ax.set_title(wrap(str(pattern), 40 if long else 26), fontsize=7 if long else None)
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

    Raises:
        InputError: the pattern does not fit the clip.

    >>> ax = provenance("A", grid=(4, 2, 2))
    """
    pattern = ShiftPattern.parse(pattern)
    check_sizes("grid", grid, "frames", "rows", "columns")
    check_switch(back=back)
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
    frames_below(ax, grid, 1, step)
    ax.set_yticks([])
    what = "after shift back: every token's own frame again" if back else "frame that each token comes from"
    ax.set_title(wrap(f"{pattern}, border {border}: {what}", 90), loc="left")
    ax.set_xlabel("frame" if back else "mixed frame", color=QUIET)
    return ax


def frames_below(ax: Axes, grid: Size, rows: int = 1, step: float | None = None) -> None:
    """The axes of rows of frames, a box of patches each: as large as they need to be, frames numbered below.

    Args:
        step: from one frame to the next, in patches; None leaves one empty between them.
    """
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


def signed(offset: int) -> str:
    return f"+{offset}" if offset > 0 else f"−{-offset}" if offset else "0"
