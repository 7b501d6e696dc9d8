"""Heat maps: accuracy of variants on classes or pairs, and what is taken for what."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.errors import unknown
from tps_lab.results.groups import Group, RunLike, figure, group_runs
from tps_lab.viz.labels import wrap
from tps_lab.viz.style import CEILING, insets, new_axes, nothing, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAP = "Blues"


@styled
def accuracy_map(runs: Iterable[RunLike], by: str = "pair", ax: Axes | None = None) -> Axes:
    """Test accuracy (%) of every variant, a row, on every class or pair of opposites, a column; means over seeds.

    >>> ax = viz.accuracy_map(runs)  # doctest: +SKIP
    """
    if by not in ("pair", "class"):
        raise unknown("grouping", by, ("pair", "class"))
    groups = [group for group in group_runs(runs) if any(run.row.get(f"per_{by}_pct") for run in group.done)]
    names = list(
        dict.fromkeys(name for group in groups for run in group.done for name in run.row.get(f"per_{by}_pct") or {})
    )
    if not names:
        return nothing(ax or new_axes(), f"no run recorded its accuracy by {by}")
    values = np.array([[_mean(group, f"per_{by}_pct", name) for name in names] for group in groups])
    ax = ax or new_axes(min(11.1, 3.2 + 0.95 * len(names)), 1.1 + 0.27 * len(groups))
    _fill(ax, values, [group.label for group in groups], names, 100)
    return ax


@styled
def confusion(groups: Sequence[Group], columns: int = 3, ax: Axes | None = None) -> Axes:
    """What each variant takes for what: one panel a variant, rows what it is, columns what it said, % of the row.

    Pairs of opposite classes are outlined: what lies beside the diagonal inside of an outline was
    taken for its own reversal.

    Args:
        groups: of `viz.group_runs(runs)`; runs without recorded answers are left out.
        columns: panels in a row.
        ax: where to draw, all panels inside it; None makes a figure.

    Returns:
        The last panel's axes; all are on its figure.

    >>> ax = viz.confusion(viz.group_runs(runs))  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    shown = [(group, matrix) for group in groups if (matrix := _confusions(group)) is not None]
    if not shown:
        return nothing(ax or new_axes(), "answers to single clips were not recorded")
    columns = min(columns, len(shown))
    rows, size = -(-len(shown) // columns), 3.7
    if ax is not None:
        panels = insets(ax, rows, columns, gap=0.04)
    else:
        figure = Figure(figsize=(size * columns, (size + 0.35) * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    for index, (panel, (group, matrix)) in enumerate(zip(panels.flat, shown, strict=False)):
        known = group.first.get("classes") or group.first.get("per_class_pct") or range(len(matrix))
        names = [str(name) for name in known][: len(matrix)] or [str(i) for i in range(len(matrix))]
        _fill(panel, matrix, names if index % columns == 0 else [""] * len(names), names, 100, small=len(names) > 6)
        for place in _opposites(group, names):
            low, high = min(place) - 0.48, max(place) + 0.48
            panel.plot([low, high, high, low, low], [low, low, high, high, low], color=CEILING, linewidth=1.1)
        panel.set_title(wrap(group.label, 34), fontsize=9.5)
    last: Axes = panels.flat[len(shown) - 1]
    return last


def _fill(
    ax: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], most: float, small: bool = False
) -> None:
    ax.grid(False)
    ax.imshow(np.nan_to_num(values), cmap=_MAP, vmin=0, vmax=most * 1.15, aspect="auto")
    if values.size <= 700:
        for (i, j), value in np.ndenumerate(values):
            if value == value and (not small or value >= 0.5):
                ax.text(
                    j, i, f"{value:.0f}", ha="center", va="center", fontsize=6.5 if small else 8,
                    color="white" if value > 0.62 * most else "#222222",
                )  # fmt: skip
    turned = 40 if max(map(len, columns)) * len(columns) > 60 else 0
    ax.set_xticks(
        range(len(columns)), columns, fontsize=7.5, rotation=turned, ha="right" if turned else "center",
        rotation_mode="anchor",
    )  # fmt: skip
    ax.set_yticks(range(len(rows)), rows, fontsize=7.5 if small else 8.5)
    for side in ax.spines.values():
        side.set_visible(False)


def _opposites(group: Group, names: Sequence[str]) -> list[tuple[int, int]]:
    """Places of the two classes of each pair, where they are neighbours: "left / right" of the accuracies by pair."""
    pairs = [tuple(pair.split(" / ")) for pair in group.first.get("per_pair_pct") or {}]
    known = [pair for pair in pairs if len(pair) == 2 and all(name in names for name in pair)]
    places = [(names.index(one), names.index(other)) for one, other in known]
    return [place for place in places if abs(place[0] - place[1]) == 1]


def _mean(group: Group, key: str, name: str) -> float:
    values = [v for run in group.done if (v := figure({"f": (run.row.get(key) or {}).get(name)}, "f")) is not None]
    return statistics.fmean(values) if values else float("nan")


def _confusions(group: Group) -> np.ndarray | None:
    """Share of each class's clips (a row, %) that were called what (columns), over all seeds."""
    answers = [found for run in group.done if (found := getattr(run, "predictions", None)) is not None]
    if not answers:
        return None
    classes = max(int(max(said.max(), right.max())) for said, right in answers) + 1
    classes = max(classes, len(group.first.get("classes") or ()))
    counts = np.zeros((classes, classes))
    for said, right in answers:
        np.add.at(counts, (right, said), 1)
    shares: np.ndarray = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return shares
