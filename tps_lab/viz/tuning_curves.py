"""What tuning found: accuracy over the value that was tuned, and the best of so many trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import insets, looks, new_axes, nothing, styled, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class TunedCase(Protocol):
    """A case at a budget (`tps_lab.report.budgets.tuned`)."""

    @property
    def case(self) -> str: ...
    @property
    def attention(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def choice(self) -> Any: ...
    @property
    def best_of(self) -> Any: ...


@styled
def tuning(tuned: Sequence[TunedCase], name: str = "", ax: Axes | None = None) -> Axes:
    """Validation accuracy over what was tuned, a line for each case and a panel for each budget of steps.

    The large marker is the choice. Cases whose trials all failed are left out.

    Args:
        tuned: of one grid, with one number tuned (a learning rate).
        name: of what was tuned.
        ax: where to draw; None makes a figure.

    >>> ax = viz.tuning(tps_lab.report.budgets.tuned(trials), "learning rate")  # doctest: +SKIP
    """
    budgets = list(dict.fromkeys(one.steps for one in tuned))
    drawn = [one for one in tuned if any(mean is not None for _, mean in one.choice.curve)]
    if not drawn:
        return nothing(ax or new_axes(), "no trial ended well")
    panels = _panels(ax, len(budgets))
    for axes, steps in zip(panels, budgets, strict=True):
        at = [one for one in tuned if one.steps == steps]
        for one, used in zip(at, looks(one.attention for one in at), strict=True):
            spots = [(point[0][1], mean) for point, mean in one.choice.curve if mean is not None]
            axes.plot(
                [x for x, _ in spots], [y for _, y in spots], color=used.colour, linestyle=used.line, linewidth=1.4,
                marker=used.marker, markersize=used.marker_size(3.5), label=in_legend(wrap(one.case, 28)),
                gid=tag(one.case),
            )  # fmt: skip
            chosen = [spot for spot in spots if one.choice.values and spot[0] in one.choice.values.values()]
            for x, y in chosen:
                axes.plot(
                    x, y, used.marker, color=used.colour, markersize=used.marker_size(8.5), markeredgecolor="white",
                    gid=tag(one.case),
                )  # fmt: skip
        axes.set_xscale("log")
        values = sorted({point[0][1] for one in at for point, _ in one.choice.curve})
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(name)
        axes.set_title(f"{steps:,} steps")
    _finish(panels, "validation top-1 (%)")
    return panels[0]


@styled
def best_of_trials(tuned: Sequence[TunedCase], ax: Axes | None = None) -> Axes:
    """The best validation accuracy to expect of so many trials: a panel for each case, with its exact band.

    Pale lines are the other cases.

    Args:
        tuned: of one grid; those of the largest budget of steps are drawn.
        ax: where to draw; None makes a figure.

    >>> ax = viz.best_of_trials(tps_lab.report.budgets.tuned(trials))  # doctest: +SKIP
    """
    steps = max((one.steps for one in tuned), default=0)
    at = [one for one in tuned if one.steps == steps and one.best_of]
    if not at:
        return nothing(ax or new_axes(), "no trial ended well")
    panels = _panels(ax, len(at), height=2.3)
    for axes, one, used in zip(panels, at, looks(one.attention for one in at), strict=True):
        for other in at:
            axes.plot(list(other.best_of), [best.mean for best in other.best_of.values()], color="#c9c9c9", linewidth=1)
        trials, best = list(one.best_of), list(one.best_of.values())
        axes.fill_between(
            trials, [b.low for b in best], [b.high for b in best], color=used.colour, alpha=0.15, linewidth=0
        )
        axes.plot(
            trials, [b.mean for b in best], color=used.colour, linestyle=used.line, marker=used.marker,
            markersize=used.marker_size(5), markeredgecolor="white",
        )  # fmt: skip
        axes.set_title(wrap(one.case, 24))
        axes.set_xticks(trials)
        axes.set_ylim(0, 102)
    for axes in panels:
        axes.set_xlabel("trials")
    _finish(panels, "best of them (%)", legend=False)
    return panels[0]


# ---------------------------------------------------------------------- parts


def _panels(ax: Axes | None, count: int, height: float = 3.4) -> list[Axes]:
    """Panels of one height of values, up to four in a row."""
    from matplotlib.figure import Figure

    if ax is not None:
        return list(insets(ax, 1, count, gap=0.1)[0])
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(2.6 * columns + 0.6, 6.4), height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for spare in panels.ravel()[count:]:
        spare.set_visible(False)
    return list(panels.ravel()[:count])


def _finish(panels: Sequence[Axes], name: str, legend: bool = True) -> None:
    for axes in panels:
        if axes.get_subplotspec() is None or axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(name)
    if legend:
        handles, names = panels[0].get_legend_handles_labels()
        figure = panels[0].get_figure(root=True)
        assert figure is not None
        fits = int(figure.get_figwidth() / (0.6 + 0.085 * max(map(len, names))))
        figure.legend(handles, names, loc="outside lower center", ncols=max(min(fits, 4), 1), fontsize=8.5)
