"""Grid files: one question, what varies, and every run that answers it.

A key is one of a run's (`recipe.steps`, `data`, `attention`, …) or an option inside one of its
three text forms (`attention.pattern`, `data.frames`, `backbone.position_bias`). What is said later
wins: base, the scale's base, `--set`, then what varies, then conditions.
"""

from __future__ import annotations

import difflib
import fnmatch
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tps_lab import data as data_sets
from tps_lab import specs
from tps_lab.ablate.yaml_lines import Document
from tps_lab.attention import parse as parse_variant
from tps_lab.config import Recipe, RunConfig, backbone_text, make
from tps_lab.errors import InputError, unknown

ScaleName = Literal["small", "paper"]
SCALES: tuple[ScaleName, ...] = ("small", "paper")
MEASURES = (
    "top1_pct top5_pct val_top1_pct test_loss per_class_pct per_pair_pct params macs peak_memory_bytes.training "
    "peak_memory_bytes.inference latency_ms.median clips_per_second train_step_ms.median train_seconds"
).split()
_BRANCHES = ("list[", "dict[", "int")
_TEXT_FORMS = ("attention", "data", "backbone")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """Where all of `if` holds, `then` is set."""

    if_: dict[str, Any] = Field(alias="if")
    then: dict[str, Any]


class Vary(_Strict):
    """What varies: every combination of `product` with every row of `zip`, and then the `cases`.

    An axis is a list of values, or a mapping from what tables call a value to the value.
    """

    product: dict[str, list[Any] | dict[str, Any]] = {}
    zip: dict[str, list[Any] | dict[str, Any]] = {}
    cases: dict[str, dict[str, Any]] = {}
    exclude: list[dict[str, Any]] = []
    conditions: list[Condition] = []


class Paper(_Strict):
    """The paper's numbers: case → measure → number."""

    source: str
    numbers: dict[str, dict[str, float]]


class Scale(_Strict):
    """How large the runs are. `vary` replaces the grid's own axes of the same name."""

    base: dict[str, Any] = {}
    seeds: int | list[int] = 1
    timeout_minutes: float = Field(24 * 60, gt=0, description="of one cell and one try; then it is killed")
    vary: Vary = Vary()


