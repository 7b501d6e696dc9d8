"""Grid files: one question, what varies (`cells.py` makes the runs of it), and whether all of it makes sense; and with
which of the values that were tried each case runs."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from tps_lab.ablate.cells import Cell, Cells, configuration
from tps_lab.ablate.grid_file import SCALES, GridFile, Scale, ScaleName, explained
from tps_lab.documents import Document
from tps_lab.errors import InputError, unknown
from tps_lab.results.axes import of_several
from tps_lab.results.metrics import measures
from tps_lab.training.config import means_text

Point = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Choice:
    """The values that a case runs with.

    Args:
        values: what was tuned, and the value that was chosen; None: no trial ended well.
        curve: every point that was tried, in the order of the list, and its mean validation accuracy
            over the tuning's seeds in percent; None where a run of it failed.
        at_edge: what was chosen at an end of its list, so that the best may lie beyond.
    """

    values: Mapping[str, Any] | None
    curve: tuple[tuple[Point, float | None], ...]
    at_edge: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunGrid:
    """A grid file at one of its scales, every cell of it checked."""

    file: GridFile
    name: str
    scale_name: ScaleName
    scale: Scale
    cells: tuple[Cell, ...]
    made: Cells = field(compare=False, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)  # what `--set` replaced
    choices: Mapping[tuple[str, int], Choice] = field(default_factory=dict)  # case and steps → what it runs with
    path: Path = Path()

    @property
    def timeout_seconds(self) -> float:
        return 60 * self.scale.timeout_minutes

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.case for cell in self.cells))

    @property
    def runs(self) -> tuple[Cell, ...]:
        """The cells that verdicts are about."""
        return tuple(cell for cell in self.cells if not cell.is_trial)

    def expected(self, made: Mapping[tuple[str, int], Choice] | None = None) -> RunGrid:
        """The grid with runs at choices, for a forecast: those that are `made`, else the first of what is tried."""
        trials = {(cell.case, cell.budget): Choice(dict(cell.tuned), ()) for cell in reversed(self.cells)}
        return self.tuned(trials | dict(made or {})) if self.scale.tune else self

    def tuned(self, choices: Mapping[tuple[str, int], Choice]) -> RunGrid:
        """The grid with its trials, and the runs of every case at its choice."""
        trials = tuple(cell for cell in self.cells if cell.is_trial)
        runs = tuple(self.made.runs({at: choice.values for at, choice in choices.items()}))
        return replace(self, cells=trials + runs, choices=choices)

    def chosen(self, only: Sequence[str] = (), limit: int | None = None) -> tuple[Cell, ...]:
        """Cells whose case, id or "case/seed" fits one of the patterns (all, if none are given), the first `limit`.

        Raises:
            InputError: a pattern that fits nothing.
        """
        if limit is not None and limit < 1:
            raise InputError(f"limit must be 1 or more, got {limit}")
        found = self.cells
        if only:
            for pattern in only:
                if not any(_fits(cell, pattern) for cell in found):
                    raise unknown("case", pattern, self.cases)
            found = tuple(cell for cell in found if any(_fits(cell, pattern) for pattern in only))
        return found if limit is None else found[:limit]


def _fits(cell: Cell, pattern: str) -> bool:
    return any(
        name == pattern or fnmatch.fnmatch(name, pattern) for name in (cell.case, cell.id, f"{cell.case}/{cell.seed}")
    )


def find(folder: Path = Path("ablations")) -> list[Path]:
    """The grid files of a folder."""
    return sorted(folder.glob("*.yaml"))


def about(file: Path) -> str:
    """The question that a grid file asks."""
    return str(Document(file, means_text).values.get("question", ""))


def load(file: Path | str, scale: str = "small", settings: Mapping[str, Any] | None = None) -> RunGrid:
    """Read a grid file and check all of it: keys, values, variants, every cell's configuration.

    Args:
        settings: keys that replace the base's; "seeds" and "timeout_minutes" are the scale's.

    Raises:
        InputError: with file, line and the nearest valid name.
    """
    path = Path(file)
    document = Document(path, means_text)
    try:
        read = GridFile.model_validate(document.values)
    except ValidationError as error:
        raise InputError(explained(error, document)) from None
    if scale not in read.scales:
        raise InputError(f"{document.where(('scales',))}: {unknown('scale', scale, read.scales)}")
    name: ScaleName = scale  # type: ignore[assignment]
    chosen = read.scales[name]
    rest = dict(settings or {})
    own = {key: rest.pop(key) for key in ("seeds", "timeout_minutes", "budgets", "tune") if key in rest}
    own = {key: _given(key, value) if isinstance(value, str) else value for key, value in own.items()}
    try:
        chosen = Scale.model_validate(chosen.model_dump(by_alias=True) | own)
    except ValidationError as error:
        raise InputError(f"--set {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    made = Cells(document, read, name, chosen, rest)
    grid = RunGrid(read, path.stem, name, chosen, tuple(made), made, dict(settings or {}), path=path)
    _check_names(grid, document)
    made.check_used()
    return grid


def _given(key: str, value: str) -> Any:
    """What `--set key=value` means by its value, read as a grid file's would be."""
    return Document(Path(f"--set {key}"), text=f"{key}: {value}").values.get(key)


