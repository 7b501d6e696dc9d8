"""What a way of mixing buys and what it costs: accuracy against costs and over training, costs as clips grow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.attention import Grid, Variant, parse
from tps_lab.errors import InputError, unknown
from tps_lab.results.groups import RunLike, figure, group_runs
from tps_lab.results.metrics import Kind, unit_for
from tps_lab.viz.labels import place_labels, spread, wrap
from tps_lab.viz.mosaics import check_sizes
from tps_lab.viz.style import (
    CEILING,
    CEILING_LINE,
    INK,
    Look,
    curve,
    looks,
    new_axes,
    nothing,
    plain_log,
    points,
    styled,
    tag,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_CEILING_NAME = "ceiling without frame order"
MOST_NAMED = 16  # points of a picture that each get a label
# column of the table → what the axis says, how its figures are written
AXES: dict[str, tuple[str, Kind]] = {
    "macs": ("Multiply-adds per clip", "count"),
    "params": ("Parameters", "count"),
    "training_memory_bytes": ("Peak memory, training", "bytes"),
    "inference_memory_bytes": ("Peak memory, inference", "bytes"),
    "latency_ms": ("Latency, median", "ms"),
    "train_step_ms": ("Training step, median", "ms"),
    "train_seconds": ("Training time", "seconds"),
}


@styled
def tradeoff(table: pd.DataFrame, x: str = "macs", ax: Axes | None = None) -> Axes:
    """Test accuracy against one cost, with the Pareto front of the means.

    Args:
        table: `tps_lab.report.tables.table(runs)`, of one data set.
        x: a column of it that is a cost: macs, params, training_memory_bytes,
            inference_memory_bytes, latency_ms, train_step_ms, train_seconds.

    >>> ax = viz.tradeoff(report.tables.table(runs), x="latency_ms")  # doctest: +SKIP
    """
    if x not in AXES:
        raise unknown("cost", x, AXES)
    ax = ax or new_axes()
    # looks are chosen before rows drop out, so that all panels of a report agree
    rows = [row | {"look": used} for row, used in zip(table.to_dict("records"), looks(table["attention"]), strict=True)]
    rows = [row for row in rows if math.isfinite(row["top1_pct"]) and math.isfinite(row[x])]
    title, kind = AXES[x]
    unit = unit_for(kind, [row[x] for row in rows])
    ax.set_xlabel(f"{title} ({unit.name})" if unit.name else title)
    ax.set_ylabel("Test top-1 accuracy (%)")
    if not rows:
        return nothing(ax, "no run has both figures")
    spots = [(row[x] / unit.divisor, row["top1_pct"]) for row in rows]
    bars = [[(px, row["top1_low_pct"]), (px, row["top1_high_pct"])] for (px, _), row in zip(spots, rows, strict=True)]
    ceilings = sorted({row["ceiling_pct"] for row in rows if math.isfinite(row["ceiling_pct"])})
    _limits(ax, spots, [y for bar in bars for _, y in bar] + ceilings)
    front = _stairs([spots[i] for i in pareto(spots)], ax.get_xlim()[1])
    ax.plot(*zip(*front, strict=True), color="#b0b0b0", linewidth=1.2, zorder=1)
    lines, names = [front], []
    for level in ceilings:
        lines.append([(edge, level) for edge in ax.get_xlim()])
        names.append(_ceiling(ax, level, spots))
    for point, bar, row in zip(spots, bars, rows, strict=True):
        used: Look = row["look"]
        gid = tag(row["label"])
        ax.plot(*zip(*bar, strict=True), color=used.colour, linewidth=1.4, zorder=2, gid=gid)
        ax.plot(*point, **points(used, 7.5), markeredgewidth=0.6, gid=gid)
    # of many points only those on the front are named: there is no room for more, and it takes long
    named = list(range(len(spots))) if len(spots) <= MOST_NAMED else pareto(spots)[-8:]
    near = [*lines, *(bars[i] for i in named)]
    notes = place_labels(ax, [spots[i] for i in named], [rows[i]["label"] for i in named], near, names)
    for note, i in zip(notes, named, strict=False):
        note.set_gid(tag(rows[i]["label"]))
    return ax


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats in both cost (less) and gain (more), cheapest first.

    >>> pareto([(1, 10), (2, 9), (3, 20)])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


@styled
def learning_curves(runs: Iterable[RunLike], ax: Axes | None = None) -> Axes:
    """Validation accuracy over training steps: the mean over seeds, and each seed as a pale line.

    Runs that did not finish are drawn pale to where they got.

    >>> ax = viz.learning_curves(runs)  # doctest: +SKIP
    """
    ax = ax or new_axes(11.1, 4.8)
    groups = group_runs(runs)
    ax.set_xlabel("Training step")
    ax.set_ylabel("Validation top-1 accuracy (%)")
    ends: list[End] = []
    for group, used in zip(groups, looks(group.attention for group in groups), strict=True):
        seeds = [(run, seed) for run in group.runs if (seed := _validation(run))]
        mean = _mean_curve([seed for run, seed in seeds if run in group.done])
        gid = tag(group.label)
        for _, seed in seeds:
            if seed != mean:
                ax.plot(list(seed), list(seed.values()), color=used.colour, alpha=0.35, linewidth=0.8, gid=gid)
        if mean:
            some = max(len(mean) // 8, 1)
            ax.plot(list(mean), list(mean.values()), **curve(used, 5), markevery=some, markeredgewidth=0.5, gid=gid)
            ends.append(End(max(mean), mean[max(mean)], group.label, used.colour, used))
        elif seeds:
            # it stops early: named where it stops
            last = max((seed for _, seed in seeds), key=max)
            ax.plot(max(last), last[max(last)], **points(used, 5, used.colour))
            ax.annotate(
                f"{wrap(group.label)}\n({group.status})", (max(last), last[max(last)]), xytext=(7, 0),
                textcoords="offset points", fontsize=8, va="center", linespacing=1.1,
            )  # fmt: skip
    if not ax.lines:
        return nothing(ax, "no run recorded its validation accuracy")
    levels = sorted({level for group in groups if (level := group.one("ceiling_pct")) is not None})
    low, high = ax.get_ylim()
    ax.set_ylim(max(min([low, *levels]) - 1, 0), min(max([high, *levels]) + 1, 101))
    right = 1.01 * max(float(np.max(np.asarray(line.get_xdata()))) for line in ax.lines) or 1.0
    ax.set_xlim(0, right)
    for level in levels:
        ax.axhline(level, **CEILING_LINE)
        ends.append(End(right, level, f"{level:.0f} %, {_CEILING_NAME}", CEILING))
    names_at_the_end(ax, ends)
    return ax


# ---------------------------------------------------------------------- parts


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

    Raises:
        InputError: a variant is unknown or does not fit a grid.

    >>> ax = complexity(["spatial", "divided", "joint"])
    """
    check_sizes("grid", grid, "rows", "columns")
    if not len(frames):
        raise InputError("frames must name a clip's length or several, got none")
    ax = new_axes(5.6, 3.6) if ax is None else ax
    chosen = [parse(variant) for variant in variants]
    ends = []
    for variant, used in zip(chosen, looks(map(str, chosen)), strict=True):
        macs = [variant.macs(Grid(t, *grid, prefix_of=variant.prefix_of), depth, channels) / 1e9 for t in frames]
        heights = [math.log10(figure) for figure in macs]  # a linear axis of logarithms, on which names can be spread
        ax.plot(frames, heights, **curve(used, 6))
        ends.append(End(frames[-1], heights[-1], variant.label, used.colour, used))
    ax.set_xscale("log", base=2)
    low, high = (round_(limit) for round_, limit in zip((math.floor, math.ceil), ax.get_ylim(), strict=True))
    ax.set_yticks(range(low, high + 1), [f"{10**power:g}" for power in range(low, high + 1)])
    ax.set_xticks(list(frames), [str(t) for t in frames])
    ax.minorticks_off()
    ax.set_xlabel("frames")
    ax.set_ylabel("multiply-adds of attention (G)")
    names_at_the_end(ax, ends)
    return ax