class GridFile(_Strict):
    """What stands in a file of `ablations/`."""

    title: str
    question: str
    base: dict[str, Any] = {}
    vary: Vary
    baseline: str | None = Field(None, description="the case that others are compared with")
    measures: list[str] = ["top1_pct", "macs", "peak_memory_bytes.training", "train_step_ms.median"]
    paper: Paper | None = None
    scales: dict[ScaleName, Scale]


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Args:
        case: what tables call it; cells that differ only in their seed share it.
        values: what varies, as the grid file says it.
        config: the whole run.
    """

    case: str
    values: tuple[tuple[str, Any], ...]
    config: RunConfig

    @property
    def seed(self) -> int:
        return self.config.seed

    @cached_property
    def id(self) -> str:
        """The folder's name: the variant and the seed for people, and its identity (see `identity.cell_hash`).

        What a grid calls the cell is no part of it: another grid may have the same cell.
        """
        from tps_lab.ablate.identity import cell_hash

        readable = f"{self.config.variant.label[:50]}-seed{self.seed}"
        safe = "".join(c if c.isalnum() or c in "+-." else "_" for c in readable)
        return f"{safe.strip('_.')}-{cell_hash(self.config)}"


@dataclass(frozen=True)
class Grid:
    """A grid file at one of its scales, every cell of it checked."""

    file: GridFile
    name: str
    scale_name: ScaleName
    scale: Scale
    cells: tuple[Cell, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # what `--set` replaced

    @property
    def timeout_seconds(self) -> float:
        return 60 * self.scale.timeout_minutes

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.case for cell in self.cells))

    def chosen(self, only: Sequence[str] = (), limit: int | None = None) -> tuple[Cell, ...]:
        """Cells whose case, id or "case/seed" fits one of the patterns (all, if none are given), the first `limit`.

        Raises:
            InputError: a pattern that fits nothing.
        """
        found = self.cells
        if only:
            for pattern in only:
                if not any(_fits(cell, pattern) for cell in found):
                    raise unknown("case", pattern, self.cases)
            found = tuple(cell for cell in found if any(_fits(cell, pattern) for pattern in only))
        return found if limit is None else found[: max(0, limit)]


def _fits(cell: Cell, pattern: str) -> bool:
    return any(
        name == pattern or fnmatch.fnmatch(name, pattern) for name in (cell.case, cell.id, f"{cell.case}/{cell.seed}")
    )


def find(folder: Path = Path("ablations")) -> list[Path]:
    """The grid files of a folder."""
    return sorted(folder.glob("*.yaml"))


def about(file: Path) -> str:
    """The question that a grid file asks."""
    return str(Document(file).values.get("question", ""))


def load(file: Path | str, scale: str = "small", settings: Mapping[str, Any] | None = None) -> Grid:
    """Read a grid file and check all of it: keys, values, variants, every cell's configuration.

    Args:
        settings: keys that replace the base's; "seeds" and "timeout_minutes" are the scale's.

    Raises:
        InputError: with file, line and the nearest valid name.
    """
    document = Document(Path(file))
    try:
        read = GridFile.model_validate(document.values)
    except ValidationError as error:
        raise InputError(_explain(error, document)) from None
    if scale not in read.scales:
        raise InputError(f"{document.where(('scales',))}: {unknown('scale', scale, read.scales)}")
    name: ScaleName = scale  # type: ignore[assignment]
    chosen = read.scales[name]
    rest = dict(settings or {})
    own = {key: rest.pop(key) for key in ("seeds", "timeout_minutes") if key in rest}
    try:
        chosen = Scale.model_validate(chosen.model_dump(by_alias=True) | own)
    except ValidationError as error:
        raise InputError(f"--set {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    cells = tuple(_Cells(document, read, name, chosen, rest))
    grid = Grid(read, Path(file).stem, name, chosen, cells, dict(settings or {}))
    _check_names(grid, document)
    return grid


class _Cells:
    """Walks through what varies and makes the cells; knows which line to blame."""

    def __init__(
        self, document: Document, read: GridFile, scale_name: str, scale: Scale, settings: Mapping[str, Any]
    ) -> None:
        self.document, self.scale = document, scale
        self.vary = read.vary.model_copy(update={k: v for k, v in scale.vary if v})
        replaced = {key for key, value in scale.vary if value}
        self.vary_at = {
            key: ("scales", scale_name, "vary", key) if key in replaced else ("vary", key) for key in Vary.model_fields
        }
        # layers from weak to strong: (where it stands, values)
        self.layers: list[tuple[tuple[str, ...] | None, Mapping[str, Any]]] = [
            (("base",), read.base),
            (("scales", scale_name, "base"), scale.base),
            (None, settings),
        ]
        seeds = scale.seeds
        self.seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
        if not self.seeds:
            raise InputError(f"{document.where(('scales', scale_name, 'seeds'))}: seeds must be 1 or more, or a list")
        self.base = self._checked_base()

    def __iter__(self) -> Iterator[Cell]:
        cases = list(self._cases())
        if not cases:
            raise InputError(f"{self.document.where(('vary',))}: nothing varies, or everything is excluded")
        known: dict[str, Any] = {}
        for label, values, path in cases:
            if label in known:
                raise InputError(f"{self.document.where(path)}: two cases are called '{label}'")
            known[label] = values
        # a seed of every case before the next seed, so that what there is at any time is paired
        for seed, (label, values, path) in itertools.product(self.seeds, cases):
            try:
                config = configuration(self.base | values | {"seed": seed, "name": label})
            except InputError as error:
                raise InputError(f"{self.document.where(self._blamed(values, path))}: {error}") from None
            yield Cell(label, tuple((key, _plain(value)) for key, value in values.items()), config)

    def _checked_base(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for at, layer in self.layers:
            for key, value in layer.items():
                try:
                    configuration(found | {key: value})
                except InputError as error:
                    where = self.document.where((*at, key)) if at else f"--set {key}"
                    raise InputError(f"{where}: {error}") from None
            if "attention" in layer or "data" in layer or "backbone" in layer:  # a new whole drops options of the old
                found = {k: v for k, v in found.items() if k.partition(".")[0] not in layer or k in _TEXT_FORMS}
            found |= layer
        return found

    def _cases(self) -> Iterator[tuple[str, dict[str, Any], tuple[str | int, ...]]]:
        vary = self.vary
        rows = list(self._combinations()) if vary.product or vary.zip else []
        for labels, values in rows:
            if any(_holds(self.base | values, excluded) for excluded in vary.exclude):
                continue
            yield _label(labels), self._conditioned(values), self.vary_at["product" if vary.product else "zip"]
        for label, values in vary.cases.items():
            yield label, self._conditioned(values), (*self.vary_at["cases"], label)

    def _combinations(self) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
        axes = [[(key, name, value) for name, value in _named(values)] for key, values in self.vary.product.items()]
        zipped = {key: list(_named(values)) for key, values in self.vary.zip.items()}
        lengths = {len(values) for values in zipped.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{key} {len(values)}" for key, values in zipped.items())
            raise InputError(f"{self.document.where(self.vary_at['zip'])}: lists of one length are zipped, got {sizes}")
        rows = [
            [(key, *values[i]) for key, values in zipped.items()] for i in range(lengths.pop() if lengths else 0)
        ] or [[]]
        for row in rows:
            for point in itertools.product(*axes):
                entries = [*row, *point]
                yield {key: name for key, name, _ in entries}, {key: value for key, _, value in entries}

    def _conditioned(self, values: dict[str, Any]) -> dict[str, Any]:
        found = dict(values)
        for condition in self.vary.conditions:
            if _holds(self.base | values, condition.if_):
                found |= condition.then
        return found

    def _blamed(self, values: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Where the value stands that is wrong by itself; else where the case does."""
        for key, value in values.items():
            try:
                configuration(self.base | {key: value})
            except InputError:
                for kind in ("product", "zip"):
                    axis = getattr(self.vary, kind).get(key)
                    if axis is not None and value in (entries := list(dict(_named(axis)).values())):
                        position = list(axis)[entries.index(value)] if isinstance(axis, dict) else entries.index(value)
                        return (*self.vary_at[kind], key, position)
                for i, condition in enumerate(self.vary.conditions):
                    if condition.then.get(key) == value:
                        return (*self.vary_at["conditions"], i, "then", key)
                return (*path, key)
        return path


