"""Figures of variants beside each other: what the axes of a grid do, differences, means over tasks, and any figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.results.aggregate import THRESHOLDS, Aggregate
from tps_lab.results.axes import axis_name, lines, phrase
from tps_lab.results.groups import Group
from tps_lab.results.metrics import Kind, unit_for
from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import (
    CEILING,
    CEILING_LINE,
    INK,
    QUIET,
    RULE,
    curve,
    looks,
    looks_if_variants,
    new_axes,
    nothing,
    panels,
    points,
    styled,
    tag,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tps_lab.results.paired import Effect, Pair


@styled
def main_effects(effects: Sequence[Effect], ax: Axes | None = None) -> Axes:
    """The mean accuracy at every value of every axis of a grid, one panel an axis, all on one scale.

    The dashed line is the mean of all. Below an axis' name stands its share of the variance over
    runs; interactions, which have no means of their own, are left out.

    Args:
        effects: `tps_lab.results.paired.effects(groups)`.

    >>> from types import SimpleNamespace as Axis
    >>> ax = main_effects([Axis(name="pattern", levels={"A": 60.0, "C": 80.0}, share=0.7)])
    """
    shown = [effect for effect in effects if effect.levels]
    if not shown:
        return nothing(ax or new_axes(), "no grid of two axes or more, with every combination run")
    ax = ax or new_axes(max(3.4, 0.62 * sum(len(effect.levels) + 1 for effect in shown) + 1), 3.2)
    means = [value for effect in shown for value in effect.levels.values()]
    middle = sum(shown[0].levels.values()) / len(shown[0].levels)
    pad = max(0.3 * (max(means) - min(means)), 1.0)
    ax.set_ylim(max(min(means) - pad, 0), max(means) + pad)
    ax.axhline(middle, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    ticks, names, left = [], [], 0.0
    for effect, used in zip(shown, looks_if_variants(effect.name for effect in shown), strict=True):
        places = [left + i for i in range(len(effect.levels))]
        ax.plot(places, list(effect.levels.values()), **curve(used, 7))
        ax.annotate(
            f"{wrap(axis_name(effect.name), 22)}\n{100 * effect.share:.0f} % of the variance",
            ((places[0] + places[-1]) / 2, 1), xycoords=("data", "axes fraction"), xytext=(0, 5),
            textcoords="offset points", ha="center", va="bottom", fontsize=8.5, linespacing=1.2,
        )  # fmt: skip
        ticks += places
        names += [wrap(name, 10) for name in effect.levels]
        left = places[-1] + 1.6
        if effect is not shown[-1]:
            ax.axvline(places[-1] + 0.8, color=RULE, linewidth=0.8)
    ax.grid(axis="x", visible=False)
    ax.set_xlim(-0.6, ticks[-1] + 0.6)
    ax.set_xticks(ticks, names, fontsize=8.5)
    ax.set_ylabel("mean test top-1 (%)")
    return ax


@styled
def differences(
    pairs: Sequence[Pair],
    published: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    against: str = "",
) -> Axes:
    """How far each variant is from the baseline, in points, with the 95 % interval of the paired difference.

    Filled where the difference is settled (Holm's correction for all of them), hollow where it is open.
    A diamond outline is what a paper printed.

    Args:
        pairs: `tps_lab.results.paired.paired(groups)`; pairs without a comparison are left out.
        published: label → the paper's difference to its own baseline, in points.
        against: what they are compared with, if it is not one and the same group.

    >>> ax = viz.differences(paired(groups), {"joint": 10.9})  # doctest: +SKIP
    """
    shown = [(pair, pair.found) for pair in pairs if pair.found is not None]
    if not shown:
        return nothing(ax or new_axes(), "nothing could be compared")
    # as wide as the picture lets a line be that is centred under the axis
    xlabel = wrap(f"test top-1 minus {against or shown[0][0].against.label} (points)", 72)
    names = [wrap(pair.group.label, 30) for pair, _ in shown]
    tallest = max(name.count("\n") for name in names)
    ax = ax or new_axes(6.4, 0.9 + max(0.36, 0.15 * (1 + tallest)) * len(shown) + 0.15 * xlabel.count("\n"))
    ax.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for row, ((pair, found), used) in enumerate(
        zip(shown, looks(pair.group.attention for pair, _ in shown), strict=True)
    ):
        gid, fill = tag(pair.group.label), used.colour if found.settled else "white"
        ax.plot([found.low, found.high], [row, row], color=used.colour, linewidth=1.8, zorder=2, gid=gid)
        ax.plot(found.difference, row, **points(used, 7.5, used.colour), markerfacecolor=fill, zorder=3, gid=gid)
        if published and pair.group.label in published:
            ax.plot(published[pair.group.label], row + 0.24, "D", color=INK, markersize=5.5, markerfacecolor="none")
    ax.set_yticks(range(len(shown)), names, color=INK)
    for name, (pair, _) in zip(ax.get_yticklabels(), shown, strict=True):
        name.set_gid(tag(pair.group.label))
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(xlabel)
    if published:
        ax.plot([], [], "D", color=INK, markersize=5.5, markerfacecolor="none", label="the paper (one seed)")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8.5)
    return ax


@styled
def interaction(groups: Sequence[Group], axis: str, ax: Axes | None = None) -> Axes:
    """Test accuracy along one axis of a grid, a line for all cases that are alike in the others.

    Bars are 95 % intervals. Where lines are not parallel, the axis does not do the same to all.

    Args:
        groups: of one data set.
        axis: its key, such as "data.frames".

    >>> ax = viz.interaction(viz.group_runs(runs), "data.frames")  # doctest: +SKIP
    """
    drawn = [line for line in lines(groups, axis) if any(group.top1 for group in line.at.values())]
    if not drawn:
        return nothing(ax or new_axes(), f"no finished run varies {axis}")
    levels = list(dict.fromkeys(level for line in drawn for level in line.at))
    ax = ax or new_axes(max(5.2, 1.1 * len(levels) + 3.4), 3.8)
    # a line has its variant's look, and one through several variants a look of its own
    of = [{group.attention for group in line.at.values()} for line in drawn]
    told = [attentions.pop() if len(attentions) == 1 else line.name for line, attentions in zip(drawn, of, strict=True)]
    step = min(0.06, 0.5 / len(drawn))
    for i, (line, used) in enumerate(zip(drawn, looks(told), strict=True)):
        aside = (i - (len(drawn) - 1) / 2) * step  # so that bars at one value stand side by side
        tops = [(levels.index(level) + aside, top1) for level, group in line.at.items() if (top1 := group.top1)]
        ax.vlines([x for x, _ in tops], [t.low for _, t in tops], [t.high for _, t in tops], used.colour, linewidth=1.4)
        name = in_legend(wrap(line.name, 28))
        ax.plot([x for x, _ in tops], [t.mean for _, t in tops], **curve(used, 7), label=name)
    ceilings = {group.one("ceiling_pct") for line in drawn for group in line.at.values()}
    if len(ceilings) == 1 and (ceiling := ceilings.pop()) is not None:
        ax.axhline(ceiling, **CEILING_LINE, label="order-blind ceiling")
    ax.set_xticks(range(len(levels)), [wrap(phrase(axis, level), 16) for level in levels])
    ax.set_xlim(-0.4, len(levels) - 0.6)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("test top-1 (%)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


@styled
def aggregate(found: Sequence[Aggregate]) -> Axes:
    """The interquartile mean of each variant over all tasks, and the share of runs above each score.

    Args:
        found: `tps_lab.results.aggregate.aggregates(groups)`, at least one.

    >>> ax = viz.aggregate(aggregates(viz.group_runs(runs)))  # doctest: +SKIP
    """
    means, shares = panels(1, 2, (9.6, max(3.2, 0.9 + 0.36 * len(found))))[0]
    for row, (one, used) in enumerate(zip(found, looks(one.attention for one in found), strict=True)):
        means.plot([one.iqm.low, one.iqm.high], [row, row], color=used.colour, linewidth=1.8)
        means.plot(one.iqm.mean, row, **points(used, 7.5, used.colour))
        share, low, high = 100 * np.asarray(one.profile)
        shares.fill_between(THRESHOLDS, low, high, color=used.colour, alpha=0.13, linewidth=0)
        shares.plot(THRESHOLDS, share, color=used.colour, linestyle=used.line, label=in_legend(wrap(one.name, 24)))
    means.set_yticks(range(len(found)), [wrap(one.name, 24) for one in found], color=INK)
    means.set_ylim(len(found) - 0.4, -0.6)
    means.grid(axis="y", visible=False)
    means.set_xlabel("interquartile mean of the score (%)")
    shares.set_xlabel("score (%)")
    shares.set_ylabel("runs above it (%)")
    shares.set_ylim(-2, 102)
    shares.legend(fontsize=8.5)
    first: Axes = means
    return first


@styled
def dots(
    values: Mapping[str, float | Sequence[float]],
    label: str,
    kind: Kind = "percent",
    reference: tuple[str, float] | None = None,
    variants: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A figure for each name on one scale; of several figures a tick each and their mean, or median for times.

    Args:
        values: name → a figure, or several (seeds, repeats).
        label: of the scale, without its unit.
        kind: what the figures are, which decides the unit.
        reference: a named value to compare with, as a dashed line.
        variants: name → the variant in whose colour it is drawn, where the name alone does not say it.

    >>> ax = dots({"as it is": 91.4, "reversed": 4.7}, "test top-1", reference=("chance", 8.3))
    """
    listed = {name: [found] if isinstance(found, (int, float)) else list(found) for name, found in values.items()}
    if not listed:
        return nothing(ax or new_axes(), "nothing to show")
    unit = unit_for(kind, [value for found in listed.values() for value in found])
    ax = ax or new_axes(6.0, 0.9 + 0.3 * len(listed))
    used_looks = looks_if_variants((variants or {}).get(name, name) for name in listed)
    for row, ((_, found), used) in enumerate(zip(listed.items(), used_looks, strict=True)):
        scaled = [value / unit.divisor for value in found]
        # one slow call says something about the machine, one bad seed about the variant
        mean = statistics.median(scaled) if kind in ("ms", "seconds") else statistics.fmean(scaled)
        ax.plot([0, mean], [row, row], color=used.colour, linewidth=1.2, zorder=1)
        if len(scaled) > 1:
            ax.plot(scaled, [row] * len(scaled), "|", color=used.colour, markersize=10)
        ax.plot(mean, row, **points(used, 7))
        ax.annotate(
            unit.number(mean * unit.divisor), (max(scaled), row), xytext=(8, 0), textcoords="offset points",
            va="center", fontsize=8.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    if reference:
        ax.axvline(reference[1] / unit.divisor, **CEILING_LINE)
        ax.annotate(
            reference[0], (reference[1] / unit.divisor, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", va="bottom", fontsize=8, color=CEILING,
        )  # fmt: skip
    ax.set_yticks(range(len(listed)), [wrap(name, 34) for name in listed], color=INK)
    ax.set_ylim(len(listed) - 0.5, -0.5)
    ax.set_xlim(0, 1.14 * max([*(v for found in listed.values() for v in found), reference[1] if reference else 0])
                / unit.divisor)  # fmt: skip
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"{label} ({unit.name})" if unit.name else label)
    return ax
