"""Reports of grids: each takes its own cells out of folders that several grids may share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tps_lab import files
from tps_lab.ablate import record
from tps_lab.ablate.grid import RunGrid, find, load
from tps_lab.ablate.record import Record, RecordedCell
from tps_lab.errors import InputError
from tps_lab.report import budgets, cards, page
from tps_lab.report.about import About
from tps_lab.report.cards import Card
from tps_lab.report.render import render
from tps_lab.results import archive, runs
from tps_lab.results.axes import level_text, phrase, spoken
from tps_lab.results.groups import As, RowAlone, RunLike, with_trials
from tps_lab.results.runs import OnDamaged, warn
from tps_lab.text import listed


@dataclass(frozen=True)
class GridRuns:
    """A grid with the runs of its cells.

    Args:
        runs: one for every cell, at every budget; those that were not run have a row alone, with the status "missing".
    """

    record: Record
    runs: tuple[RunLike, ...]
    trials: tuple[RunLike, ...] = ()  # of its tuning

    @property
    def missing(self) -> int:
        return self._with_status("missing")

    @property
    def done(self) -> int:
        return self._with_status("done")

    def _with_status(self, wanted: str) -> int:
        return sum(run.row.get("status") == wanted for run in self.runs)

    @property
    def told(self) -> list[RunLike]:
        """Its runs, each with what its case's trials found at its budget, so that comparisons count the choice."""
        return with_trials(self.runs, self.trials, lambda row: (row["case"], row.get("steps")))

    @property
    def lacking(self) -> dict[tuple[str, int | None], str]:
        """Case and steps that were to be tuned and have no run → why."""
        ran = {(run.row["case"], run.row.get("steps")) for run in self.runs}
        ended: dict[tuple[str, int | None], set[str]] = {}
        for run in self.trials:
            ended.setdefault((run.row["case"], run.row.get("steps")), set()).add(str(run.row.get("status")))
        return {
            at: "not run" if how & {"missing", "done"} else "no trial ended well"
            for at, how in ended.items()
            if at not in ran
        }

    def in_words(self, lacking: Mapping[tuple[str, int | None], str]) -> list[str]:
        """What is `lacking`: values of an axis that have no run at all, cases, and cases at a budget."""
        ran = {run.row["case"] for run in self.runs}
        whole = _values_without(ran, {cell.case: cell.values for cell in self.record.trials})
        by_reason: dict[str, dict[str, None]] = {}
        for (case, steps), why in lacking.items():
            name = f"{spoken(case)} after {steps:,} steps" if case in ran else whole.get(case, spoken(case))
            by_reason.setdefault(why, {})[name] = None
        return [f"{listed(list(names))} ({why})" for why, names in by_reason.items()]

    def packed(self) -> bytes:
        """The archive of all that its cells and trials left, and of its record: the grid can go on from it."""
        found = {one.run.path.name: one.run for one in (*self.trials, *self.runs) if isinstance(one, As)}
        return archive.pack(found.values(), record.plain(self.record))