def configuration(values: Mapping[str, Any]) -> RunConfig:
    """A run from dotted keys, those inside the text forms included.

    >>> configuration({"attention": "tps", "attention.pattern": "A", "data.frames": 8}).attention
    'tps(pattern=A)'
    """
    plain: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        head, dot, tail = key.partition(".")
        if dot and head in _TEXT_FORMS:
            inside.setdefault(head, {})[tail] = value
        else:
            plain[key] = value
    default = {name: RunConfig.model_fields[name].default for name in _TEXT_FORMS}
    for head, options in inside.items():
        text = plain.get(head, default[head])
        if not isinstance(text, str):
            raise InputError(f"{head} must be text, such as '{default[head]}', got {text!r}")
        options = {name: _as_option(value) for name, value in options.items()}
        if head == "attention":
            plain[head] = str(parse_variant(text, **options))
        elif head == "data":
            plain[head] = str(data_sets.parse(text, **options))
        else:
            name, given = specs.split("backbone", text)
            plain[head] = backbone_text(name, given | options)
    for key in plain:
        if "." in key and not key.startswith("recipe."):
            heads = ("recipe", *_TEXT_FORMS)
            raise unknown("key", key, [*RunConfig.model_fields, *(f"{head}.…" for head in heads)])
    return make(plain, "cell")