def _limits(ax: Axes, points: Sequence[tuple[float, float]], heights: Sequence[float]) -> None:
    """Room for names on both sides, whole per cents in view, a log axis where costs span decades."""
    costs = [px for px, _ in points]
    low, high = min(costs), max(costs)
    if low > 0 and high / low > 20:
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        ax.set_xlim(low / (high / low) ** 0.2, high * (high / low) ** 0.2)
    else:
        pad = max(0.28 * (high - low), 0.12 * abs(high), 1e-6)
        ax.set_xlim(max(low - pad, 0) if low >= 0 else low - pad, high + pad)
    bottom, top = min([y for _, y in points] + list(heights)), max([y for _, y in points] + list(heights))
    pad = max(0.12 * (top - bottom), 2)
    ax.set_ylim(max(bottom - pad, -2), min(top + pad, 104))
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= 100])


def _stairs(front: Sequence[tuple[float, float]], right: float) -> list[tuple[float, float]]:
    """The edge of what can be had: at every cost the best accuracy that costs no more."""
    corners = [front[0]]
    for px, py in front[1:]:
        corners += [(px, corners[-1][1]), (px, py)]
    return [*corners, (right, corners[-1][1])]


def _ceiling(ax: Axes, level: float, points: Sequence[tuple[float, float]]) -> Annotation:
    """A dashed line across, named at the end where fewer points are near."""
    ax.axhline(level, **CEILING_LINE)
    places = ax.transAxes.inverted().transform(ax.transData.transform(np.asarray(points, float)))
    height = ax.transAxes.inverted().transform(ax.transData.transform((points[0][0], level)))[1]
    near = [px for px, py in places if abs(py - height) < 0.15]
    left = sum(px < 0.5 for px in near) <= len(near) / 2 and not any(px < 0.45 for px in near)
    return ax.annotate(
        f"{level:.0f} %, {_CEILING_NAME}", (0 if left else 1, level), xycoords=("axes fraction", "data"),
        xytext=(3 if left else -3, 3), textcoords="offset points", fontsize=8, color=CEILING, va="bottom",
        ha="left" if left else "right",
    )  # fmt: skip


