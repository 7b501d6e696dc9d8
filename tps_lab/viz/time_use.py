"""How much accuracy is left when the frames of the test clips are rearranged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import CEILING, QUIET, looks, new_axes, nothing, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def time_use(named: Mapping[str, Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Test accuracy under each rearrangement of `tps_lab.measure.time_use`, one marker a model.

    Args:
        named: a model's label → its `facts`.
        ax: where to draw; None makes a figure.

    >>> facts = {"probes": [{"probe": "reversed", "top1_pct": 4.0}], "chance_pct": 8.3, "ceiling_pct": 50.0}
    >>> time_use({"TPS-C": facts}).get_xlabel()
    'test accuracy, %'
    """
    names = list(dict.fromkeys(row["probe"] for found in named.values() for row in found["probes"]))
    step = 0.8 / max(1, len(named))
    ax = ax or new_axes(8.6, 1.0 + max(0.5, 0.14 * len(named) + 0.16) * len(names))
    if not named:
        return nothing(ax, "no run was evaluated with rearranged frames")
    for i, ((label, found), look) in enumerate(
        zip(named.items(), looks(name.partition(", seed")[0] for name in named), strict=True)
    ):
        by = {row["probe"]: row["top1_pct"] for row in found["probes"]}
        places = [k + (i - (len(named) - 1) / 2) * step for k in range(len(names))]
        shown = [(by[name], place) for name, place in zip(names, places, strict=True) if name in by]
        ax.hlines([y for _, y in shown], 0, [x for x, _ in shown], color=look.colour, linewidth=1.2, alpha=0.55)
        ax.plot(
            [x for x, _ in shown], [y for _, y in shown], look.marker, color=look.colour,
            markersize=look.marker_size(6), label=in_legend(wrap(label, 40)), linestyle="none",
        )  # fmt: skip
        for x, y in shown:
            ax.annotate(
                f"{x:.0f}", (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=QUIET
            )
    limits = {(found["chance_pct"], found["ceiling_pct"]) for found in named.values()}
    if len(limits) == 1:
        chance, ceiling = limits.pop()
        ax.axvline(chance, color=QUIET, linewidth=0.9, linestyle=(0, (1.5, 1.5)), label="chance")
        if ceiling is not None and ceiling != chance:
            ax.axvline(ceiling, color=CEILING, linewidth=0.9, linestyle=(0, (4, 3)), label="order-blind ceiling")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_xlim(0, 106)
    ax.set_xlabel("test accuracy, %")
    ax.grid(False, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax
