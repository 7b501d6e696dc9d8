"""The pictures of a page: inline SVG for it, PNG files for Markdown; and what is drawn of a data set's runs."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab import files, viz
from tps_lab.data import DrawnData, parse, ready
from tps_lab.errors import InputError
from tps_lab.report import tables
from tps_lab.report.budgets import Tuned
from tps_lab.report.comparisons import Comparisons
from tps_lab.results.axes import axis_name, axis_to_draw, lines
from tps_lab.results.groups import Group
from tps_lab.results.paired import Effect, paper_number
from tps_lab.viz.plots import AXES
from tps_lab.viz.style import RC

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES = 12  # variants in one picture of curves
_MOST_DIFFERENCES = 40
_MOST_LINES = 12
_MOST_TASKS = 3
_LARGEST_SVG = 1_000_000  # bytes; a figure of photographs is smaller as one JPEG
_FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_COSTS = ("macs", "training_memory_bytes", "latency_ms", "train_seconds")


@dataclass(frozen=True)
class Picture:
    """A figure in a page.

    Args:
        markup: an <svg> element, or an <img> that holds its data.
        file: its PNG, relative to the page.
        caption: what it shows; user text, to be escaped by the template.
    """

    markup: str
    file: str
    caption: str


def picture(drawn: Axes | Figure, name: str, caption: str, folder: Path) -> Picture:
    """Write `folder`/`name`.png and make the markup for the page; `name` must be used only once."""
    import matplotlib

    figure = drawn.get_figure(root=True)
    assert figure is not None
    with matplotlib.rc_context(RC | {"svg.hashsalt": name}):
        markup = inline_svg(figure, name, caption)
        figure.set_layout_engine("none")  # it is laid out by now, and to do it again takes long
        photographs = len(markup) > _LARGEST_SVG
        if photographs:
            markup = _inline_jpeg(figure, caption)
        _write_png(figure, folder / f"{name}.png", all_colours=photographs)
    return Picture(markup, f"{folder.name}/{name}.png", caption)


def of_tasks(texts: Iterable[str], number: int, folder: Path) -> list[Picture]:
    """Some test clips of drawn data, to show what is asked; none of videos, which may be elsewhere by now.

    Args:
        texts: text forms of data sets that a section holds: one, or several that differ in the length of clips.
        number: of the section on the page.
        folder: for the PNG files.
    """
    shown = []
    for i, text in enumerate(itertools.islice(dict.fromkeys(texts), _MOST_TASKS)):
        try:
            spec = parse(text)
            if not isinstance(spec, DrawnData):
                continue
            few = spec.clips_per_scene  # the test clips are the same whatever else is drawn
            strips = viz.film_strips(ready(replace(spec, train=few, val=few)), rows=min(max(few, 2), 4))
        except InputError:  # a plugin's, or something it is drawn from is not installed
            continue
        another = "; they show the same frames in another order" if few > 1 else ""
        caption = f"What is asked: test clips of {spec}, and their classes{another}."
        shown.append(picture(strips, f"task-{number}" + (f"-{i}" if i else ""), caption, folder))
    return shown


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
            )
            for x in _COSTS
            if (scored & table[x].notna()).any()
        ]

    def differences(self, compared: Comparisons, paper: Mapping[str, Mapping[str, float]]) -> list[Picture]:
        """What was compared, as intervals."""
        pairs = compared.comparable
        if not pairs:
            return []
        gaps = {}
        for pair in pairs:
            own, base = paper_number(pair.group, paper), paper_number(pair.against, paper)
            if own and base:
                gaps[pair.group.label] = float(own) - float(base)
        shown = pairs[:_MOST_DIFFERENCES]
        corrected = f", after a correction for all {len(pairs)} comparisons" if len(pairs) > 1 else ""
        caption = f"Filled: settled{corrected}; hollow: open. Bars: the 95 % interval of each difference by itself."
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

    def _plot(self, name: str, ax: Any, caption: str) -> Picture:
        return picture(ax, f"{name}-{self.number}", caption, self.folder)


def of_tuning(tuned: Sequence[Tuned], folder: Path) -> list[Picture]:
    """Accuracy over the one number that was tuned, and the best of so many trials; none of what failed altogether."""
    if not any(one.best_of for one in tuned):
        return []
    points = [point for one in tuned for point, _ in one.choice.curve]
    over = ""
    if all(len(point) == 1 and isinstance(point[0][1], (int, float)) and point[0][1] > 0 for point in points):
        over = axis_name(points[0][0][0])
    caption = f"Validation accuracy over the {over}; the large marker is each variant’s choice."
    drawn = [picture(viz.tuning(tuned, over), "tuning", caption, folder)] if over else []
    most = max(one.steps for one in tuned)
    caption = f"The best to expect of so many trials after {most:,} steps, with the band that it lies in: all bands "
    caption += "together with 95 %. Pale lines are the other variants."
    return [*drawn, picture(viz.best_of_trials(tuned), "trials", caption, folder)]


def highest(groups: list[Group], most: int) -> list[Group]:
    """The groups with the highest mean accuracies, in the order of the table; for pictures with room for few."""
    if len(groups) <= most:
        return groups
    scored = sorted((group for group in groups if group.top1), key=lambda group: -(group.mean("top1_pct") or 0))
    return [group for group in groups if group in scored[:most]]


def _runs(groups: Sequence[Group]) -> list[Any]:
    return [run for group in groups for run in group.runs]


# ---------------------------------------------------------------------- files and markup


_WIDE = 760  # pixels: what is wider has text that a phone would make too small to read, and scrolls there


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an <svg> element that can stand beside others: all its ids begin with `name`."""
    from matplotlib import rcParams
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written = io.StringIO()  # drawn once; `savefig` draws whatever has a layout twice
    figure.set_dpi(rcParams["savefig.dpi"])  # of maps of colours inside
    FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # a style sheet inside an inlined SVG would reach the whole page; the page has these two rules
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="(of-\w+)"', r'data-of="\1"', svg)  # many artists may show one variant
    svg = re.sub(r"""(\bid=")([^"]+)""", rf"\g<1>{name}-\g<2>", svg)
    svg = re.sub(r"""(url\(#|href="#)""", rf"\g<1>{name}-", svg)
    svg = re.sub(r"'?DejaVu Sans'?(, *sans-serif)?", _FONTS, svg)
    width = figure.get_figwidth() * 96
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening is not None
    box = re.search(r'viewBox="[^"]*"', opening[0])
    wide = " wide" if width > _WIDE else ""
    new = (
        f'<svg class="plot{wide}" role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" {box[0] if box else ""} style="max-width:{width:.0f}px">'
    )
    return new + svg[opening.end() :].rstrip()


def _write_png(figure: Figure, file: Path, all_colours: bool) -> None:
    """With 256 colours, which are enough for lines and text, a third of the size: reports live in repositories."""
    from matplotlib import rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(rcParams["savefig.dpi"])  # to write SVG made it 72
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with files.whole(file, to_disk=False) as half:
        (drawn if all_colours else drawn.quantize(256, dither=Image.Dither.NONE)).save(half)


def _inline_jpeg(figure: Figure, title: str) -> str:
    written = io.BytesIO()
    figure.savefig(written, format="jpeg", dpi=168, pil_kwargs={"quality": 88})
    data = base64.b64encode(written.getvalue()).decode()
    width = figure.get_figwidth() * 96
    return (
        f'<img class="plot" alt="{escape(title)}" src="data:image/jpeg;base64,{data}" style="max-width:{width:.0f}px">'
    )
