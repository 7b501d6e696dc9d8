"""One page that answers a question with its runs: HTML for people, Markdown for a repository, CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import files, viz
from tps_lab.ablate.record import Confronted, confront
from tps_lab.errors import InputError, unknown
from tps_lab.patterns import ShiftPattern
from tps_lab.report import answer as words
from tps_lab.report import comparisons, equal, evaluations, facts, render, results_table, tables
from tps_lab.report.about import About
from tps_lab.report.cards import Card
from tps_lab.report.pictures import MOST_CURVES, Picture, Pictures, highest, of_tasks, of_tuning, picture
from tps_lab.results import archive, orders, paired
from tps_lab.results.aggregate import Aggregate, aggregates
from tps_lab.results.axes import beside, data_names
from tps_lab.results.groups import SETTINGS, As, Group, RunLike, by_data, group_runs, setting, setting_text
from tps_lab.text import as_text, counted, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# what somebody parses: a cut in it would make it another's
_PARSED = ("attention", "pattern", "data")


@dataclass
class Section:
    """All that a report shows of the runs on one data set."""

    data: str
    groups: list[Group]
    answer: words.Answer
    task: list[Picture]
    unequal: list[str]
    remarks: list[str]
    setting: str
    results: results_table.Results
    tradeoffs: list[Picture]
    learning: list[Picture]
    compared: comparisons.Comparisons
    budgets: list[str]  # each in words: "300 steps"
    at_budgets: list[tuple[str, list[paired.Pair | None]]]  # a comparison, and what it is at each of them
    differences: list[Picture]
    effects: list[paired.Effect]
    along: list[Picture]
    paper: dict[str, str]  # a group's label → the paper's top-1
    described: list[facts.Described]
    proofs: list[Confronted]
    views: list[evaluations.Viewed]


def build(
    runs: Iterable[RunLike],
    out_dir: Path | str,
    about: About | None = None,
    *,
    extra_figures: Sequence[tuple[str, Axes | Figure]] = (),
    force: bool = False,
    kept: bytes | None = None,
    cells: tuple[int, int, int] | None = None,
    **said: Any,
) -> Path:
    """Write `index.html`, `report.md` with `figures/`, `results.csv`, `results.tex`, and the runs' archive.

    `index.html` is one file that needs nothing else, no network either; from the archive
    (`results.archive`) the same page can be made again, and overviews read `summary.json` (`report.cards`).

    Args:
        runs: as read by `results.runs`; finished ones, and also failed and interrupted ones.
        out_dir: made if it is missing; files of an earlier report there are replaced.
        about: title, question, what is compared with what; or its fields as arguments of their own.
        extra_figures: captions and figures for a section of their own.
        force: replace files there that no report wrote, too.
        kept: the archive, if it holds more than these runs.
        cells: how many are done, failed and missing, if there are more than these runs.

    Returns:
        The path of `index.html`.

    Raises:
        InputError: there are no runs, or none that `about` names, or the folder is somebody else's.
        OSError: the folder cannot be written.

    >>> build(runs, "reports/patterns", title="Which pattern?", baseline="Spatial")  # doctest: +SKIP
    """
    about = about or About(**said)
    given = list(runs)
    if not given:
        raise InputError("no runs to report on")
    out = Path(out_dir)
    render.check(out, force)
    runs = [As(run, as_text(run.row, _PARSED), as_text(run.environment)) for run in given]
    if not about.overview and render.is_ours(out.parent / "index.html"):
        about = replace(about, overview="../index.html")
    about = replace(
        about,
        **as_text({key: getattr(about, key) for key in ("title", "question", "command", "remake", "paper_source")}),
    )
    groups = group_runs(runs)
    _check(about, groups)
    out.mkdir(parents=True, exist_ok=True)
    figures = files.folder(out / "figures")
    by = by_data(groups)
    called = _called(by.values())
    members = [_as_called(of_data, called) for of_data in by.values()]
    elsewhere = orders.same_order(groups, about.compare, about.across) if about.compare and about.across else []
    sections = [
        _section(data, of_data, number, figures, about, elsewhere if len(by) == 1 else [])
        for number, (data, of_data) in enumerate(zip(data_names(by), members, strict=True), 1)
    ]
    sections[0].remarks[:0] = [text] if (text := words.carries_over(elsewhere)) else []
    overall = _overall(groups, figures)
    content = {
        "about": about,
        "count": len(runs),
        "sections": sections,
        "overall": overall,
        "elsewhere": elsewhere,
        "tuning": of_tuning(about.budgets.tuned, figures),
        "mosaics": _mosaics(groups, figures),
        "extra": [
            picture(fig, f"extra-{i}", caption, figures)
            for i, (caption, fig) in enumerate([*evaluations.rearranged(runs), *extra_figures], 1)
        ],
        "meanings": facts.meanings([group for of_data in members for group in of_data]),
        "measured": facts.measured(groups),
        "groups": groups,
        "called": called,
        "chips": list({row.label: row for section in sections for row in section.results.rows}.values()),
        "top1": lambda run: run.row.get("top1_pct") if run.row.get("status") == "done" else None,
    }
    tables.write_csv(runs, out / "results.csv")
    files.write_whole(out / archive.FILE, archive.pack(given) if kept is None else kept)
    latexes = [tables.latex_table(s.groups, s.compared, about.paper, about.command) for s in sections]
    files.write_whole(out / "results.tex", "\n".join(latexes))
    files.write_whole(out / "report.md", render.render("report.md.j2", content))
    files.write_whole(out / "index.html", _with_contents(render.render("report.html.j2", content)))
    _card(about, sections, overall, cells or _counted(runs), out).write(out)
    return out / "index.html"


def _card(
    about: About, sections: Sequence[Section], overall: Overall | None, cells: tuple[int, int, int], out: Path
) -> Card:
    pictures = [overall.picture] if overall else []
    pictures += [picture for section in sections for picture in section.differences]
    pictures += [picture for section in sections for picture in (*section.along, *section.tradeoffs, *section.learning)]
    return Card(
        about.title,
        about.question,
        {"" if len(sections) == 1 else section.data: section.answer.text for section in sections},
        _sure(sections),
        _basis(about, sections),
        pictures[0].file if pictures else "",
        "".join(proofs_said([proof for section in sections for proof in section.proofs])),
        *cells,
        sum(group.top1 is not None for section in sections for group in section.groups),
        folder=out,
    )


def _counted(runs: Sequence[RunLike]) -> tuple[int, int, int]:
    """How many are done, failed and missing."""
    found = [run.row.get("status") for run in runs]
    done, missing = found.count("done"), found.count("missing")
    return done, len(found) - done - missing, missing


def _sure(sections: Sequence[Section]) -> str:
    pairs = [pair for section in sections for pair in section.compared.pairs]
    if all(section.answer.sure == "not learnt" for section in sections):
        return "nobody learnt it"
    settled = sum(pair.verdict in ("better", "worse") for pair in pairs)
    return f"{settled} of {len(pairs)} comparisons settled" if pairs else "nothing compared"


def _basis(about: About, sections: Sequence[Section]) -> str:
    steps = sorted({budget.steps for budget in about.budgets.ahead})  # each data set has them
    steps = steps or sorted({s for section in sections for group in section.groups if (s := group.first.get("steps"))})
    after = f"after {listed([f'{one:,}' for one in steps])} steps" if steps else "one learning rate"
    return f"{'tuned' if about.budgets.tuned else 'not tuned'}, {after}"


def _with_contents(page: str) -> str:
    """The page with links to its sections at the side."""
    heads = re.findall(r'<section id="([\w-]+)">\s*<h2>(.*?)</h2>', page)
    links = "\n".join(f'<a href="#{name}">{head}</a>' for name, head in heads)
    return page.replace("<!-- contents -->", links, 1)


def _check(about: About, groups: Sequence[Group]) -> None:
    if about.baseline is not None:
        paired.baseline_of(groups, about.baseline)
    axes = {axis for group in groups for axis in group.first.get("varied") or {}}
    if about.compare is not None and about.compare not in axes:
        if not axes:
            raise InputError(f"no axis to compare along, such as {about.compare!r}: the runs are not of a grid")
        raise unknown("axis", about.compare, sorted(axes))


def _called(by_data: Iterable[Sequence[Group]]) -> dict[str, str]:
    """A label in a grid → what it is called where a heading says its data set: the rest of it."""
    found: dict[str, str] = {}
    for groups in by_data:
        here = {}
        for group in groups:
            data = (group.first.get("varied") or {}).get("data")
            here[group.label] = beside(group.label, data)
        if len(set(here.values())) == len(here):
            found |= here
    return found


def _as_called(groups: Iterable[Group], called: Mapping[str, str]) -> list[Group]:
    """The groups of a section, under the names that it gives them; all that is drawn of their runs has these, too."""
    return group_runs(
        As(run, run.row | {"called": called[group.label]}, run.environment) if group.label in called else run
        for group in groups
        for run in group.runs
    )


def _section(
    data: str, groups: list[Group], number: int, figures: Path, about: About, elsewhere: Sequence[orders.SameOrder]
) -> Section:
    draw = Pictures(groups, number, figures)
    ranking = comparisons.Ranking(groups)
    compared = comparisons.compared(ranking, about.baseline, about.compare)
    effects = paired.effects(groups)
    of_budgets = about.budgets.of(data)
    proofs = confront([{**run.row, "group": group.label} for group in groups for run in group.runs], "group")
    return Section(
        data,
        groups,
        words.answer(ranking, compared, of_budgets.briefly(compared), elsewhere),
        of_tasks((str(group.first.get("data")) for group in groups), number, figures),
        equal.unequal(groups),
        [*([of_budgets.depends] if of_budgets.depends else []), *proofs_said(proofs), *words.remarks(ranking)],
        _shared_setting(groups),
        results_table.results(groups),
        draw.tradeoffs(),
        [*draw.curves(), *draw.answers()],
        compared,
        [f"{budget.steps:,} steps" for budget in of_budgets.ahead],
        of_budgets.told(compared),
        draw.differences(compared, about.paper),
        effects,
        draw.effects(effects, about.compare),
        {group.label: text for group in groups if (text := paired.paper_number(group, about.paper))},
        facts.described(highest(groups, MOST_CURVES)),
        proofs,
        evaluations.viewed(groups),
    )


def proofs_said(proofs: Sequence[Confronted]) -> list[str]:
    """What became of the ceilings that were proved, in a sentence."""
    if not proofs:
        return []
    broken = [proof for proof in proofs if not proof.kept]
    if broken:
        named = listed(
            [f"{proof.name} ({proof.highest_pct:.1f} % where {proof.ceiling_pct:.1f} % was proved)" for proof in broken]
        )
        return [f"A proved ceiling was passed, so the proof or the measurement is wrong: {named}."]
    runs = sum(proof.runs for proof in proofs)
    return [f"Of {counted(runs, 'run')} with a ceiling proved before training, none passed it."]


def _shared_setting(groups: Sequence[Group]) -> str:
    """The settings that all groups of a table have in common, as one line."""
    phrases: list[str] = []
    for key in SETTINGS:
        known = [group for group in groups if group.first.get(key) is not None]
        found = {str(setting(group.first, key)): setting_text(group.first, key) for group in known}
        if key == "weights" and len(known) < len(groups):  # a row without says that there were none
            continue
        if len(found) == 1 and not (key == "tubelet" and groups[0].first.get(key) == 1):
            phrases += found.values()
    return ", ".join(phrases)


@dataclass(frozen=True)
class Overall:
    """What a report shows of the variants over all its tasks."""

    found: list[Aggregate]
    picture: Picture

    @property
    def tasks(self) -> int:
        return self.found[0].tasks

    @property
    def said(self) -> str:
        """Who has the highest interquartile mean, in a sentence that ranks only what intervals keep apart."""
        best, *others = sorted(self.found, key=lambda one: -one.iqm.mean)
        near = [one.name for one in others if one.iqm.high >= best.iqm.low]
        told = f"not told apart from {listed(near)}" if near else "see each task for what is settled"
        return (
            f"Over {self.tasks} tasks {best.name} has the highest interquartile mean score, {best.iqm.mean:.1f} % "
            f"({best.iqm.low:.1f} to {best.iqm.high:.1f}); {told}."
        )


def _overall(groups: Sequence[Group], figures: Path) -> Overall | None:
    """Several tasks at once; None where there are not several variants that finished on all of them."""
    found = aggregates(groups)
    if not found:
        return None
    caption = "Left: interquartile means with 95 % intervals. Right: the share of runs above each score."
    return Overall(found, picture(viz.aggregate(found), "aggregate", caption, figures))


def _mosaics(groups: Sequence[Group], figures: Path) -> list[tuple[ShiftPattern, Picture]]:
    """A picture of every pattern that some run uses."""
    used = dict.fromkeys(pattern for group in groups if (pattern := facts.pattern_of(group)) is not None)
    shown = []
    for number, pattern in enumerate(used, 1):
        axes = viz.mosaic(pattern)
        axes.set_title("", loc="left")  # the caption says it
        note = f" {pattern.note[0].upper()}{pattern.note[1:]}." if pattern.note else ""
        caption = f"{note} {facts.pattern_text(pattern).capitalize()}.".strip()
        shown.append((pattern, picture(axes, f"mosaic-{number}", caption, figures)))
    return shown
