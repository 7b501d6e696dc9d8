"""A figure per name: dots on a line, bars made of parts, and what is left of accuracy when frames are rearranged."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tps_lab.results.units import Kind, unit_for
from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import CEILING, INK, QUIET, looks, looks_if_variants, new_axes, nothing, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# of Okabe and Ito, from dark to light, so that a grey print tells them apart; hatches do it once more
_FILLS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#f0e442", "#cc79a7")
PARTS_OF_A_WHOLE = tuple(zip(_FILLS, ("", "//", "..", "\\\\", "", "xx"), strict=True))


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
        ax: where to draw; None makes a figure.

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
        ax.plot(mean, row, used.marker, color=used.colour, markersize=used.marker_size(7), markeredgecolor="white")
        ax.annotate(
            unit.number(mean * unit.divisor), (max(scaled), row), xytext=(8, 0), textcoords="offset points",
            va="center", fontsize=8.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    if reference:
        ax.axvline(reference[1] / unit.divisor, color=CEILING, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
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


@styled
def stacked(parts: Mapping[str, Mapping[str, float]], label: str, kind: Kind = "bytes", ax: Axes | None = None) -> Axes:
    """A bar for each name, made of parts: memory by what it is for, costs by operation.

    Args:
        parts: name → part → figure; parts stand in the order of the first name's.
        label: of the scale, without its unit.
        kind: what the figures are, which decides the unit.
        ax: where to draw; None makes a figure.

    >>> ax = stacked({"TPS": {"parameters": 5e8, "activations": 3e9}}, "peak memory, training")
    """
    if not parts:
        return nothing(ax or new_axes(), "nothing to show")
    totals = {name: sum(inner.values()) for name, inner in parts.items()}
    unit = unit_for(kind, totals.values())
    ax = ax or new_axes(6.4, 1.1 + 0.36 * len(parts))
    names = list(dict.fromkeys(part for inner in parts.values() for part in inner))
    ends = dict.fromkeys(parts, 0.0)
    for part, (fill, hatch) in zip(names, PARTS_OF_A_WHOLE * (1 + len(names) // len(PARTS_OF_A_WHOLE)), strict=False):
        widths = [inner.get(part, 0.0) / unit.divisor for inner in parts.values()]
        ax.barh(
            range(len(parts)), widths, left=list(ends.values()), color=fill, hatch=hatch, edgecolor="white",
            linewidth=0.6, height=0.62, label=part,
        )  # fmt: skip
        ends = {name: end + width for (name, end), width in zip(ends.items(), widths, strict=True)}
    for row, (name, end) in enumerate(ends.items()):
        ax.annotate(
            unit.text(totals[name]), (end, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    ax.set_yticks(range(len(parts)), [wrap(name, 30) for name in parts], color=INK)
    ax.set_ylim(len(parts) - 0.4, -0.6)
    ax.set_xlim(0, 1.2 * max(ends.values()) or 1)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"{label} ({unit.name})" if unit.name else label)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names), fontsize=8, labelcolor=QUIET)
    return ax


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
