"""Pictures of shift patterns: the tile itself, and a real clip mixed by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError
from tps_lab.patterns import Border, ShiftPattern
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import INK, QUIET, insets, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Past (positive offsets) to vermilion, future to blue; the ends of the scale are nearly as dark as
# each other, and both stay apart from the middle under every common colour blindness.
_FUTURE, _NOW, _PAST = "#0b4f86", "#f4f2ee", "#c04a08"
_LARGEST = 8  # of the gallery, so that an offset has one colour in all pictures
_POWER = 0.42  # below one: near offsets stay apart


def offset_colour(offset: int, largest: int = _LARGEST, palest: float = 0.0) -> tuple[float, float, float]:
    """The colour of an offset, (r, g, b) from 0 to 1.

    `palest` keeps thin lines from fading: it is the share of full colour that even the smallest
    offset gets.
    """
    share = palest + (1 - palest) * (abs(offset) / max(largest, abs(offset), 1)) ** _POWER
    middle, end = (bytes.fromhex(colour[1:]) for colour in (_NOW, _PAST if offset > 0 else _FUTURE))
    red, green, blue = ((a + share * (b - a)) / 255 for a, b in zip(middle, end, strict=True))
    return red, green, blue


def ink_on(offset: int, largest: int = _LARGEST) -> str:
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
        ax: where to draw; None makes a small figure.

    >>> ax = mosaic("C")
    >>> ax.get_title(loc="left")
    'C'
    """
    from matplotlib.patches import Rectangle

    pattern = ShiftPattern.parse(pattern)
    rows, columns = grid or (max(7, pattern.rows), max(7, pattern.columns))
    ax = ax or new_axes(2.5, 2.5 * rows / columns + 0.2)
    largest = max(_LARGEST, *(abs(k) for k in pattern.offsets))
    size = min(11.0, 68 / max(rows, columns)) * (0.8 if any(abs(k) > 9 for k in pattern.offsets) else 1)
    for (row, column), offset in np.ndenumerate(pattern.offsets_on(rows, columns)):
        in_tile = row < pattern.rows and column < pattern.columns
        colour = np.array(offset_colour(int(offset), largest))
        shown = colour if in_tile else 1 - 0.38 * (1 - colour)  # paler, and opaque: prints alike everywhere
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=tuple(shown), edgecolor="white", linewidth=0.8))
        ax.text(
            column + 0.5, row + 0.5, _signed(int(offset)), ha="center", va="center", fontsize=size,
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
def mixed_frames(
    clip_THWC: Any,
    patterns: Sequence[ShiftPattern | str],
    patch: int,
    frame: int | None = None,
    border: Border = "circular",
    ax: Axes | None = None,
) -> Figure:
    """A real clip as the attention sees it: its frames, then one frame mixed by each pattern.

    Thin borders around the patches have the colours of `mosaic`: orange came from the past, blue
    from the future, none from the frame itself.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), integers 0 to 255 or floats 0 to 1.
        patterns: which patterns to mix by.
        patch: side of a patch in pixels.
        frame: which mixed frame; None is the middle one.
        border: what enters at the ends of the clip.
        ax: where to draw, all panels inside it; None makes a figure.

    Raises:
        InputError: the clip is not four-dimensional, or a pattern does not fit it.

    >>> figure = mixed_frames(np.zeros((4, 16, 24, 3)), ["A", "B"], patch=8)
    """
    from matplotlib.figure import Figure

    clip = _pixels(clip_THWC)
    frames, height, width = clip.shape[:3]
    frame = frames // 2 if frame is None else frame
    if not 0 <= frame < frames:
        raise InputError(f"frame must be 0 to {frames - 1} for a clip of {frames} frames, got {frame}")
    chosen = [ShiftPattern.parse(pattern) for pattern in patterns]
    small = _shown_frames(frames, frame, chosen)
    most = 3 if width >= height else 5
    down = math.ceil(len(chosen) / most)
    across = math.ceil(len(chosen) / max(down, 1)) or 1  # rows of nearly equal length
    shape = height / width
    inches = 11.1
    strip = inches / len(small) * shape + 0.3
    large = [inches / max(across, 2) * shape + 0.55] * down
    if ax is None:
        figure = Figure(figsize=(inches, strip + sum(large)))
        figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.04, wspace=0.0, hspace=0.0)
        heights = [strip, sum(large)] if chosen else [strip]
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).ravel()
        above = parts[0].subplots(1, len(small), squeeze=False).ravel()
        below = parts[1].subplots(down, across, squeeze=False).ravel() if chosen else []
    else:
        figure = ax.figure.get_figure(root=True)  # type: ignore[assignment]
        share = sum(large) / (strip + sum(large)) if chosen else 0.0
        above = insets(ax, 1, len(small), (0, share, 1, 1 - share), 0.01).ravel()
        below = insets(ax, down, across, (0, 0, 1, share)).ravel() if chosen else []
    for panel, index in zip(above, small, strict=True):
        _image(panel, clip[index])
        panel.set_title(f"frame {index}", fontsize=8.5, fontweight="bold" if index == frame else "normal", loc="center")
        if index == frame:
            panel.add_patch(_outline(0, 0, width, height, INK, 1.8))
    for panel in below[len(chosen) :]:
        panel.set_axis_off()
    for panel, pattern in zip(below, chosen, strict=False):
        _mixed(panel, clip, pattern, patch, frame, border)
    return figure


