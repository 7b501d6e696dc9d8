"""Estimated against measured times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tps_lab.viz.style import QUIET, looks, new_axes, plain_log, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def roofline(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Measured milliseconds against a roofline's estimate, both logarithmic; on the line they are equal.

    Args:
        rows: of `measure.roofline_check.check`: attention, work, estimated_ms, measured_ms. Inference is
            drawn filled, training open.
        ax: where to draw; None makes a figure.

    >>> ax = roofline(check()["rows"])  # doctest: +SKIP
    """
    ax = new_axes(6.6, 4.2) if ax is None else ax
    names = list(dict.fromkeys(str(row["attention"]) for row in rows))
    for name, used in zip(names, looks(names), strict=True):
        for work in ("inference", "training"):
            chosen = [row for row in rows if row["attention"] == name and row["work"] == work]
            ax.plot(
                [row["estimated_ms"] for row in chosen], [row["measured_ms"] for row in chosen], linestyle="none",
                marker=used.marker, markersize=used.marker_size(6.5), markeredgecolor=used.colour,
                markerfacecolor=used.colour if work == "inference" else "white",
                label=name if work == "inference" else None,
            )  # fmt: skip
    everything = [row[key] for row in rows for key in ("estimated_ms", "measured_ms")]
    ends = (min(everything) / 1.5, max(everything) * 1.5)
    ax.plot(ends, ends, color=QUIET, linewidth=1)
    ax.plot(ends, [2 * end for end in ends], color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.text(ends[1], ends[1], " equal", color=QUIET, va="top", fontsize=8)
    ax.text(ends[1], 2 * ends[1], " twice", color=QUIET, va="bottom", fontsize=8)
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_log(ax.xaxis, ax.yaxis)
    ax.set_xlabel("roofline estimate (ms)")
    ax.set_ylabel("measured (ms)")
    ax.set_title("filled: inference, open: forward and backward", fontweight="normal", fontsize=9, color=QUIET)
    ax.legend(loc="center left", bbox_to_anchor=(1.06, 0.5), fontsize=8, handletextpad=0.3)
    return ax