def _validation(run: RunLike) -> dict[float, float]:
    lines = [line for line in run.metrics if line.get("split") == "val"]
    both = ((figure(line, "step"), figure(line, "top1_pct")) for line in lines)
    return {step: value for step, value in both if step is not None and value is not None}


def _mean_curve(curves: Sequence[dict[float, float]]) -> dict[float, float]:
    """The mean at the steps that all curves have."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return {step: statistics.fmean(curve[step] for curve in curves) for step in steps}


@dataclass(frozen=True)
class End:
    """Where a line ends and what it is called there."""

    x: float
    y: float
    name: str
    colour: str
    look: Look | None = None  # none: a line without markers


def names_at_the_end(ax: Axes, ends: Sequence[End]) -> None:
    """Names to the right of the axes, each with its marker and a line to its curve's end."""
    low, high = ax.get_ylim()
    figure_ = ax.get_figure(root=True)
    inches = ax.get_position().height * (figure_.get_figheight() if figure_ else 4)
    names = [wrap(end.name, 34) for end in ends]
    room = [(high - low) * 0.165 * (name.count("\n") + 1) / inches for name in names]
    across = ax.get_yaxis_transform()
    for end, name, place in zip(ends, names, spread([end.y for end in ends], room, low, high), strict=True):
        ax.annotate(
            "", (end.x, end.y), gid=tag(end.name), xytext=(1.03, place), textcoords=across, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip
        if end.look:
            drawn = points(end.look, 6, end.colour)
            ax.plot(1.042, place, **drawn, transform=across, clip_on=False, gid=tag(end.name))
        ax.annotate(
            name, (1.042, place), gid=tag(end.name), xycoords=across, xytext=(7 if end.look else -4, 0),
            textcoords="offset points", va="center", fontsize=8.5, linespacing=1.1, annotation_clip=False,
            color=INK if end.look else CEILING,
        )  # fmt: skip
