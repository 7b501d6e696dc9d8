"""The cells of a grid: every run that its base, what varies, its seeds and its conditions make.

A key is one of a run's (`recipe.steps`, `data`, `attention`, …) or an option inside one of its
three text forms (`attention.pattern`, `data.frames`, `backbone.position_bias`). What is said later
wins: base, the scale's base, `--set`, then what varies, then conditions.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tps_lab.ablate.grid_file import GridFile, Scale, Tune, Vary
from tps_lab.ablate.identity import cell_hash
from tps_lab.documents import Document
from tps_lab.errors import InputError, unknown
from tps_lab.results.axes import level_text, short
from tps_lab.training.config import RunConfig, make, over, unsaid

_MOST_CELLS = 100_000
_TEXT_FORMS = ("attention", "data", "backbone")

TUNING_SEED = 1000  # the first seed of trials
Choices = Mapping[tuple[str, int], Mapping[str, Any] | None]  # case and steps → what was chosen
_Case = tuple[str, dict[str, Any], tuple[str | int, ...]]  # label, values, where it stands
Works = Callable[[RunConfig], Any]  # raises `InputError` for what does not


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Args:
        case: what tables call it; cells that differ only in their seed share it.
        values: what varies, by the names that the grid file gives.
        config: the whole run.
        tuned: what was chosen for it, or is tried by it.
        is_trial: its seed is the tuning's, and it sees no test clip.
        of_several: whether the same is run with other numbers of steps, too.
    """

    case: str
    values: tuple[tuple[str, Any], ...]
    config: RunConfig
    tuned: tuple[tuple[str, Any], ...] = ()
    is_trial: bool = False
    of_several: bool = False

    @property
    def setting(self) -> str:
        """What tells it from others of its case and seed: "150 steps, lr 0.001"; empty if there are none."""
        steps = [f"{self.budget} steps"] if self.of_several else []
        return ", ".join(steps + [f"{short(key)} {value}" for key, value in self.tuned])

    @property
    def title(self) -> str:
        """Case, seed and setting."""
        return ", ".join(filter(None, (self.case, f"seed {self.seed}", self.setting)))

    @property
    def budget(self) -> int:
        """Steps."""
        return self.config.recipe.steps

    @property
    def seed(self) -> int:
        return self.config.seed

    @cached_property
    def digest(self) -> str:
        """Its identity (see `identity.cell_hash`), the last part of `id`."""
        return cell_hash(self.config, self.is_trial)

    @cached_property
    def id(self) -> str:
        """The folder's name: the variant and the seed for people, and `digest`.

        What a grid calls the cell is no part of it: another grid may have the same cell.
        """
        readable = f"{self.config.attention.label[:50]}-seed{self.seed}"
        safe = "".join(c if c.isalnum() or c in "+-." else "_" for c in readable)
        trial = "-trial" if self.is_trial else ""
        return f"{safe.strip('_.')}{trial}-{self.digest}"


