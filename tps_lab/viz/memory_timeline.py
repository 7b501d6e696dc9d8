"""Memory over a training step, by what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.results.units import Unit, unit_for
from tps_lab.viz.bars import PARTS_OF_A_WHOLE
from tps_lab.viz.style import INK, QUIET, insets, new_axes, nothing, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tps_lab.measure.predicted_memory import Timeline

# what stays stands at the bottom
_UPWARDS = ("parameters", "optimizer", "overhead", "gradients", "activations", "temporary")
_BELOW = 0.4  # inches, for the axis' label and the legend


@styled
def memory_over_step(timelines: Mapping[str, Timeline], ax: Axes | None = None) -> Axes:
    """A panel for each name, one scale for all: parts on top of each other, and what the allocator has reserved.

    Args:
        timelines: name → `measure.predicted_memory.timeline(…)`.
        ax: where to draw; None makes a figure.

    >>> ax = memory_over_step({"TPS-C": timeline(make, Step(batch=8))})  # doctest: +SKIP
    """
    height = _BELOW + 1.9 * len(timelines)
    ax = new_axes(7.2, height) if ax is None else ax
    if not timelines:
        return nothing(ax, "nothing to show")
    share = _BELOW / height
    panels = insets(ax, len(timelines), 1, (0.06, share, 0.94, 1 - share))[:, 0]
    highest = max(int(found.reserved.max()) for found in timelines.values())
    unit = unit_for("bytes", [highest])
    for panel, (name, found) in zip(panels, timelines.items(), strict=True):
        _areas(panel, found, unit)
        panel.set_title(name, loc="left", fontsize=10)
        panel.set_ylim(0, 1.22 * highest / unit.divisor)
        panel.set_xticks([])
        panel.set_ylabel(unit.name)
    handles, labels = panels[0].get_legend_handles_labels()
    panels[-1].set_xlabel("allocations and frees of a training step, in their order")
    ax.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0), borderaxespad=0, ncols=len(labels),
              fontsize=8, labelcolor=QUIET, handlelength=1.5, columnspacing=1.2)  # fmt: skip
    return ax


def _areas(ax: Axes, found: Timeline, unit: Unit) -> None:
    at = _places(found)
    floor = np.zeros(len(at))
    for part in _UPWARDS:
        fill, hatch = PARTS_OF_A_WHOLE[list(found.parts).index(part)]
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
