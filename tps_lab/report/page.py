"""One page that answers a question with its runs: HTML for people, Markdown for a repository, CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import viz
from tps_lab.ablate.proofs import Confronted, confront
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern
from tps_lab.report import answer as words
from tps_lab.report import cells, facts, latex, method, paired, tables, time_use, views
from tps_lab.report.figures import Picture, picture
from tps_lab.viz.groups import SETTINGS, Group, Run, by_data, group_runs, setting_text
from tps_lab.viz.plots import AXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CURVES = 12  # variants in one picture of curves
_COSTS = ("macs", "training_memory_bytes", "latency_ms", "train_seconds")


@dataclass
class Section:
    """All that a report shows of the runs on one data set."""

    data: str
    answer: str
    remarks: list[str]
    setting: str
    results: cells.Results
    tradeoffs: list[Picture]
    curves: list[Picture]
    pairs: list[Picture]
    compared: list[paired.Pair] = field(default_factory=list)
    effects: list[paired.Effect] = field(default_factory=list)
    paper: dict[str, str] = field(default_factory=dict)  # a group's label → the paper's top-1
    described: list[facts.Described] = field(default_factory=list)
    proofs: list[Confronted] = field(default_factory=list)
    views: list[views.Viewed] = field(default_factory=list)


@dataclass(frozen=True)
class Built:
    """A report that was written.

    Args:
        page: its `index.html`.
        answers: data set → the one sentence about it.
        proofs: ceilings that were proved before training, beside what came out.
    """

    page: Path
    answers: dict[str, str]
    proofs: list[Confronted]


def build(runs: Iterable[Run], out_dir: Path | str, *args: Any, **said: Any) -> Path:
    """As `write`, which documents the arguments; returns the path of `index.html`."""
    return write(runs, out_dir, *args, **said).page


def write(
    runs: Iterable[Run],
    out_dir: Path | str,
    title: str = "Attention variants compared",
    command: str = "",
    extra_figures: Sequence[tuple[str, Figure]] = (),
    question: str = "",
    baseline: str | None = None,
    paper: Mapping[str, Mapping[str, float]] | None = None,
    paper_source: str = "",
    remake: str = "",
) -> Built:
    """Write `index.html`, `report.md` with `figures/`, `results.csv` and `results.tex` into `out_dir`.

    `index.html` is one file that needs nothing else, no network either.

    Args:
        runs: as read by `tps_lab.runs`; finished ones, and also failed and interrupted ones.
        out_dir: made if it is missing; files of an earlier report there are replaced.
        title: the page's heading.
        command: what makes this report again, shown in it.
        extra_figures: captions and figures for a section of their own.
        question: what the runs should answer, in a sentence.
        baseline: label or case that all others are compared with; None takes spatial attention, or
            the first.
        paper: a paper's numbers to stand beside ours: label, case, variant or pattern → measure →
            number.
        paper_source: which table of which paper that is, and on what data.
        remake: the command that makes a run again, if it is no `tps-lab train`.

    Raises:
        InputError: there are no runs.

    >>> write(runs, "reports/patterns", title="Which pattern?").page  # doctest: +SKIP
    """
    runs = list(runs)
    if not runs:
        raise InputError("no runs to report on")
    out = Path(out_dir)
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    groups = group_runs(runs)
    if baseline is not None:
        paired.baseline_of(groups, baseline)
    members = [group_runs(run for group in by for run in group.runs) for by in by_data(groups).values()]
    sections = [
        _section(data, by, number, figures, baseline, paper or {})
        for number, (data, by) in enumerate(zip(by_data(groups), members, strict=True), 1)
    ]
    content = {
        "title": title,
        "question": question,
        "paper_source": paper_source,
        "command": command,
        "count": len(runs),
        "sections": sections,
        "mosaics": _mosaics(groups, figures),
        "extra": [
            picture(fig, f"extra-{i}", caption, figures)
            for i, (caption, fig) in enumerate([*time_use.pictures(runs), *extra_figures], 1)
        ],
        "measured": method.measured(groups),
        "groups": groups,
        "remake": remake,
        "top1": lambda run: run.row.get("top1_pct") if run.row.get("status") == "done" else None,
    }
    tables.write_csv(runs, out / "results.csv")
    written = [latex.latex_table(by, s.compared, paper or {}, command) for s, by in zip(sections, members, strict=True)]
    (out / "results.tex").write_text("\n".join(written), encoding="utf-8")
    for template, file in (("report.md.j2", "report.md"), ("report.html.j2", "index.html")):
        (out / file).write_text(render(template, content), encoding="utf-8")
    answers = {section.data: section.answer for section in sections}
    return Built(out / "index.html", answers, [proof for section in sections for proof in section.proofs])


def _section(
    data: str,
    groups: list[Group],
    number: int,
    figures: Path,
    baseline: str | None,
    paper: Mapping[str, Mapping[str, float]],
) -> Section:
    runs = [run for group in groups for run in group.runs]
    table = tables.table(runs)

    def plot(name: str, ax: Any, caption: str, wide: bool = True) -> Picture:
        return picture(ax.get_figure(root=True), f"{name}-{number}", caption, figures, wide)

    scored = table["top1_pct"].notna()
    tradeoffs = [
        plot(
            x.split("_")[0] if x != "train_seconds" else "time",
            viz.tradeoff(table, x),
            f"Accuracy against {AXES[x][0].lower()}.",
            False,
        )
        for x in _COSTS
        if (scored & table[x].notna()).any()
    ]
    curves, pairs = [], []
    several = any(len(group.done) > 1 for group in groups)
    seeds = " The marker is the mean, ticks are seeds." if several else ""
    if any(line.get("split") == "val" and line.get("top1_pct") is not None for run in runs for line in run.metrics):
        caption = "Validation accuracy while training." + (" Pale lines are single seeds." if several else "")
        drawn = _highest(groups, _MOST_CURVES)
        if len(drawn) < len(groups):
            caption += f" The {len(drawn)} of {len(groups)} with the highest test means."
        curves.append(plot("curves", viz.learning_curves([run for group in drawn for run in group.runs]), caption))
    by = "pair" if any(run.row.get("per_pair_pct") for run in runs) else "class"
    if len(groups) > _MOST_CURVES:
        if any(run.row.get(f"per_{by}_pct") for run in runs):
            drawn = _highest(groups, 40)
            of = "within each pair of opposite classes" if by == "pair" else "on each class"
            caption = f"Accuracy {of} (%), means over the seeds."
            if len(drawn) < len(groups):
                caption += f" The {len(drawn)} of {len(groups)} with the highest test means."
            pairs.append(plot("map", viz.accuracy_map([run for group in drawn for run in group.runs], by), caption))
    elif by == "pair":
        caption = f"Accuracy within each pair of opposite classes; blind to frame order, at most 50 %.{seeds}"
        pairs.append(plot("pairs", viz.pair_accuracy(runs), caption))
    elif 1 < len({name for run in runs for name in run.row.get("per_class_pct") or {}}) <= 8:
        pairs.append(plot("classes", viz.pair_accuracy(runs, by="class"), f"Accuracy on each class.{seeds}"))
    confused = [group for group in _highest(groups, 6) if any(getattr(r, "predictions", None) for r in group.done)]
    if confused:
        caption = "What is taken for what: rows are what a clip shows, columns what the model said, % of the row."
        pairs.append(plot("confusion", viz.confusion(confused), caption))
    # a baseline that has not run is none yet
    here = baseline if any(baseline in paired.names_of(group) for group in groups if group.done) else None
    ranking = words.Ranking(groups)
    proofs = confront([{**run.row, "group": group.label} for group in groups for run in group.runs], "group")
    return Section(
        data,
        words.answer(groups, ranking, paired.baseline_of(groups, here) if here else None),
        [*proofs_said(proofs), *words.remarks(groups, ranking)],
        _shared_setting(groups),
        cells.results(groups),
        tradeoffs,
        curves,
        pairs,
        paired.paired(groups, here) if len(groups) > 1 else [],
        paired.effects(groups),
        {group.label: text for group in groups if (text := latex.paper_number(group, paper))},
        facts.described(_highest(groups, _MOST_CURVES)),
        proofs,
        views.viewed(groups),
    )


def proofs_said(proofs: Sequence[Confronted]) -> list[str]:
    """What became of the ceilings that were proved, in a sentence."""
    if not proofs:
        return []
    broken = [proof for proof in proofs if not proof.kept]
    if broken:
        named = words.listed(
            [f"{proof.name} ({proof.highest_pct:.1f} % where {proof.ceiling_pct:.1f} % was proved)" for proof in broken]
        )
        return [f"A proved ceiling was passed, so the proof or the measurement is wrong: {named}."]
    runs = sum(proof.runs for proof in proofs)
    return [f"Of {runs} run{'s' if runs != 1 else ''} with a ceiling proved before training, none passed it."]


def _highest(groups: list[Group], most: int) -> list[Group]:
    """The groups with the highest mean accuracies, in the order of the table; for pictures with room for few."""
    if len(groups) <= most:
        return groups
    scored = sorted((group for group in groups if group.top1), key=lambda group: -(group.mean("top1_pct") or 0))
    return [group for group in groups if group in scored[:most]]


def _shared_setting(groups: Sequence[Group]) -> str:
    """The settings that all groups of a table have in common, as one line."""
    phrases = []
    for key in SETTINGS:
        found = {setting_text(group.first, key) for group in groups if group.first.get(key) is not None}
        if len(found) == 1 and not (key == "tubelet" and groups[0].first.get(key) == 1):
            phrases.append(found.pop())
    return ", ".join(phrases)


def _mosaics(groups: Sequence[Group], figures: Path) -> list[tuple[ShiftPattern, Picture]]:
    """A picture of every pattern that some run uses."""
    used = dict.fromkeys(pattern for group in groups if (pattern := facts.pattern_of(group)) is not None)
    shown = []
    for number, pattern in enumerate(used, 1):
        axes = viz.mosaic(pattern)
        axes.set_title("", loc="left")  # the caption says it
        figure = axes.get_figure(root=True)
        assert figure is not None
        note = f" {pattern.note[0].upper()}{pattern.note[1:]}." if pattern.note else ""
        caption = f"{note} {facts.pattern_text(pattern).capitalize()}.".strip()
        shown.append((pattern, picture(figure, f"mosaic-{number}", caption, figures, wide=False)))
    return shown


def said_about(grid: Mapping[str, Any]) -> dict[str, Any]:
    """What a grid file says that a report shows, as arguments of `build`."""
    found = {key: grid[key] for key in ("title", "question", "baseline") if grid.get(key)}
    if isinstance(grid.get("paper"), Mapping):
        found |= {"paper": grid["paper"].get("numbers") or {}, "paper_source": str(grid["paper"].get("source") or "")}
    return found


def render(template: str, content: dict[str, Any]) -> str:
    """A template of this package as text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tps_lab.report"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["md"] = markdown
    environment.filters["tied"] = tied
    environment.filters["p"] = p_text
    environment.filters["ranges"] = lambda text: tied(text).replace(" ", "\u00a0").replace(",\u00a0", ", ")
    return environment.get_template(template).render(content)


def p_text(p: float) -> str:
    """A p value as people write it."""
    if p != p:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def tied(text: str) -> str:
    """Text whose ranges and percentages do not break over two lines."""
    text = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)
    return re.sub(r"(?<=\d) (?=(%|M|G|×)(\W|$))", "\u00a0", text)


def markdown(text: object) -> str:
    """Text that Markdown prints as it is, also inside a table."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]|#~" else sign for sign in str(text))
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
