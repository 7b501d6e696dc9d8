"""What tuning found: accuracy over the value that was tuned, and the best of so many trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import curve, looks, new_axes, nothing, panels, points, styled, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tps_lab.report.budgets import Tuned


@styled
def tuning(tuned: Sequence[Tuned], name: str = "") -> Axes:
    """Validation accuracy over what was tuned, a line for each case and a panel for each budget of steps.

    The large marker is the choice. Cases whose trials all failed are left out.

    Args:
        tuned: of one grid, with one number tuned (a learning rate).
        name: of what was tuned.

    >>> ax = viz.tuning(tps_lab.report.budgets.tuned(trials), "learning rate")  # doctest: +SKIP
    """
    budgets = list(dict.fromkeys(one.steps for one in tuned))
    if not any(mean is not None for one in tuned for _, mean in one.choice.curve):
        return nothing(new_axes(), "no trial ended well")
    drawn = _panels(len(budgets))
    for axes, steps in zip(drawn, budgets, strict=True):
        at = [one for one in tuned if one.steps == steps]
        for one, used in zip(at, looks(one.attention for one in at), strict=True):
            spots = [(point[0][1], mean) for point, mean in one.choice.curve if mean is not None]
            label, gid = in_legend(wrap(one.case, 28)), tag(one.case)
            line = curve(used, 3.5, used.colour) | {"linewidth": 1.4, "label": label, "gid": gid}
            axes.plot([x for x, _ in spots], [y for _, y in spots], **line)
            for x, y in spots:
                if one.choice.values and x in one.choice.values.values():
                    axes.plot(x, y, **points(used, 8.5), gid=gid)
        axes.set_xscale("log")
        values = sorted({point[0][1] for one in at for point, _ in one.choice.curve})
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(name)
        axes.set_title(f"{steps:,} steps")
    _finish(drawn, "validation top-1 (%)")
    return drawn[0]


@styled
def best_of_trials(tuned: Sequence[Tuned]) -> Axes:
    """The best validation accuracy to expect of so many trials: a panel for each case, with its exact band.

    Pale lines are the other cases on its data set.

    Args:
        tuned: of one grid; those of the largest budget of steps are drawn.

    >>> ax = viz.best_of_trials(tps_lab.report.budgets.tuned(trials))  # doctest: +SKIP
    """
    steps = max((one.steps for one in tuned), default=0)
    at = [one for one in tuned if one.steps == steps and one.best_of]
    if not at:
        return nothing(new_axes(), "no trial ended well")
    drawn = _panels(len(at), height=2.3)
    for axes, one, used in zip(drawn, at, looks(one.attention for one in at), strict=True):
        for other in (other for other in at if other.data == one.data):
            axes.plot(list(other.best_of), [best.mean for best in other.best_of.values()], color="#c9c9c9", linewidth=1)
        trials, best = list(one.best_of), list(one.best_of.values())
        axes.fill_between(
            trials, [b.low for b in best], [b.high for b in best], color=used.colour, alpha=0.15, linewidth=0
        )
        axes.plot(trials, [b.mean for b in best], **curve(used, 5))
        axes.set_title(wrap(one.case, 24))
        axes.set_xticks(trials)
        axes.set_ylim(0, 102)
    for axes in drawn:
        axes.set_xlabel("trials")
    _finish(drawn, "best of them (%)", legend=False)
    return drawn[0]


# ---------------------------------------------------------------------- parts


def _panels(count: int, height: float = 3.4) -> list[Axes]:
    """Panels of one height of values, up to four in a row."""
    columns = min(count, 4)
    rows = -(-count // columns)
    found = panels(rows, columns, (max(2.6 * columns + 0.6, 6.4), height * rows), sharey=True).ravel()
    for spare in found[count:]:
        spare.set_visible(False)
    return list(found[:count])


def _finish(drawn: Sequence[Axes], name: str, legend: bool = True) -> None:
    """Names of the values, and a legend below all panels, by which the figure grows."""
    for axes in drawn:
        if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(name)
    if not legend:
        return
    handles, names = drawn[0].get_legend_handles_labels()
    figure = drawn[0].get_figure(root=True)
    assert figure is not None
    lines = [line for name in names for line in name.split("\n")]
    fits = int(figure.get_figwidth() / (0.6 + 0.085 * max(map(len, lines))))
    columns = max(min(fits, 4), 1)
    # a line is 0.17 inches high, with what is between
    figure.set_figheight(figure.get_figheight() + 0.17 * len(lines) / columns + 0.1)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=8.5)