def mix(
    clip_THWC: np.ndarray, pattern: ShiftPattern, patch: int, frame: int, border: Border = "circular"
) -> np.ndarray:
    """One mixed frame in pixels (H, W, C): every patch from the frame that the pattern names."""
    frames, height, width = clip_THWC.shape[:3]
    source = pattern.source_frames(frames, math.ceil(height / patch), math.ceil(width / patch), border)[frame]
    y, x = np.indices((height, width))
    from_frame = source[y // patch, x // patch]
    return np.where((from_frame >= 0)[..., None], clip_THWC[from_frame, y, x], 0)


def _mixed(ax: Axes, clip: np.ndarray, pattern: ShiftPattern, patch: int, frame: int, border: Border) -> None:
    height, width = clip.shape[1:3]
    _image(ax, mix(clip, pattern, patch, frame, border))
    largest = max(_LARGEST, *(abs(k) for k in pattern.offsets))
    offsets = pattern.offsets_on(math.ceil(height / patch), math.ceil(width / patch))
    for (row, column), offset in np.ndenumerate(offsets):
        if offset:
            x, y = column * patch, row * patch
            wide, high = min(patch, width - x), min(patch, height - y)
            # inset, so that neighbours do not paint over each other
            inset = 0.02 * patch
            colour = offset_colour(int(offset), largest, palest=0.5)
            ax.add_patch(_outline(x + inset, y + inset, wide - 2 * inset, high - 2 * inset, colour, 1.0))
    low, high = _signed(pattern.offsets[0]), _signed(pattern.offsets[-1])
    said = f"{pattern.frames_mixed} frames, offsets {low} to {high}" if pattern.frames_mixed > 1 else f"offset {low}"
    ax.set_title(wrap(str(pattern), 40), loc="left")
    ax.set_xlabel(said, fontsize=8, color=QUIET, loc="left")


def _outline(x: float, y: float, wide: float, high: float, colour: Any, thick: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), wide, high, fill=False, edgecolor=colour, linewidth=thick)


def _image(ax: Axes, pixels: np.ndarray) -> None:
    ax.imshow(pixels, interpolation="nearest", aspect="equal", zorder=0.5)
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)


def _pixels(clip: Any) -> np.ndarray:
    """Floats 0 to 1 with three channels."""
    pixels = np.asarray(clip)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
        raise InputError(f"a clip has shape (T, H, W, 3), (T, H, W, 1) or (T, H, W), got {np.asarray(clip).shape}")
    values = pixels / 255.0 if np.issubdtype(pixels.dtype, np.integer) else pixels.astype(float)
    return np.broadcast_to(values.clip(0, 1), (*values.shape[:3], 3))


def _shown_frames(frames: int, frame: int, patterns: Sequence[ShiftPattern], most: int = 9) -> list[int]:
    """The frames around the mixed one that the patterns take from, or evenly spaced ones of them; without, of all."""
    wanted = sorted({frame, *((frame - k) % frames for pattern in patterns for k in pattern.offsets)})
    if not patterns:
        wanted, most = list(range(frames)), 5
    elif len(wanted) < min(frames, 5):
        first = max(min(frame - 2, frames - 5), 0)
        wanted = sorted({*wanted, *range(first, min(first + 5, frames))})
    if len(wanted) <= most:
        return wanted
    kept = {wanted[round(i * (len(wanted) - 1) / (most - 1))] for i in range(most)}
    nearest = min(kept, key=lambda index: abs(index - frame))
    return sorted(kept - {nearest} | {frame})


def _signed(offset: int) -> str:
    return f"+{offset}" if offset > 0 else f"−{-offset}" if offset else "0"