def _values_without(ran: set[str], values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Case → the value of an axis that it shares with other cases, none of which ran."""
    axes = [axis for axis in next(iter(values.values()), {}) if all(axis in of for of in values.values())]
    found: dict[str, str] = {}
    for case, own in values.items():
        for axis in axes:
            alike = {other for other, of in values.items() if of[axis] == own[axis]}
            if len(alike) > 1 and not alike & ran:
                found.setdefault(case, phrase(axis, level_text(own[axis])))
    return found


def collect(wanted: Record, found: Iterable[RunLike]) -> GridRuns:
    """The runs of a grid's cells among all that were found, under the grid's own names."""
    # a cell may be there twice, copied from a folder beside it, or with an unfinished try
    by_identity: dict[str, RunLike] = {}
    for run in found:
        key = _identity(run.path.name)
        if key not in by_identity or by_identity[key].row.get("status") != "done":
            by_identity[key] = run
    places = {case: place for place, case in enumerate(dict.fromkeys(cell.case for cell in wanted.cells))}
    return GridRuns(
        wanted,
        tuple(_named(wanted, cell, places[cell.case], by_identity.get(_identity(cell.id))) for cell in wanted.cells),
        tuple(_named(wanted, cell, 0, by_identity.get(_identity(cell.id))) for cell in wanted.trials),
    )


def _recorded(now: RunGrid, scale: str, records: dict[tuple[str, str], Record]) -> Record:
    ran = records.get((now.name, scale))
    return record.of(now) if ran is None else replace(ran, about=record.about(now.file))


def chosen(
    folders: Sequence[Path], about: Path | None = None, scale: str = "small", on_damaged: OnDamaged = warn
) -> GridRuns | None:
    """The grid to report on: that of the file, else the one that was run into these folders; None if none was.

    Args:
        on_damaged: called with everything that is damaged, which is left out.

    Raises:
        InputError: no cell of the file's grid is there, or several grids are and none was chosen.
    """
    records = record.find(folders, on_damaged)
    if about is None and not records:
        return None
    found = runs.find(*folders, on_damaged=on_damaged)
    if about is not None:
        grid = collect(_recorded(load(about, scale), scale, records), found)
        if grid.missing == len(grid.runs):
            where = ", ".join(map(str, folders))
            raise InputError(f"no cell of {about} at scale '{scale}' is in {where}; run: tps-lab ablate {about}")
        return grid
    if len(records) > 1:
        names = ", ".join(sorted({name for name, _ in records}))
        name, at = next(iter(records))
        options = f"--about {name}.yaml" + (f" --scale {at}" if at != "small" else "")
        raise InputError(
            f"there are cells of several grids ({names}): choose one by its file, such as {shlex.quote(name)}'s with "
            f"{options}, or report on each with --grids and the folder of their files"
        )
    return collect(next(iter(records.values())), found)


class Fewer(InputError):
    """A page would give way to one that shows less."""


def build(grid: GridRuns, out: Path, command: str = "", force: bool = False, fewer: bool = False, **said: Any) -> Path:
    """A grid's report; see `page.build`.

    Args:
        fewer: replace a page that shows more cells or variants, too.
        **said: fields of `About`, which replace what the grid file says.

    Raises:
        Fewer: there is such a page.
    """
    finished, open_yet = budgets.whole(grid.told)
    most, lacking = max(run.row.get("steps") or 0 for run in finished), grid.lacking
    shown = [run for run in finished if (run.row["case"], most) not in lacking]  # one with fewer steps is no match
    steps = {run.row.get("steps") for run in shown}
    trials = [run for run in grid.trials if run.row.get("steps") in steps]
    said["left_out"] = (*said.get("left_out", ()), *open_yet, *grid.in_words(lacking))
    called = budgets.names_of_data(shown)
    about = About.of_grid(grid.record.about, command=command, remake=remake(grid.record), **said)
    ahead = budgets.ahead(shown, called, about.baseline, about.compare)
    about = replace(about, budgets=budgets.Budgets(tuple(ahead), tuple(budgets.tuned(trials, called))))
    largest = budgets.largest(shown)
    cells = (grid.done, len(grid.runs) - grid.done - grid.missing, grid.missing)
    variants = len({run.row["case"] for run in largest if run.row.get("top1_pct") is not None})
    there = cards.read(out)
    if there and not fewer and there.richer(Card("", done=grid.done, variants=variants)):
        raise Fewer(
            f"{out} shows {there.done} finished runs of {there.variants} variants, more than the {grid.done} of "
            f"{variants} that are here"
        )
    return page.build(largest, out, about, force=force, kept=grid.packed(), cells=cells)


@dataclass(frozen=True)
class OverviewLine:
    """A grid in the overview.

    Args:
        card: what its page says in short; of one without a page, how many cells are missing.
        kept: why its page stayed as it was; empty if it was written.
    """

    name: str
    title: str
    question: str
    card: Card
    kept: str = ""

    @property
    def was_run(self) -> bool:
        """Whether it has a page."""
        return self.card.folder != Path()

    @property
    def href(self) -> str:
        """The folder of its report, as a link that cannot be taken for another kind of address."""
        return "./" + quote(folder_name(self.name))

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        shown = ("answers", "proofs", "done", "failed", "missing", "sure", "basis")
        return {"name": self.name, "title": self.title, "question": self.question, "kept": self.kept} | {
            key: getattr(self.card, key) for key in shown
        }


def folder_name(grid: str) -> str:
    """A folder's name for a grid's report: a grid may be called anything that a file can.

    >>> folder_name("javascript:alert(1)")
    'javascript_alert_1_'
    """
    return re.sub(r"[^\w+.-]", "_", grid).lstrip(".") or "grid"


@dataclass(frozen=True)
class Overview:
    """What `build_all` wrote."""

    out: Path
    scale: str
    lines: list[OverviewLine]

    @property
    def untuned(self) -> bool:
        """Whether some page gave all variants one learning rate."""
        return any(line.was_run and not line.card.tuned for line in self.lines)

    def facts(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        lines = [line.facts() | {"report": str(self.out / folder_name(line.name))} for line in self.lines]
        return {"overview": str(self.out / "index.html"), "scale": self.scale, "grids": lines}

    def text(self) -> str:
        """For a terminal."""
        said = [f"{line.name}: {line.kept}" for line in self.lines if line.kept]
        for line in self.lines:
            answers = " ".join(line.card.answers.values())
            said.append(f"{line.name} ({line.card.count if line.was_run else 'not run'}): {answers or 'no answer'}")
        return "\n".join([*said, str(self.out / "index.html")])


def build_all(
    folders: Sequence[Path],
    grids: Path,
    out: Path,
    scale: str = "small",
    command: str = "",
    on_damaged: OnDamaged = warn,
    force: bool = False,
    fewer: bool = False,
) -> Overview:
    """A report on every grid file of a folder into `out`/<grid>, and `index.html` and `README.md` above them.

    A grid without runs here keeps the report that stands in its folder, and one with fewer than that shows, too;
    without a report it stands in the overview as not run.

    Args:
        folders: of runs; none leave all pages as they are, and only the overview is made again.
        on_damaged: called with everything that is damaged, which is left out.
        force: replace files there that no report wrote, too.
        fewer: replace pages that show more, too.

    Raises:
        InputError: there are no runs or no grid files, or one of the files is wrong.
    """
    grid_files = find(grids)
    if not grid_files:
        raise InputError(f"no grid files (*.yaml) in {grids}")
    loaded = [load(file, scale) for file in grid_files]  # before anything is written
    wanted: dict[str, GridRuns] = {}
    if folders:
        found, records = runs.find(*folders, on_damaged=on_damaged), record.find(folders, on_damaged)
        there = {_identity(run.path.name) for run in found}
        for now in loaded:
            # what is proved of a cell takes long to find, and is asked only where a cell has run
            if (now.name, scale) in records or there.intersection(_identity(cell.id) for cell in now.cells):
                wanted[now.name] = collect(_recorded(now, scale, records), found)
    lines = []
    for now in loaded:
        folder, why = files.folder(out) / folder_name(now.name), ""
        grid = wanted.get(now.name)
        if grid and grid.missing < len(grid.runs):
            try:
                build(grid, files.folder(folder), command, force, fewer, overview="../index.html")
            except Fewer as error:
                why = f"{error}; it stays (--fewer replaces it)"
        cells = len(grid.runs if grid else now.runs or now.expected().runs)
        card = cards.read(folder) or Card(now.file.title, missing=cells)
        lines.append(OverviewLine(now.name, now.file.title, now.file.question, card, why))
    # what was tuned first, what was not run last
    overview = Overview(
        files.folder(out), scale, sorted(lines, key=lambda line: int(not line.card.tuned) if line.was_run else 2)
    )
    for template, file in (("overview.md.j2", "README.md"), ("overview.html.j2", "index.html")):
        files.write_whole(out / file, render(template, {"overview": overview, "command": command}))
    return overview


def remake(of: Record) -> str:
    """The command that makes a cell of a grid again; bit for bit on the same machine."""
    scale = [] if of.scale == "small" else ["--scale", of.scale]
    options = [part for key, value in of.settings.items() for part in ("--set", f"{key}={value}")]
    plugins = [part for file in of.plugins for part in ("--plugin", file)]
    file = of.file or f"ablations/{of.name}.yaml"
    words = ["tps-lab", *plugins, "ablate", file, *scale, *options, "--only", "CASE/SEED", "--out", "NEW"]
    return shlex.join(words)


def _named(wanted: Record, cell: RecordedCell, place: int, run: RunLike | None) -> RunLike:
    mine = {
        "tuned": cell.tuned,
        "case": cell.case,
        "varied": cell.values,
        "ablation": wanted.name,
        "scale": wanted.scale,
        "place": place,
    }
    if run is not None:
        return As(run, cell.proved | run.row | mine, run.environment)
    row = cell.row | {"id": cell.id, "seed": cell.seed, "status": "missing", "reason": "not run yet"}
    return RowAlone(row | mine)


def _identity(folder: str) -> str:
    """The hash at the end of a cell's folder."""
    return folder.rpartition("-")[2]
