"""Which cells of a results folder belong to which grid: `grids/<name>-<scale>.json`, one file a grid.

Grids overlap: patch shift with pattern C stands in half of them. A cell's folder is named after its
run alone, so that grids which share a results folder share the cell; what a grid calls the cell stands
here. It is also what a report of last year's runs goes by: cells are looked up by the identity that
they had when they ran, whatever the code has become. What was proved about a cell stands here too, and whether
results keep to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tps_lab import files, plugins
from tps_lab.ablate.grid import Cell, Choice, GridFile, RunGrid
from tps_lab.errors import InputError
from tps_lab.results import archive, runs, schema
from tps_lab.results.groups import SLACK_PCT
from tps_lab.results.runs import LeftOut, OnDamaged, warn
from tps_lab.training.config import RunConfig
from tps_lab.training.model import named

FOLDER = "grids"


@dataclass(frozen=True)
class RecordedCell:
    """A cell as a grid knows it.

    Args:
        id: the name of its folder.
        values: what varies, as the grid file says it.
        tuned: what was chosen for it, or is tried by it.
        row: what is known of the run before it starts: for tables that show it as missing, and what
            was proved about it, so that nobody can say it was made to fit.
    """

    id: str
    case: str
    seed: int
    values: dict[str, Any]
    row: dict[str, Any]
    tuned: dict[str, Any] = field(default_factory=dict)

    @property
    def proved(self) -> dict[str, Any]:
        """What its row has of `proved`, without the time that finding it takes."""
        return {key: value for key, value in self.row.items() if key.startswith("proved_")}


@dataclass(frozen=True)
class Record:
    """A grid's cells, what its file says of them (title, question, baseline, compare, across, measures, paper), and
    what `--set` replaced; the file and the plugins as they were named, so that the cells can be run again.
    """

    name: str
    scale: str
    settings: dict[str, Any]
    about: dict[str, Any]
    cells: tuple[RecordedCell, ...]
    trials: tuple[RecordedCell, ...] = ()
    file: str = ""
    plugins: tuple[str, ...] = ()


_READ = TypeAdapter(Record)  # keys of a newer version are left out


def of(grid: RunGrid) -> Record:
    """The record of a grid as it stands; of one that is still to be tuned, with the runs to expect."""
    grid = grid if grid.runs else grid.expected()
    trials = tuple(_recorded(cell) for cell in grid.cells if cell.is_trial)
    cells = tuple(_recorded(cell) for cell in grid.runs)
    named = tuple(_as_named(file) for file in plugins.loaded())
    return Record(
        grid.name, grid.scale_name, dict(grid.settings), about(grid.file), cells, trials, _as_named(grid.path), named
    )


def _as_named(file: Path) -> str:
    """A path as one would type it here."""
    whole, here = file.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def about(file: GridFile) -> dict[str, Any]:
    """What of a grid file a report shows."""
    return file.model_dump(
        mode="json", include={"title", "question", "baseline", "compare", "across", "measures", "paper"}
    )


def choices(grid: RunGrid, out: Path) -> tuple[dict[tuple[str, int], Choice], list[tuple[str, int]]]:
    """What a tuned grid's record in a results folder says that each case runs with at each budget.

    Returns:
        Choices whose runs are still the grid's, and cases and budgets of the others: the file, `--set` or a version has
        changed since. Both are empty without a record.
    """
    try:
        read = _READ.validate_python(schema.checked(files.read_json(_file(grid, out)), "record", grid.name))
    except (OSError, files.Damaged):  # it is written anew
        return {}, []
    ids = {cell.id for cell in read.cells}
    found = {(cell.case, cell.row.get("steps") or 0): cell.tuned for cell in read.cells}
    tuned = grid.scale.tune.over.keys() if grid.scale.tune else set()
    alike = {at: Choice(values, ()) for at, values in found.items() if values.keys() == tuned}
    try:
        made = {(cell.case, cell.budget) for cell in grid.tuned(alike).runs if cell.id in ids}
    except InputError:  # a value that no run can have: the record is not this grid's
        made = set()
    return {at: alike[at] for at in alike if at in made}, [at for at in found if at not in made]


def write(grid: RunGrid, out: Path) -> None:
    """Write a grid's record into a results folder; of one that is tuned, what earlier calls ran of it stays recorded.

    Raises:
        InputError: the folder cannot be written.
    """
    file = _file(grid, out)
    if grid.scale.tune:
        grid = grid.tuned({**choices(grid, out)[0], **grid.choices})
    with files.writing(out):
        files.folder(out)
        files.write_whole(files.folder(file.parent) / file.name, json.dumps(plain(of(grid)), indent=1))


def _file(grid: RunGrid, out: Path) -> Path:
    return out / FOLDER / f"{grid.name}-{grid.scale_name}.json"


def find(folders: Iterable[Path], on_damaged: OnDamaged = warn) -> dict[tuple[str, str], Record]:
    """(name, scale) → the newest record of every grid that was run into these folders, at any depth.

    Args:
        on_damaged: called with every record that cannot be read, which is left out.
    """
    there = [
        file
        for folder in folders
        for file in Path(folder).rglob(f"{FOLDER}/*.json")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    found = {}
    for file in runs.archives(folders):  # before what has been run here
        try:
            content, _ = archive.unpack(file)
        except (OSError, files.Damaged):  # whoever looks for its runs says so
            continue
        if content is not None:
            read = _READ.validate_python(content)
            found[read.name, read.scale] = read
    for file in sorted(there, key=lambda file: file.lstat().st_mtime):
        try:
            read = _READ.validate_python(schema.checked(files.read_json(file), "record", file.name))
            found[read.name, read.scale] = read
        except (OSError, files.Damaged) as error:
            on_damaged(LeftOut(file, str(error)))
    return found


def plain(record: Record) -> dict[str, Any]:
    """As data, for a file."""
    return asdict(record)


def _recorded(cell: Cell) -> RecordedCell:
    config = cell.config
    row = {
        **named(config),
        "steps": config.recipe.steps,
        "batch": config.recipe.batch,
        **proved(config),
    }
    return RecordedCell(cell.id, cell.case, cell.seed, dict(cell.values), row, dict(cell.tuned))


# ---------------------------------------------------------------------- proved before any training


def proved(config: RunConfig) -> dict[str, Any]:
    """`proved_ceiling_pct` and `proved_reason` for a cell's row; empty if nothing is proved (see `tps_lab.explain`)."""
    names = ("attention", "backbone", "data", "tubelet", "temporal_position")
    return dict(_proved(RunConfig(**{name: getattr(config, name) for name in names})))


