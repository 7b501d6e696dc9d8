"""The pictures of a data set's runs, by the section of the page that they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tps_lab import viz
from tps_lab.report import tables
from tps_lab.report.budgets import Tuned
from tps_lab.report.comparisons import Comparisons
from tps_lab.report.figures import Picture, picture
from tps_lab.report.latex import paper_number
from tps_lab.results.axes import axis_name, axis_to_draw, lines
from tps_lab.results.groups import Group
from tps_lab.results.paired import Effect
from tps_lab.viz.plots import AXES

MOST_CURVES = 12  # variants in one picture of curves
_MOST_DIFFERENCES = 40
_MOST_LINES = 12
_COSTS = ("macs", "training_memory_bytes", "latency_ms", "train_seconds")


@dataclass(frozen=True)
class Pictures:
    """Draws for one data set.

    Args:
        groups: of the data set.
        number: of the data set on the page, which sets its files apart.
        folder: for the PNG files.
    """

    groups: list[Group]
    number: int
    folder: Path

    @property
    def runs(self) -> list[Any]:
        return _runs(self.groups)

    def tradeoffs(self) -> list[Picture]:
        """Accuracy against each cost that is known."""
        table = tables.table(self.runs)
        scored = table["top1_pct"].notna()
        return [
            self._plot(
                x.split("_")[0] if x != "train_seconds" else "time",
                viz.tradeoff(table, x),
                f"Accuracy against {AXES[x][0].lower()}.",
                wide=False,
            )
            for x in _COSTS
            if (scored & table[x].notna()).any()
        ]

    def differences(self, compared: Comparisons, paper: Mapping[str, Mapping[str, float]]) -> list[Picture]:
        """What was compared, as intervals; beside the table from two comparisons on."""
        pairs = compared.comparable
        if len(pairs) < 2:
            return []
        gaps = {}
        for pair in pairs:
            own, base = paper_number(pair.group, paper), paper_number(pair.against, paper)
            if own and base:
                gaps[pair.group.label] = float(own) - float(base)
        shown = pairs[:_MOST_DIFFERENCES]
        caption = (
            f"Filled: settled, after a correction for all {len(pairs)} comparisons; hollow: open. "
            "Bars: the 95 % interval of each difference by itself."
        )
        if len(shown) < len(pairs):
            caption += f" The first {len(shown)} of {len(pairs)}."
        return [self._plot("differences", viz.differences(shown, gaps, against=compared.against), caption)]

    def effects(self, found: Sequence[Effect], compare: str | None) -> list[Picture]:
        """The lines along one axis, which show whether it acts alone; else mean accuracies along all axes."""
        axis = axis_to_draw(self.groups, compare)
        if axis and len(lines(self.groups, axis)) <= _MOST_LINES:
            caption = f"Accuracy along “{axis_name(axis)}”; bars are 95 % intervals."
            caption += " Lines that are not parallel are interactions."
            return [self._plot("interaction", viz.interaction(self.groups, axis), caption)]
        if found:
            return [self._plot("effects", viz.main_effects(found), "Mean accuracy at every value of every axis.")]
        return []

    def curves(self) -> list[Picture]:
        """Validation accuracy over training."""
        if not any(
            line.get("split") == "val" and line.get("top1_pct") is not None for run in self.runs for line in run.metrics
        ):
            return []
        caption = "Validation accuracy while training." + (" Pale lines are single seeds." if self._several else "")
        drawn = highest(self.groups, MOST_CURVES)
        return [self._plot("curves", viz.learning_curves(_runs(drawn)), caption + self._of_all(drawn))]

    def answers(self) -> list[Picture]:
        """Accuracy by pair or class, and what is taken for what."""
        drawn, by = [], "pair" if any(run.row.get("per_pair_pct") for run in self.runs) else "class"
        seeds = " The marker is the mean, ticks are seeds." if self._several else ""
        if len(self.groups) > MOST_CURVES:
            if any(run.row.get(f"per_{by}_pct") for run in self.runs):
                shown = highest(self.groups, 40)
                of = "within each pair of opposite classes" if by == "pair" else "on each class"
                caption = f"Accuracy {of} (%), means over the seeds.{self._of_all(shown)}"
                drawn.append(self._plot("map", viz.accuracy_map(_runs(shown), by), caption))
        elif by == "pair":
            caption = f"Accuracy within each pair of opposite classes; blind to frame order, at most 50 %.{seeds}"
            drawn.append(self._plot("pairs", viz.pair_accuracy(self.runs), caption))
        elif 1 < len({name for run in self.runs for name in run.row.get("per_class_pct") or {}}) <= 8:
            caption = f"Accuracy on each class.{seeds}"
            drawn.append(self._plot("classes", viz.pair_accuracy(self.runs, by="class"), caption))
        confused = [
            group for group in highest(self.groups, 6) if any(getattr(run, "predictions", None) for run in group.done)
        ]
        if confused:
            caption = "What is taken for what: rows are what a clip shows, columns what the model said, % of the row."
            drawn.append(self._plot("confusion", viz.confusion(confused), caption))
        return drawn

    @property
    def _several(self) -> bool:
        return any(len(group.done) > 1 for group in self.groups)

    def _of_all(self, shown: Sequence[Group]) -> str:
        if len(shown) == len(self.groups):
            return ""
        return f" The {len(shown)} of {len(self.groups)} with the highest test means."

    def _plot(self, name: str, ax: Any, caption: str, wide: bool = True) -> Picture:
        return picture(figure_of(ax), f"{name}-{self.number}", caption, self.folder, wide)


def of_tuning(tuned: Sequence[Tuned], folder: Path) -> list[Picture]:
    """Accuracy over the one number that was tuned, and the best of so many trials; none of what failed altogether."""
    if not any(one.best_of for one in tuned):
        return []
    points = [point for one in tuned for point, _ in one.choice.curve]
    over = ""
    if all(len(point) == 1 and isinstance(point[0][1], (int, float)) and point[0][1] > 0 for point in points):
        over = axis_name(points[0][0][0])
    caption = f"Validation accuracy over the {over}; the large marker is each variant’s choice."
    drawn = [picture(figure_of(viz.tuning(tuned, over)), "tuning", caption, folder)] if over else []
    most = max(one.steps for one in tuned)
    caption = f"The best to expect of so many trials after {most:,} steps, with the band that it lies in: all bands "
    caption += "together with 95 %. Pale lines are the other variants."
    return [*drawn, picture(figure_of(viz.best_of_trials(tuned)), "trials", caption, folder)]


def figure_of(ax: Any) -> Any:
    """The figure that axes stand in."""
    return ax.get_figure(root=True)


def highest(groups: list[Group], most: int) -> list[Group]:
    """The groups with the highest mean accuracies, in the order of the table; for pictures with room for few."""
    if len(groups) <= most:
        return groups
    scored = sorted((group for group in groups if group.top1), key=lambda group: -(group.mean("top1_pct") or 0))
    return [group for group in groups if group in scored[:most]]


def _runs(groups: Sequence[Group]) -> list[Any]:
    return [run for group in groups for run in group.runs]
