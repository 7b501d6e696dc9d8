"""Where multiply-adds, bytes and activations go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.results.units import Kind, unit_for
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import QUIET, insets, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tps_lab.measure.trace import Part

# One colour per operation, attention's in blues and violets.
_COLOURS = (
    "#8c8200", "#0072b2", "#003a63", "#56b4e9", "#7b3f98", "#d55e00", "#009e73", "#1f6f54", "#a6761d", "#e69f00",
    "#b5b5b5", "#cc79a7", "#4d4d4d",
)  # fmt: skip


@styled
def breakdown(parts: Sequence[Part], title: str = "", ax: Axes | None = None) -> Axes:
    """Three panels, a bar for each stage: multiply-adds, bytes moved, activations kept; colours are operations.

    Multiply-adds and bytes are those of forward and backward together where the trace has both. The first
    panel's axes are returned; all are on its figure.

    Args:
        parts: of `measure.trace.breakdown`.
        title: above the first panel.
        ax: where to draw, all panels inside it; None makes a figure.

    >>> ax = breakdown(measure.trace.breakdown(trace(make, Step(training=True))))  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(part.stage for part in parts))
    if "head" in stages:  # last, wherever the first of its kernels stood
        stages = [stage for stage in stages if stage != "head"] + ["head"]
    from tps_lab.measure.trace import OPERATIONS

    colours = dict(zip(OPERATIONS, _COLOURS, strict=True))
    used = [name for name in OPERATIONS if any(part.operation == name for part in parts)]
    backward = any(part.backward_macs for part in parts)
    passes = "forward + backward" if backward else "forward"
    panels: list[tuple[str, Kind, list[int]]] = [
        (f"multiply-adds, {passes}", "count", [part.macs + part.backward_macs for part in parts]),
        (f"bytes moved, {passes}", "bytes", [part.bytes + part.backward_bytes for part in parts]),
        ("activations kept for backward", "bytes", [part.activation_bytes for part in parts]),
    ]
    if not backward:
        panels = panels[:2]
    if ax is None:
        figure = Figure(figsize=(3.5 * len(panels) + 1.4, 1.9 + 0.27 * len(stages)), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True)
    else:
        axes = insets(ax, 1, len(panels), (0, 0.12, 1, 0.88), gap=0.06)[0]
    for panel, (label, kind, figures) in zip(axes, panels, strict=True):
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
        panel.set_title(label if ax is None else wrap(label, 22), fontsize=9.5 if ax is None else 8)
        panel.set_xlabel(f"{unit.name or 'number'}, in all {unit.text(table.sum())}", color=QUIET)
        panel.grid(axis="y", visible=False)
    for panel in axes:  # the names stand beside the first one only
        panel.set_yticks(range(len(stages)), stages)
        panel.set_ylim(len(stages) - 0.5, -0.5)
        panel.tick_params(labelleft=panel is axes[0])
    handles, labels = axes[0].get_legend_handles_labels()
    legend = {"handles": handles, "labels": labels, "ncols": min(7, len(labels)), "fontsize": 8.5}
    if ax is None:
        figure.legend(loc="outside lower center", **legend)
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    else:
        ax.legend(loc="lower center", **legend)
        ax.set_title(title)
    first: Axes = axes[0]
    return first