@lru_cache(maxsize=1000)
def _proved(config: RunConfig) -> Mapping[str, Any]:
    from tps_lab.explain import explain

    try:
        found = explain(config).ceiling
    except InputError:  # no such data here; what cannot work is refused elsewhere
        return {}
    if found.ceiling_pct is None:
        return {}
    return {"proved_ceiling_pct": found.ceiling_pct, "proved_reason": found.reason}


@dataclass(frozen=True)
class Confronted:
    """A proved ceiling beside the runs that it is about.

    Args:
        highest_pct: the best test accuracy of the finished runs.
        runs: how many there are.
    """

    name: str
    ceiling_pct: float
    reason: str
    highest_pct: float
    runs: int

    @property
    def kept(self) -> bool:
        return self.highest_pct <= self.ceiling_pct + SLACK_PCT


def confront(rows: Iterable[Mapping[str, Any]], name: str = "case") -> list[Confronted]:
    """One entry for every name whose finished runs have a proved ceiling.

    Args:
        name: the key of a row that runs of one variant share.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("status") == "done" and row.get("proved_ceiling_pct") is not None:
            groups.setdefault(str(row.get(name)), []).append(row)
    return [
        Confronted(
            label,
            min(float(row["proved_ceiling_pct"]) for row in group),
            str(group[0].get("proved_reason", "")),
            max(float(row["top1_pct"]) for row in group),
            len(group),
        )
        for label, group in groups.items()
    ]
