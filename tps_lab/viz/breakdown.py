"""Where multiply-adds, bytes and memory go: bars made of parts, by stage and operation, and over a training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.results.metrics import Kind, Unit, unit_for
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import INK, QUIET, new_axes, nothing, panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tps_lab.measure.predicted_memory import Timeline
    from tps_lab.measure.trace import Part

# of Okabe and Ito, from dark to light, so that a grey print tells them apart; hatches do it once more
_FILLS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#f0e442", "#cc79a7")
_PARTS = tuple(zip(_FILLS, ("", "//", "..", "\\\\", "", "xx"), strict=True))
# One colour per operation, attention's in blues and violets.
_OPERATIONS = (
    "#8c8200", "#0072b2", "#003a63", "#56b4e9", "#7b3f98", "#d55e00", "#009e73", "#1f6f54", "#a6761d", "#e69f00",
    "#b5b5b5", "#cc79a7", "#4d4d4d",
)  # fmt: skip
# what stays stands at the bottom
_UPWARDS = ("parameters", "optimizer", "overhead", "gradients", "activations", "temporary")
_BELOW = 0.4  # inches, for the axis' label and the legend


@styled
def stacked(parts: Mapping[str, Mapping[str, float]], label: str, kind: Kind = "bytes", ax: Axes | None = None) -> Axes:
    """A bar for each name, made of parts: memory by what it is for, costs by operation.

    Args:
        parts: name → part → figure; parts stand in the order of the first name's.
        label: of the scale, without its unit.
        kind: what the figures are, which decides the unit.

    >>> ax = stacked({"TPS": {"parameters": 5e8, "activations": 3e9}}, "peak memory, training")
    """
    if not parts:
        return nothing(ax or new_axes(), "nothing to show")
    totals = {name: sum(inner.values()) for name, inner in parts.items()}
    unit = unit_for(kind, totals.values())
    ax = ax or new_axes(6.4, 1.1 + 0.36 * len(parts))
    names = list(dict.fromkeys(part for inner in parts.values() for part in inner))
    ends = dict.fromkeys(parts, 0.0)
    for part, (fill, hatch) in zip(names, _PARTS * (1 + len(names) // len(_PARTS)), strict=False):
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
def breakdown(parts: Sequence[Part], title: str = "") -> Axes:
    """Three panels, a bar for each stage: multiply-adds, bytes moved, activations kept; colours are operations.

    Multiply-adds and bytes are those of forward and backward together where the trace has both. The first
    panel's axes are returned; all are on its figure.

    Args:
        parts: of `measure.trace.breakdown`.
        title: above the first panel.

    >>> ax = breakdown(measure.trace.breakdown(trace(make, Step(training=True))))  # doctest: +SKIP
    """
    from tps_lab.measure.trace import OPERATIONS

    stages = list(dict.fromkeys(part.stage for part in parts))
    if "head" in stages:  # last, wherever the first of its kernels stood
        stages = [stage for stage in stages if stage != "head"] + ["head"]
    colours = dict(zip(OPERATIONS, _OPERATIONS, strict=True))
    used = [name for name in OPERATIONS if any(part.operation == name for part in parts)]
    backward = any(part.backward_macs for part in parts)
    passes = "forward + backward" if backward else "forward"
    shown: list[tuple[str, Kind, list[int]]] = [
        (f"multiply-adds, {passes}", "count", [part.macs + part.backward_macs for part in parts]),
        (f"bytes moved, {passes}", "bytes", [part.bytes + part.backward_bytes for part in parts]),
        ("activations kept for backward", "bytes", [part.activation_bytes for part in parts]),
    ]
    if not backward:
        shown = shown[:2]
    axes = panels(1, len(shown), (3.5 * len(shown) + 1.4, 1.9 + 0.27 * len(stages)), sharey=True)[0]
    for panel, (label, kind, figures) in zip(axes, shown, strict=True):
        table = np.zeros((len(used), len(stages)))
        for part, value in zip(parts, figures, strict=True):
            table[used.index(part.operation), stages.index(part.stage)] += value
        unit = unit_for(kind, table.sum(0))
        left = np.zeros(len(stages))
        for row, operation in zip(table, used, strict=True):
            panel.barh(
                range(len(stages)), row / unit.divisor, left=left / unit.divisor, height=0.74,
                color=colours[operation], label=operation, edgecolor="white", linewidth=0.5,
            )  # fmt: skip
            left += row
        panel.set_title(label, fontsize=9.5)
        panel.set_xlabel(f"{unit.name or 'number'}, in all {unit.text(table.sum())}", color=QUIET)
        panel.grid(axis="y", visible=False)
    for panel in axes:  # the names stand beside the first one only
        panel.set_yticks(range(len(stages)), stages)
        panel.set_ylim(len(stages) - 0.5, -0.5)
        panel.tick_params(labelleft=panel is axes[0])
    handles, labels = axes[0].get_legend_handles_labels()
    first: Axes = axes[0]
    figure: Any = first.figure
    figure.legend(handles, labels, loc="outside lower center", ncols=min(7, len(labels)), fontsize=8.5)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return first


@styled
def memory_over_step(timelines: Mapping[str, Timeline]) -> Axes:
    """A panel for each name, one scale for all: parts on top of each other, and what the allocator has reserved.

    Args:
        timelines: name → `measure.predicted_memory.timeline(…)`.

    >>> ax = memory_over_step({"TPS-C": timeline(make, Step(batch=8))})  # doctest: +SKIP
    """
    height = _BELOW + 1.9 * len(timelines)
    ax = new_axes(7.2, height)
    if not timelines:
        return nothing(ax, "nothing to show")
    ax.set_axis_off()
    below, high = _BELOW / height, 1.9 / height
    bottoms = [below + (len(timelines) - 1 - i + 0.1) * high for i in range(len(timelines))]
    drawn = [ax.inset_axes((0.06, bottom, 0.94, 0.8 * high)) for bottom in bottoms]
    highest = max(int(found.reserved.max()) for found in timelines.values())
    unit = unit_for("bytes", [highest])
    for panel, (name, found) in zip(drawn, timelines.items(), strict=True):
        _areas(panel, found, unit)
        panel.set_title(name, loc="left", fontsize=10)
        panel.set_ylim(0, 1.22 * highest / unit.divisor)
        panel.set_xticks([])
        panel.set_ylabel(unit.name)
    handles, labels = drawn[0].get_legend_handles_labels()
    drawn[-1].set_xlabel("allocations and frees of a training step, in their order")
    ax.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0), borderaxespad=0, ncols=len(labels),
              fontsize=8, labelcolor=QUIET, handlelength=1.5, columnspacing=1.2)  # fmt: skip
    return ax


def _areas(ax: Axes, found: Timeline, unit: Unit) -> None:
    at = _places(found)
    floor = np.zeros(len(at))
    for part in _UPWARDS:
        fill, hatch = _PARTS[list(found.parts).index(part)]
        top = floor + found.parts[part] / unit.divisor
        ax.fill_between(at, floor, top, step="post", color=fill, hatch=hatch, edgecolor="white", linewidth=0,
                        label=part)  # fmt: skip
        floor = top
    reserved = found.reserved / unit.divisor
    ax.step(at, reserved, where="post", color=INK, linewidth=1, linestyle=(0, (4, 2)), label="reserved")
    peak = int(found.allocated.argmax())
    late = at[peak] > 0.8 * at[-1]
    ax.plot(at[peak], floor[peak], "o", color=INK, markersize=4)
    ax.annotate(
        unit.text(int(found.allocated[peak])), (at[peak], reserved[peak]), xytext=(-4 if late else 4, 2),
        textcoords="offset points", ha="right" if late else "left", va="bottom", fontsize=8.5,
    )  # fmt: skip
    borders = (0.0, at[found.backward_at], at[found.optimizer_at], at[-1])
    for start, end, phase in zip(borders, borders[1:], ("forward", "backward", "step"), strict=False):
        ax.axvline(end, color=QUIET, linewidth=0.8, linestyle=(0, (2, 2)))
        ax.annotate(
            phase, ((start + end) / 2, 1), xycoords=("data", "axes fraction"), xytext=(0, -3),
            textcoords="offset points", ha="center", va="top", fontsize=8, color=QUIET,
        )  # fmt: skip
    ax.set_xlim(0, at[-1])


def _places(found: Timeline) -> np.ndarray:
    """Where the moments stand: one by one, and the few of the optimizer's step wide enough to be seen."""
    places = np.arange(len(found.reserved), dtype=float)
    last = places[found.optimizer_at :]
    last[:] = found.optimizer_at * (1 + np.arange(len(last)) / 40)
    return places
