"""Accuracy within each pair of opposite classes, or on each class."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tps_lab.errors import unknown
from tps_lab.results.groups import RunLike, figure, group_runs
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import CEILING, INK, QUIET, RULE, looks, new_axes, nothing, styled, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def pair_accuracy(runs: Iterable[RunLike], ax: Axes | None = None, by: str = "pair") -> Axes:
    """Test accuracy within each pair of opposite classes: one column a pair, one line a variant.

    Small dots are seeds, the marker is their mean. A model that is blind to the order of frames
    cannot pass the 50 % line, because one of a pair is the other played backwards.

    Args:
        runs: finished and other runs; those without figures are left out.
        ax: where to draw; None makes a figure that is high enough.
        by: "pair", or "class" for the accuracy of every class.

    >>> ax = viz.pair_accuracy(runs)  # doctest: +SKIP
    """
    if by not in ("pair", "class"):
        raise unknown("grouping", by, ("pair", "class"))
    key = f"per_{by}_pct"
    everyone = group_runs(runs)
    pairs = list(dict.fromkeys(name for group in everyone for run in group.done for name in run.row.get(key) or {}))
    shown = [
        (group, used)
        for group, used in zip(everyone, looks(group.attention for group in everyone), strict=True)
        if any(run.row.get(key) for run in group.done)
    ]
    labels = [wrap(group.label, 32) for group, _ in shown]
    rows = _row_places(labels)
    ax = ax or new_axes(11.1, 0.9 + 0.34 * (rows[-1] + 1 if rows else 3))
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    if not shown:
        return nothing(ax, f"no run recorded its accuracy by {by}")
    wide = 1.28  # of a column, whose panel is 1 wide
    for column, name in enumerate(pairs):
        left = column * wide
        ax.plot([left, left + 1], [-0.7, -0.7], color="#9a9a9a", linewidth=0.8, clip_on=False)
        if by == "pair":
            ax.plot(
                [left + 0.5] * 2, [-0.7, rows[-1] + 0.6], color=CEILING, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1
            )
        for tick in (0, 0.5, 1):
            ax.text(left + tick, rows[-1] + 1.0, f"{100 * tick:.0f}", ha="center", va="center", fontsize=8, color=QUIET)
        ax.text(left + 0.5, -1.0, wrap(name, 18), ha="center", va="bottom", fontsize=8.5, linespacing=1.1)
        for place, (group, used) in zip(rows, shown, strict=True):
            ax.plot([left, left + 1], [place, place], color=RULE, linewidth=0.8, zorder=0)
            seeds = [
                v for run in group.done if (v := figure({"f": (run.row.get(key) or {}).get(name)}, "f")) is not None
            ]
            if not seeds:
                continue
            mean = statistics.fmean(seeds)
            if len(seeds) > 1:
                ax.plot(
                    [left + v / 100 for v in seeds],
                    [place] * len(seeds),
                    "|",
                    color=used.colour,
                    markersize=9,
                    gid=tag(group.label),
                )
            ax.plot(
                left + mean / 100, place, used.marker, color=used.colour, markersize=used.marker_size(7),
                markeredgecolor="white", markeredgewidth=0.6, gid=tag(group.label),
            )  # fmt: skip
    ax.set_yticks(rows, labels, fontsize=8.5, color=INK)
    for name, (group, _) in zip(ax.get_yticklabels(), shown, strict=True):
        name.set_gid(tag(group.label))
    ax.set_xticks([])
    ax.set_xlabel("Test accuracy within the pair (%)" if by == "pair" else "Test accuracy (%)")
    ax.set_xlim(-0.06, (len(pairs) - 1) * wide + 1.06)
    # the names above the columns stand on negative rows
    ax.set_ylim(rows[-1] + 1.4, -1.4 - 0.42 * max(wrap(name, 18).count("\n") + 1 for name in pairs))
    return ax


def _row_places(labels: Sequence[str]) -> list[float]:
    """Where the lines of a chart stand, so that labels of several lines have room."""
    places, below = [], 0.0
    for label in labels:
        room = max(1.0, 0.62 * (label.count("\n") + 1))
        places.append(below + (room - 1) / 2)
        below += room
    return places