def _check_names(grid: RunGrid, document: Document) -> None:
    known = measures()
    for i, measure in enumerate(grid.file.measures):
        if measure not in known:
            raise InputError(f"{document.where(('measures', i))}: {unknown('measure', measure, known)}")
    baseline = grid.file.baseline
    # a variant serves too: with several data sets each has a case of it
    names = dict.fromkeys([*grid.cases, *(cell.config.attention.name for cell in grid.cells)])
    if baseline is not None and baseline not in names:
        raise InputError(f"{document.where(('baseline',))}: {unknown('case', baseline, names)}")
    axis, several = grid.file.compare, of_several(dict(cell.values) for cell in grid.cells)
    if axis is not None and baseline is not None:
        raise InputError(f"{document.where(('compare',))}: a grid has a baseline or an axis to compare along, not both")
    if axis is not None and axis not in several:
        raise InputError(f"{document.where(('compare',))}: {unknown('axis', axis, several)}")
    if (across := grid.file.across) is not None and (axis is None or across == axis):
        raise InputError(f"{document.where(('across',))}: it goes with compare, and names another axis")
    if across is not None and across not in several:
        raise InputError(f"{document.where(('across',))}: {unknown('axis', across, several)}")
    # a scale may have cases that the other has not
    listed = [*grid.cases, *grid.file.vary.cases, *(case for s in grid.file.scales.values() for case in s.vary.cases)]
    for case, numbers in (grid.file.paper.numbers if grid.file.paper else {}).items():
        if case not in listed:
            raise InputError(f"{document.where(('paper', 'numbers', case))}: {unknown('case', case, grid.cases)}")
        for measure in numbers:
            if measure not in known:
                where = document.where(("paper", "numbers", case, measure))
                raise InputError(f"{where}: {unknown('measure', measure, known)}")
    axes = {key for cell in grid.cells for key, _ in cell.values} | grid.file.base.keys() | grid.scale.base.keys()
    vary = grid.file.vary
    for i, excluded in enumerate(vary.exclude):
        for key in excluded.keys() - axes:
            raise InputError(f"{document.where(('vary', 'exclude', i, key))}: {unknown('key', key, sorted(axes))}")
    for i, condition in enumerate(vary.conditions):
        for key in condition.if_.keys() - axes:
            where = document.where(("vary", "conditions", i, "if", key))
            raise InputError(f"{where}: {unknown('key', key, sorted(axes))}")


# ---------------------------------------------------------------------- what was tried


def choose(trials: Iterable[tuple[Point, float | None]]) -> Choice:
    """The best of a case's trials.

    Args:
        trials: of every trial's run: the point, and its validation accuracy in percent; None if it failed.

    Of equally good points the one nearest to the middle of the list is taken: an end is no place to be by chance.
    """
    by_point: dict[Point, list[float | None]] = {}
    for point, accuracy in trials:
        by_point.setdefault(point, []).append(accuracy)
    points = sorted(by_point, key=lambda point: tuple(_rank(value) for _, value in point))
    curve = tuple((point, _mean(by_point[point])) for point in points)
    learnt = [
        (mean, -abs(i - (len(curve) - 1) / 2), point) for i, (point, mean) in enumerate(curve) if mean is not None
    ]
    if not learnt:
        return Choice(None, curve)
    best = max(learnt, key=lambda entry: entry[:2])[2]
    return Choice(dict(best), curve, tuple(key for key, value in best if _at_edge(key, value, points)))


def _mean(accuracies: Sequence[float | None]) -> float | None:
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return fmean(known) if len(known) == len(accuracies) else None


def _rank(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))


def _at_edge(key: str, value: Any, points: Sequence[Point]) -> bool:
    """Whether a number is the least or the greatest that was tried, of three or more."""
    tried = {v for point in points for k, v in point if k == key}
    return len(tried) > 2 and all(isinstance(v, (int, float)) for v in tried) and value in (min(tried), max(tried))


__all__ = ["SCALES", "Cell", "GridFile", "RunGrid", "about", "configuration", "find", "load"]