class Cells:
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
        self._check_count()
        self.seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            where = document.where(("scales", scale_name, "seeds"))
            raise InputError(f"{where}: seeds must be 1 or more, or a list of different seeds, got {seeds}")
        self.tune = scale.tune
        self.budgets: list[int | None] = list(scale.budgets) or [None]
        if len(set(self.budgets)) < len(self.budgets) or min(scale.budgets, default=1) < 1:
            where = document.where(("scales", scale_name, "budgets"))
            raise InputError(f"{where}: budgets are different numbers of steps, 1 or more, got {scale.budgets}")
        self.tune_at = ("scales", scale_name, "tune")
        self.used: set[int] = set()  # ids of the exclusions and conditions that something fits
        self.base = self._checked_base()

    def __iter__(self) -> Iterator[Cell]:
        """The cells that are run first: all, or the trials where something is tuned."""
        if self.tune is None:
            yield from self.runs()
            return
        if shared := set(self.seeds) & set(range(TUNING_SEED, TUNING_SEED + self.tune.seeds)):
            where = self.document.where(self.tune_at)
            raise InputError(f"{where}: seed {min(shared)} is the tuning's; runs after it need other seeds")
        points = self._points(self.tune)
        cases = self._known_cases()
        for seed, point, budget, case in itertools.product(range(self.tune.seeds), points, self.budgets, cases):
            yield self._cell(case, TUNING_SEED + seed, budget, point, is_trial=True)

    def runs(self, choices: Choices | None = None) -> Iterator[Cell]:
        """The cells that verdicts are about, each case at its choice; without one, a case is left out."""
        # a seed of every case before the next seed, so that what there is at any time is paired
        for seed, budget, case in itertools.product(self.seeds, self.budgets, self._known_cases()):
            tuned = {} if choices is None else choices.get((case[0], budget or self._steps(case)))
            if tuned is not None:
                yield self._cell(case, seed, budget, tuned)

    def _steps(self, case: _Case) -> int:
        return configuration(over(self.base, case[1])).recipe.steps

    def _points(self, tune: Tune) -> list[dict[str, Any]]:
        """What is tried, the same for every case."""
        points = [dict(zip(tune.over, point, strict=True)) for point in itertools.product(*tune.over.values())]
        for key, values in tune.over.items():
            for i, value in enumerate(values):
                try:
                    _check_key(key)
                    configuration(over(self.base, {key: value}))
                except InputError as error:
                    raise InputError(f"{self.document.where((*self.tune_at, 'over', key, i))}: {error}") from None
        if tune.trials is not None and tune.trials < len(points):
            points = random.Random(0).sample(points, tune.trials)
        return points

    def _known_cases(self) -> list[_Case]:
        cases = list(self._cases())
        if not cases:
            raise InputError(f"{self.document.where(('vary',))}: nothing varies, or everything is excluded")
        known: dict[str, Any] = {}
        for label, values, path in cases:
            if label in known:
                raise InputError(f"{self.document.where(path)}: two cases are called '{label}'")
            known[label] = values
        return cases

    def _cell(
        self, case: _Case, seed: int, budget: int | None, tuned: Mapping[str, Any], is_trial: bool = False
    ) -> Cell:
        label, values, path = case
        steps = {} if budget is None else {"recipe.steps": budget}
        try:
            for key in values:
                _check_key(key)
            wanted = over(over(over(self.base, values), steps), tuned)
            config = configuration(wanted | {"seed": seed, "name": label})
        except InputError as error:
            raise InputError(f"{self.document.where(self._blamed(values, path))}: {error}") from None
        said = tuple((key, self._said(key, value)) for key, value in values.items())
        chosen = tuple((key, _plain(value)) for key, value in tuned.items())
        return Cell(label, said, config, chosen, is_trial, of_several=len(self.budgets) > 1)

    def _said(self, key: str, value: Any) -> Any:
        """A value of an axis by its name, if it was given one."""
        axis = self.vary.product.get(key) or self.vary.zip.get(key)
        names = [name for name, other in axis.items() if other == value] if isinstance(axis, dict) else []
        return names[0] if names else _plain(value)

    def _check_count(self) -> None:
        """Refuse what nobody could run, before any of it is made."""
        vary, seeds = self.vary, self.scale.seeds
        axes = math.prod(len(values) for values in vary.product.values())
        rows = max((len(values) for values in vary.zip.values()), default=1)
        count = (axes * rows if vary.product or vary.zip else 0) + len(vary.cases)
        count *= seeds if isinstance(seeds, int) else len(seeds)
        if count > _MOST_CELLS:
            where = self.document.where(("vary",))
            raise InputError(f"{where}: this grid has {count:,} cells; at most {_MOST_CELLS:,} are allowed")

    def _checked_base(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for at, layer in self.layers:
            for key, value in layer.items():
                try:
                    _check_key(key)
                    configuration(over(found, {key: value}))
                except InputError as error:
                    where = self.document.where((*at, key)) if at else f"--set {key}"
                    raise InputError(f"{where}: {error}") from None
            if "attention" in layer or "data" in layer or "backbone" in layer:  # a new whole drops options of the old
                found = {k: v for k, v in found.items() if k.partition(".")[0] not in layer or k in _TEXT_FORMS}
            found = over(found, layer)
        return found

    def _cases(self) -> Iterator[tuple[str, dict[str, Any], tuple[str | int, ...]]]:
        vary = self.vary
        rows = list(self._combinations()) if vary.product or vary.zip else []
        for labels, values in rows:
            fitting = [excluded for excluded in vary.exclude if _holds(over(self.base, values), excluded)]
            self.used |= set(map(id, fitting))
            if fitting:
                continue
            yield self._label(labels), self._conditioned(values), self.vary_at["product" if vary.product else "zip"]
        for label, values in vary.cases.items():
            yield label, self._conditioned(values), (*self.vary_at["cases"], label)

    def _label(self, labels: Mapping[str, str]) -> str:
        """What tables call a case: frames need a key before their number, variants and names of one's own need none."""
        if len(labels) == 1:
            return next(iter(labels.values()))
        axes = self.vary.product | self.vary.zip
        alone = {key for key in labels if key in _TEXT_FORMS or isinstance(axes[key], dict)}
        return ", ".join(
            name if key in alone and any(map(str.isalpha, name)) else f"{short(key)}={name}"
            for key, name in labels.items()
        )

    def _combinations(self) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
        axes = [[(key, name, value) for name, value in _named(values)] for key, values in self.vary.product.items()]
        zipped = {key: list(_named(values)) for key, values in self.vary.zip.items()}
        lengths = {len(values) for values in zipped.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{key} {len(values)}" for key, values in zipped.items())
            raise InputError(
                f"{self.document.where(self.vary_at['zip'])}: zipped lists must have the same length, got {sizes}"
            )
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
            if _holds(over(self.base, values), condition.if_):
                self.used.add(id(condition))
                found = unsaid(found, condition.then) | condition.then
        return found

    def check_used(self) -> None:
        """What fits no cell was meant otherwise."""
        rows: list[tuple[str, str, int, Any, Mapping[str, Any]]] = [
            *(("exclude", "excludes nothing", i, e, e) for i, e in enumerate(self.vary.exclude)),
            *(("conditions", "holds nowhere", i, c, c.if_) for i, c in enumerate(self.vary.conditions)),
        ]
        for kind, what, i, entry, wanted in rows:
            if id(entry) not in self.used:
                given = ", ".join(f"{key}: {value}" for key, value in wanted.items())
                raise InputError(f"{self.document.where((*self.vary_at[kind], i))}: {what}: {given}")

    def where(self, case: str, works: Works) -> str:
        """Where the value stands that makes a case not work: file and line, or the option.

        Args:
            case: its label.
            works: tells.
        """
        try:
            works(configuration(self.base))
        except InputError:
            found: dict[str, Any] = {}
            for at, layer in self.layers:
                for key, value in layer.items():
                    found = over(found, {key: value})
                    try:
                        works(configuration(found))
                    except InputError:
                        return self.document.where((*at, key)) if at else f"--set {key}"
        values, path = next((values, path) for label, values, path in self._cases() if label == case)
        return self.document.where(self._blamed(values, path, works))

    def _blamed(
        self, values: Mapping[str, Any], path: tuple[str | int, ...], works: Works = lambda config: None
    ) -> tuple[str | int, ...]:
        """Where the value stands that is wrong by itself; else where the case does."""
        for key, value in values.items():
            try:
                _check_key(key)
                works(configuration(over(self.base, {key: value})))
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

    >>> str(configuration({"attention": "tps", "attention.pattern": "A", "data.frames": 8}).attention)
    'tps(pattern=A)'
    """
    for key in values:
        head, dot, _ = key.partition(".")
        if dot and head not in ("recipe", *_TEXT_FORMS):
            heads = ("recipe", *_TEXT_FORMS)
            raise unknown("key", key, [*RunConfig.model_fields, *(f"{head}.…" for head in heads)])
    return make(values, "cell")


def _check_key(key: str) -> None:
    if key == "seed":
        raise InputError("a grid's seeds belong under 'scales', such as 'seeds: 5' or 'seeds: [3, 7]'")
    if key == "name":
        raise InputError("'name' is the case's; cases are named under 'vary'")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def _named(axis: list[Any] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(axis, dict):
        yield from axis.items()
    else:
        for value in axis:
            yield level_text(value), value


def _holds(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether all keys have the wanted value, or one of a wanted list."""
    return all(
        key in values and values[key] in (value if isinstance(value, list) else [value])
        for key, value in wanted.items()
    )
