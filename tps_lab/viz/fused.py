"""What attention variants cost over the length of a clip, with fused and with unfused attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tps_lab.viz.style import INK, QUIET, looks, plain_log, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GPU_SIZES_GB = (24, 80)


@styled
def over_frames(rows: Sequence[Mapping[str, Any]], time: str, clock: str, memory: str) -> Figure:
    """A row of panels for every cost, a column for every size of frames; both axes logarithmic.

    Args:
        rows: of `report.fused_attention.cell`: attention, label, frames, size, fused, macs, and the next two.
        time, memory: the columns with milliseconds and bytes of a training step.
        clock: what the milliseconds are, for the axis, such as "roofline, H100".
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    # column → what the axis says, what it is divided by
    costs = (
        ("macs", "Multiply-adds per clip (T)", 1e12),
        (memory, "Peak memory, training (GiB)", 2**30),
        (time, f"Training step (ms)\n{clock}", 1.0),
    )
    sizes = sorted({row["size"] for row in rows})
    labels = list(dict.fromkeys(row["label"] for row in rows))
    used = dict(zip(labels, looks(labels), strict=True))
    figure = Figure(figsize=(4.3 * len(sizes) + 0.4, 9.6), layout="constrained")
    grid = figure.subplots(len(costs), len(sizes), sharex=True, sharey="row", squeeze=False)
    for panels, (key, title, divisor) in zip(grid, costs, strict=True):
        for ax, size in zip(panels, sizes, strict=True):
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            plain_log(ax.xaxis, ax.yaxis)
            for label in labels:
                for fused in (True, False):
                    chosen = [r for r in rows if (r["label"], r["size"], r["fused"]) == (label, size, fused)]
                    chosen = [r for r in chosen if r.get(key)]
                    look = used[label]
                    ax.plot(
                        [row["frames"] for row in chosen],
                        [row[key] / divisor for row in chosen],
                        color=look.colour,
                        linestyle="-" if fused else (0, (2, 2)),
                        marker=look.marker,
                        markersize=look.marker_size(5.5),
                        markerfacecolor=look.colour if fused else "white",
                        linewidth=1.4,
                        clip_on=False,
                    )
            if key == memory:
                _gpu_sizes(ax)
        panels[0].set_ylabel(title)
    for ax, size in zip(grid[0], sizes, strict=True):
        ax.set_title(f"frames of {size}²")
    frames = sorted({row["frames"] for row in rows})
    for ax in grid[-1]:
        ax.set_xlabel("Frames")
        ax.set_xticks(frames, [str(number) for number in frames])
        ax.minorticks_off()
    handles = [
        Line2D([], [], color=used[label].colour, marker=used[label].marker, markersize=6, label=label)
        for label in labels
    ]
    plain: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 5}
    handles += [
        Line2D([], [], **plain, label="fused"),
        Line2D([], [], **plain, markerfacecolor="white", linestyle=(0, (2, 2)), label="unfused"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5, handlelength=2.4)
    return figure


def _gpu_sizes(ax: Axes) -> None:
    for gb in _GPU_SIZES_GB:
        ax.axhline(gb * 1e9 / 2**30, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            f"{gb} GB", (0, gb * 1e9 / 2**30), xycoords=("axes fraction", "data"), xytext=(3, 2),
            textcoords="offset points", ha="left", va="bottom", fontsize=7.5, color=QUIET,
        )  # fmt: skip
