"""What models answer: accuracy by class or pair and with frames rearranged, and what is taken for what."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import unknown
from tps_lab.results.groups import Group, RunLike, figure, group_runs
from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import (
    CEILING,
    CEILING_LINE,
    INK,
    QUIET,
    RULE,
    looks,
    new_axes,
    nothing,
    panels,
    points,
    styled,
    tag,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def pair_accuracy(runs: Iterable[RunLike], ax: Axes | None = None, by: str = "pair") -> Axes:
    """Test accuracy within each pair of opposite classes: one column a pair, one line a variant.

    Small dots are seeds, the marker is their mean. A model that is blind to the order of frames
    cannot pass the 50 % line, because one of a pair is the other played backwards.

    Args:
        runs: finished and other runs; those without figures are left out.
        by: "pair", or "class" for the accuracy of every class.

    >>> ax = viz.pair_accuracy(runs)  # doctest: +SKIP
    """
    everyone = group_runs(runs)
    pairs = _names(everyone, by)
    shown = [
        (group, used)
        for group, used in zip(everyone, looks(group.attention for group in everyone), strict=True)
        if _names([group], by)
    ]
    labels = [wrap(group.label, 32) for group, _ in shown]
    rows = _row_places(labels)
    ax = ax or new_axes(11.1, 0.9 + 0.34 * (rows[-1] + 1 if rows else 3))
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    if not shown:
        return nothing(ax, f"no run recorded its accuracy by {by}")
    wide = 1.28  # of a column, whose panel is 1 wide
    for column, name in enumerate(pairs):
        left = column * wide
        ax.plot([left, left + 1], [-0.7, -0.7], color="#9a9a9a", linewidth=0.8, clip_on=False)
        if by == "pair":
            ax.plot([left + 0.5] * 2, [-0.7, rows[-1] + 0.6], **CEILING_LINE)
        for tick in (0, 0.5, 1):
            ax.text(left + tick, rows[-1] + 1.0, f"{100 * tick:.0f}", ha="center", va="center", fontsize=8, color=QUIET)
        ax.text(left + 0.5, -1.0, wrap(name, 18), ha="center", va="bottom", fontsize=8.5, linespacing=1.1)
        for place, (group, used) in zip(rows, shown, strict=True):
            ax.plot([left, left + 1], [place, place], color=RULE, linewidth=0.8, zorder=0)
            seeds = [left + value / 100 for value in _seeds(group, by, name)]
            if not seeds:
                continue
            gid = tag(group.label)
            if len(seeds) > 1:
                ax.plot(seeds, [place] * len(seeds), "|", color=used.colour, markersize=9, gid=gid)
            ax.plot(statistics.fmean(seeds), place, **points(used, 7), markeredgewidth=0.6, gid=gid)
    ax.set_yticks(rows, labels, fontsize=8.5, color=INK)
    for label, (group, _) in zip(ax.get_yticklabels(), shown, strict=True):
        label.set_gid(tag(group.label))
    ax.set_xticks([])
    ax.set_xlabel("Test accuracy within the pair (%)" if by == "pair" else "Test accuracy (%)")
    ax.set_xlim(-0.06, (len(pairs) - 1) * wide + 1.06)
    # the names above the columns stand on negative rows
    ax.set_ylim(rows[-1] + 1.4, -1.4 - 0.42 * max(wrap(name, 18).count("\n") + 1 for name in pairs))
    return ax


@styled
def accuracy_map(runs: Iterable[RunLike], by: str = "pair", ax: Axes | None = None) -> Axes:
    """Test accuracy (%) of every variant, a row, on every class or pair of opposites, a column; means over seeds.

    >>> ax = viz.accuracy_map(runs)  # doctest: +SKIP
    """
    everyone = group_runs(runs)
    names = _names(everyone, by)
    if not names:
        return nothing(ax or new_axes(), f"no run recorded its accuracy by {by}")
    groups = [group for group in everyone if _names([group], by)]
    found = [[_seeds(group, by, name) for name in names] for group in groups]
    values = np.array([[statistics.fmean(seeds) if seeds else np.nan for seeds in row] for row in found])
    ax = ax or new_axes(min(11.1, 3.2 + 0.95 * len(names)), 1.1 + 0.27 * len(groups))
    _fill(ax, values, [group.label for group in groups], names, 100)
    return ax


@styled
def confusion(groups: Sequence[Group], columns: int = 3) -> Axes:
    """What each variant takes for what: one panel a variant, rows what it is, columns what it said, % of the row.

    A class without a test clip is an empty row that says so.
    Pairs of opposite classes are outlined: what lies beside the diagonal inside of an outline was
    taken for its own reversal.

    Args:
        groups: of `viz.group_runs(runs)`; runs without recorded answers are left out.
        columns: panels in a row.

    Returns:
        The last panel's axes; all are on its figure.

    >>> ax = viz.confusion(viz.group_runs(runs))  # doctest: +SKIP
    """
    shown = [(group, matrix) for group in groups if (matrix := _confusions(group)) is not None]
    if not shown:
        return nothing(new_axes(), "answers to single clips were not recorded")
    columns = min(columns, len(shown))
    rows, size = -(-len(shown) // columns), 3.7
    drawn = panels(rows, columns, (size * columns, (size + 0.35) * rows))
    for panel in drawn.flat[len(shown) :]:
        panel.set_axis_off()
    for index, (panel, (group, matrix)) in enumerate(zip(drawn.flat, shown, strict=False)):
        known = group.first.get("classes") or group.first.get("per_class_pct") or range(len(matrix))
        names = [str(name) for name in known][: len(matrix)] or [str(i) for i in range(len(matrix))]
        _fill(panel, matrix, names if index % columns == 0 else [""] * len(names), names, 100, small=len(names) > 6)
        for place in _opposites(group, names):
            low, high = min(place) - 0.48, max(place) + 0.48
            panel.plot([low, high, high, low, low], [low, low, high, high, low], color=CEILING, linewidth=1.1)
        panel.set_title(wrap(group.label, 34), fontsize=9.5)
    last: Axes = drawn.flat[len(shown) - 1]
    return last


@styled
def time_use(named: Mapping[str, Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Test accuracy under each rearrangement of `tps_lab.measure.time_use`, one marker a model.

    Args:
        named: a model's label → its `facts`.

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
        ax.plot(*zip(*shown, strict=True), **points(look, 6, look.colour), label=in_legend(wrap(label, 40)))
        for x, y in shown:
            ax.annotate(
                f"{x:.0f}", (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=QUIET
            )
    limits = {(found["chance_pct"], found["ceiling_pct"]) for found in named.values()}
    if len(limits) == 1:
        chance, ceiling = limits.pop()
        ax.axvline(chance, color=QUIET, linewidth=0.9, linestyle=(0, (1.5, 1.5)), label="chance")
        if ceiling is not None and ceiling != chance:
            ax.axvline(ceiling, **CEILING_LINE, label="order-blind ceiling")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_xlim(0, 106)
    ax.set_xlabel("test accuracy, %")
    ax.grid(False, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


# ---------------------------------------------------------------------- parts


def _names(groups: Sequence[Group], by: str) -> list[str]:
    """Of the classes, or pairs of opposites, that runs recorded their accuracy on."""
    if by not in ("pair", "class"):
        raise unknown("grouping", by, ("pair", "class"))
    found = (run.row.get(f"per_{by}_pct") or {} for group in groups for run in group.done)
    return list(dict.fromkeys(name for one in found for name in one))


def _seeds(group: Group, by: str, name: str) -> list[float]:
    """Accuracies of its runs on one class or pair."""
    found = (figure({"it": (run.row.get(f"per_{by}_pct") or {}).get(name)}, "it") for run in group.done)
    return [value for value in found if value is not None]


def _row_places(labels: Sequence[str]) -> list[float]:
    """Where the lines of a chart stand, so that labels of several lines have room."""
    places, below = [], 0.0
    for label in labels:
        room = max(1.0, 0.62 * (label.count("\n") + 1))
        places.append(below + (room - 1) / 2)
        below += room
    return places


def _fill(
    ax: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], most: float, small: bool = False
) -> None:
    ax.grid(False)
    ax.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=most * 1.15, aspect="auto")
    for i in map(int, np.flatnonzero(np.isnan(values).all(1))):
        ax.axhspan(i - 0.5, i + 0.5, facecolor="none", edgecolor=RULE, hatch="////", linewidth=0)
        if values.size <= 700:
            ax.text((len(columns) - 1) / 2, i, "no test clips", ha="center", va="center", fontsize=6.5, color=QUIET,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
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


def _confusions(group: Group) -> np.ndarray | None:
    """Share of each class's clips (a row, %) that were called what (columns), over all seeds; NaN of no clips."""
    answers = [found for run in group.done if (found := getattr(run, "predictions", None)) is not None]
    if not answers:
        return None
    classes = max(int(max(said.max(), right.max())) for said, right in answers) + 1
    classes = max(classes, len(group.first.get("classes") or ()))
    counts = np.zeros((classes, classes))
    for said, right in answers:
        np.add.at(counts, (right, said), 1)
    clips = counts.sum(1, keepdims=True)
    shares: np.ndarray = 100 * counts / np.where(clips, clips, np.nan)
    return shares
