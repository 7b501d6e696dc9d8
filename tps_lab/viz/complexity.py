"""What attention costs as clips grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tps_lab.attention import Grid, Variant, parse
from tps_lab.viz.plots import _End, _names_at_the_end
from tps_lab.viz.style import looks, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def complexity(
    variants: Sequence[Variant | str],
    frames: Sequence[int] = (8, 16, 32, 64, 128),
    grid: tuple[int, int] = (14, 14),
    depth: int = 12,
    channels: int = 384,
    ax: Axes | None = None,
) -> Axes:
    """Multiply-adds of all attention of a ViT per clip against its frames, closed form, both axes logarithmic.

    Args:
        variants: variants or their text forms, one line each.
        frames: of the clip, after tubelets.
        grid: rows and columns of patches.
        depth, channels: blocks and width of the model; 12 and 384 are ViT-S.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: a variant is unknown or does not fit a grid.

    >>> ax = complexity(["spatial", "divided", "joint"])
    """
    ax = new_axes(5.6, 3.6) if ax is None else ax
    chosen = [parse(variant) for variant in variants]
    ends = []
    for variant, used in zip(chosen, looks(map(str, chosen)), strict=True):
        macs = [variant.macs(Grid(t, *grid, prefix_of=variant.prefix_of), depth, channels) / 1e9 for t in frames]
        heights = [math.log10(figure) for figure in macs]  # a linear axis of logarithms, on which names can be spread
        ax.plot(frames, heights, color=used.colour, linestyle=used.line, marker=used.marker, markeredgecolor="white")
        ends.append(_End(frames[-1], heights[-1], variant.label, used.colour, used))
    ax.set_xscale("log", base=2)
    low, high = (round_(limit) for round_, limit in zip((math.floor, math.ceil), ax.get_ylim(), strict=True))
    ax.set_yticks(range(low, high + 1), [f"{10**power:g}" for power in range(low, high + 1)])
    ax.set_xticks(list(frames), [str(t) for t in frames])
    ax.minorticks_off()
    ax.set_xlabel("frames")
    ax.set_ylabel("multiply-adds of attention (G)")
    _names_at_the_end(ax, ends)
    return ax
