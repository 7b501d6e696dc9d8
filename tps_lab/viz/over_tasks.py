"""Variants over many tasks at once: interquartile means and performance profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.results.aggregate import THRESHOLDS, Aggregate
from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import INK, insets, looks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def aggregate(found: Sequence[Aggregate], ax: Axes | None = None) -> Axes:
    """The interquartile mean of each variant over all tasks, and the share of runs above each score.

    Args:
        found: `tps_lab.results.aggregate.aggregates(groups)`, at least one.
        ax: where to draw; None makes a figure.

    >>> ax = viz.aggregate(aggregates(viz.group_runs(runs)))  # doctest: +SKIP
    """
    if ax is None:
        from matplotlib.figure import Figure

        height = max(3.2, 0.9 + 0.36 * len(found))
        means, shares = Figure(figsize=(9.6, height), layout="constrained").subplots(1, 2)
    else:
        means, shares = insets(ax, 1, 2, gap=0.25)[0]
    for row, (one, used) in enumerate(zip(found, looks(one.attention for one in found), strict=True)):
        means.plot([one.iqm.low, one.iqm.high], [row, row], color=used.colour, linewidth=1.8)
        means.plot(one.iqm.value, row, used.marker, color=used.colour, markersize=used.marker_size(7.5))
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