def _as_option(value: Any) -> Any:
    if isinstance(value, list) and not any(isinstance(item, list) for item in value):
        return tuple(value)
    return value if isinstance(value, list) else str(value)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def _named(axis: list[Any] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(axis, dict):
        yield from axis.items()
    else:
        for value in axis:
            yield {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value), value


def _label(labels: Mapping[str, str]) -> str:
    if len(labels) == 1:
        return next(iter(labels.values()))
    # a variant's name needs no "attention=" before it, a number of frames needs its key
    return ", ".join(name if key in _TEXT_FORMS else f"{key.rpartition('.')[2]}={name}" for key, name in labels.items())


def _holds(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether all keys have the wanted value, or one of a wanted list."""
    return all(
        key in values and values[key] in (value if isinstance(value, list) else [value])
        for key, value in wanted.items()
    )


def _check_names(grid: Grid, document: Document) -> None:
    for i, measure in enumerate(grid.file.measures):
        if measure not in MEASURES:
            raise InputError(f"{document.where(('measures', i))}: {unknown('measure', measure, MEASURES)}")
    baseline = grid.file.baseline
    if baseline is not None and baseline not in grid.cases:
        raise InputError(f"{document.where(('baseline',))}: {unknown('case', baseline, grid.cases)}")
    # a scale may have cases that the other has not
    listed = [*grid.cases, *grid.file.vary.cases, *(case for s in grid.file.scales.values() for case in s.vary.cases)]
    for case, numbers in (grid.file.paper.numbers if grid.file.paper else {}).items():
        if case not in listed:
            raise InputError(f"{document.where(('paper', 'numbers', case))}: {unknown('case', case, grid.cases)}")
        for measure in numbers:
            if measure not in MEASURES:
                where = document.where(("paper", "numbers", case, measure))
                raise InputError(f"{where}: {unknown('measure', measure, MEASURES)}")
    axes = {key for cell in grid.cells for key, _ in cell.values} | grid.file.base.keys() | grid.scale.base.keys()
    vary = grid.file.vary
    for i, excluded in enumerate(vary.exclude):
        for key in excluded.keys() - axes:
            raise InputError(f"{document.where(('vary', 'exclude', i, key))}: {unknown('key', key, sorted(axes))}")
    for i, condition in enumerate(vary.conditions):
        for key in condition.if_.keys() - axes:
            where = document.where(("vary", "conditions", i, "if", key))
            raise InputError(f"{where}: {unknown('key', key, sorted(axes))}")


def _explain(error: ValidationError, document: Document) -> str:
    # a mistyped key also counts as missing; what stands in the file says more than what does not
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    # pydantic names the branch of a union as a step of the path; those are no keys of the file
    path = tuple(part for part in first["loc"] if not (isinstance(part, str) and part.startswith(_BRANCHES)))
    key = str(path[-1]) if path else ""
    where = document.where(path)
    if first["type"] == "extra_forbidden":
        known = _fields_at(path[:-1])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"{where}: unknown key '{key}'; {hint}expected one of {', '.join(known)}"
    if first["type"] == "missing":
        return f"{where}: the key '{key}' is missing"
    if first["type"] == "literal_error" and path[:1] == ("scales",):
        return f"{where}: {unknown('scale', str(first['input']), SCALES)}"
    return f"{where}: {'.'.join(map(str, path))} = {first['input']!r}: {first['msg']}"


def _fields_at(path: Sequence[str | int]) -> list[str]:
    steps = [part for part in path if isinstance(part, str)]
    model: type[BaseModel] = GridFile
    if steps[:1] == ["paper"]:
        model = Paper
    elif "conditions" in steps:
        model = Condition
    elif steps[-1:] == ["vary"]:
        model = Vary
    elif steps[:1] == ["scales"]:
        model = Scale
    return [field.alias or name for name, field in model.model_fields.items()]


__all__ = ["MEASURES", "SCALES", "Cell", "Grid", "GridFile", "Recipe", "about", "configuration", "find", "load"]
