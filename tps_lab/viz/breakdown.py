"""Where multiply-adds, bytes and activations go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.measure.breakdown import OPERATIONS, Part
from tps_lab.viz.style import QUIET, styled
from tps_lab.viz.units import Kind, unit_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# One colour per operation, attention's in blues and violets.
_COLOURS = dict(
    zip(
        OPERATIONS,
        ("#8c8200", "#0072b2", "#003a63", "#56b4e9", "#7b3f98", "#d55e00", "#009e73", "#1f6f54", "#a6761d", "#e69f00",
         "#b5b5b5", "#cc79a7", "#4d4d4d"),
        strict=True,
    )
)  # fmt: skip


@styled
def breakdown(parts: Sequence[Part], title: str = "") -> Axes:
    """Three panels, a bar for each stage: multiply-adds, bytes moved, activations kept; colours are operations.

    Multiply-adds and bytes are those of forward and backward together where the trace has both. The first
    panel's axes are returned; all are on its figure.

    Args:
        parts: of `measure.breakdown.breakdown`.
        title: above the first panel.

    >>> ax = breakdown(measure.breakdown.breakdown(trace(make, training=True)))  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(part.stage for part in parts))
    if "head" in stages:  # last, wherever the first of its kernels stood
        stages = [stage for stage in stages if stage != "head"] + ["head"]
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
    figure = Figure(figsize=(3.5 * len(panels) + 1.4, 1.9 + 0.27 * len(stages)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    for ax, (label, kind, figures) in zip(axes, panels, strict=True):
        table = np.zeros((len(used), len(stages)))
        for part, value in zip(parts, figures, strict=True):
            table[used.index(part.operation), stages.index(part.stage)] += value
        unit = unit_for(kind, table.sum(0))
        left = np.zeros(len(stages))
        for row, operation in zip(table, used, strict=True):
            ax.barh(
                range(len(stages)), row / unit.divisor, left=left / unit.divisor, height=0.74,
                color=_COLOURS[operation], label=operation, edgecolor="white", linewidth=0.5,
            )  # fmt: skip
            left += row
        ax.set_title(label, fontsize=9.5)
        ax.set_xlabel(f"{unit.name or 'number'}, in all {unit.text(table.sum())}", color=QUIET)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(stages)), stages)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(7, len(labels)), fontsize=8.5)
    if title:
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    first: Axes = axes[0]
    return first
