"""What the cells of a grid cost: forecast for a dry run, measured once for their rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tps_lab import children, data, files, measure
from tps_lab.ablate.cell import deterministic
from tps_lab.ablate.grid import Cell, RunGrid
from tps_lab.errors import InputError
from tps_lab.results import runs, schema
from tps_lab.results.axes import short
from tps_lab.text import duration
from tps_lab.text import table as columns
from tps_lab.training.config import RunConfig
from tps_lab.training.forecast import Forecast, forecast, step_of
from tps_lab.training.model import to_train

# what changes neither a model nor its cost: of a tuned grid most cells differ in nothing else
_OF_NO_COST: Any = {
    **dict.fromkeys(("seed", "name", "trackers"), True),
    "recipe": {"lr", "weight_decay", "beta2", "warmup", "clip_norm", "rates"},
}


@dataclass(frozen=True)
class Plan:
    """Every cell with its forecast."""

    grid: RunGrid
    entries: tuple[tuple[Cell, bool, Forecast], ...]  # cell, is it done, what it takes
    jobs: int
    device: str

    @property
    def seconds(self) -> float:
        """Of all that is not done, with `jobs` cells at a time."""
        return sum(forecast.seconds for _, done, forecast in self.entries if not done) / max(1, self.jobs)

    def plain(self) -> dict[str, Any]:
        return {
            "title": self.grid.file.title,
            "question": self.grid.file.question,
            "device": self.device,
            "cells": [
                {
                    "id": cell.id,
                    "case": cell.case,
                    "seed": cell.seed,
                    "steps": cell.budget,
                    "trial": cell.is_trial,
                    "tuned": dict(cell.tuned) if cell.is_trial else {},
                    "done": done,
                    "macs": f.macs,
                    "peak_memory_bytes": f.memory,
                    "seconds": f.seconds,
                    "how": f.how,
                    "fits": f.fits,
                    "notes": f.notes,
                }
                for cell, done, f in self.entries
            ],
            "total": {
                "cells": len(self.entries),
                "to_run": sum(not done for _, done, _ in self.entries),
                "seconds": self.seconds,
                "jobs": self.jobs,
                "training_macs": sum(f.training_macs for _, done, f in self.entries if not done),
                "do_not_fit": sum(not f.fits for _, _, f in self.entries),
            },
        }

    def table(self) -> str:
        """For the terminal."""
        total = self.plain()["total"]
        several = any(cell.of_several for cell, _, _ in self.entries)
        tuned = list(self.grid.scale.tune.over) if self.grid.scale.tune else []
        rows = []
        for cell, done, f in self.entries:
            # what a run is tuned to follows from trials, which may be still to come
            own = {key: str(value) for key, value in cell.tuned} if cell.is_trial else dict.fromkeys(tuned, "chosen")
            notes = ["done" if done else "", "" if f.fits else "DOES NOT FIT", f.notes]
            rows.append(
                [
                    cell.case, *([str(cell.budget)] if several else []), *(own[key] for key in tuned),
                    str(cell.seed), f"{f.macs / 1e9:.4f}", f"{f.memory / 2**30:.3f} GiB",
                    duration(f.seconds), f.how, "; ".join(filter(None, notes)),
                ]
            )  # fmt: skip
        heads = ("case", *(["steps"] if several else []), *map(short, tuned))
        wide = len(heads)
        heads += ("seed", "GMACs a clip", "peak memory", "time", "how", "")
        below = (
            f"{total['to_run']} of {total['cells']} cells to run on {self.device}; "
            f"about {duration(self.seconds)} with {self.jobs} at a time; "
            f"{total['training_macs'] / 1e15:.3g} P multiply-adds of training"
            + (f"; {total['do_not_fit']} cells do not fit" if total["do_not_fit"] else "")
        )
        title = f"{self.grid.file.title} {self.grid.file.question}"
        return "\n\n".join([title, columns(heads, rows, left=(0, wide + 4, wide + 5)), below])


def plan(
    grid: RunGrid, cells: Sequence[Cell], out: Path, finished: Mapping[str, runs.Run], jobs: int | None = None
) -> Plan:
    """Forecast every cell; cells of equal cost are looked at once.

    Args:
        finished: digest → a cell that is done, here or where it will be copied from.

    Raises:
        InputError: a cell's model cannot be built.
    """
    jobs = jobs or children.how_many(max(1, len(cells)))
    earlier = _earlier(finished.values(), out)
    known: dict[Any, Forecast] = {}
    entries = []
    for cell in cells:
        config = cell.config
        key = config.model_dump_json(exclude=_OF_NO_COST), bool(config.recipe.rates.backbone)
        if key not in known:
            earlier_seconds = earlier.get(_alike(config.model_dump() | config.recipe.content()))
            try:
                with deterministic(True):  # as cells run; two threads here would fight with cells that run already
                    known[key] = forecast(config, jobs=jobs, earlier_seconds=earlier_seconds)
            except InputError as error:
                where = grid.made.where(cell.case, _works)
                raise InputError(f"{where}: case '{cell.case}': {error}") from None
        entries.append((cell, cell.digest in finished, known[key]))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"the CPU, {children.cores()} cores"
    return Plan(grid, tuple(entries), jobs, device)


def _earlier(finished: Iterable[runs.Run], out: Path) -> dict[str, float]:
    """What was run → seconds that finished cells of it took here; archives hold what other machines took."""
    here = [run.row for run in finished if run.path.parent == out.resolve() and not isinstance(run, runs.Archived)]
    return {_alike(row): float(row["train_seconds"]) for row in here if row.get("train_seconds") is not None}


def _alike(row: Mapping[str, Any]) -> str:
    """What two runs that take as long have in common; groups of a recipe are in a row only off their defaults."""
    keys = ("attention", "backbone", "data", "tubelet", "steps", "batch", "compute", "ema")
    precision = {"no": "fp32"}.get(row.get("precision", ""), row.get("precision"))  # the first runs' word
    frozen = (row.get("rates") or {}).get("backbone") == 0
    return json.dumps([*(row.get(key) for key in keys), precision, frozen], sort_keys=True, default=str)


def _works(config: RunConfig) -> None:
    """Raise `InputError` for a run whose cost cannot be forecast."""
    forecast(config, tries="nothing")


def cost_key(cell: Cell) -> tuple[Any, ...]:
    """Cells with the same key cost the same: model, clips and step are alike."""
    config = cell.config
    step, trains_all = step_of(config, config.recipe.batch), bool(config.recipe.rates.backbone)
    # a plain step adds nothing, so that what was measured before is found
    rest = () if step == measure.Step(step.batch) and trains_all else (str(step), trains_all)
    shape = data.opened(config.data).clip_shape, len(data.opened(config.data).classes)
    return (
        *(str(config.attention), config.backbone, config.tubelet, config.temporal_position, *shape),
        *(config.recipe.batch, config.recipe.precision),
        *rest,
    )


def measured(
    cells: Sequence[Cell], out: Path, seconds: float = 10.0, say: Callable[[str], None] = lambda text: None
) -> dict[Cell, dict[str, Any]]:
    """The cost columns of every cell's row, from this machine; kept in `out` for the next time.

    Args:
        seconds: about how long each of the three timings may take.
    """
    by_key: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cost_key(cell), []).append(cell)
    found = {key: cost for key in by_key if (cost := _read(_file(out, key)))}
    # models that are timed in turn get clips of one shape and steps of one kind
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for key, (cell, *_) in by_key.items():
        if key not in found:
            step = step_of(cell.config, cell.config.recipe.batch)
            groups.setdefault((data.opened(cell.config.data).clip_shape, step), []).append(key)
    for (shape, step), keys in groups.items():
        say(f"measuring what {len(keys)} models cost, in turn …")
        models = {}
        for key in keys:
            config = by_key[key][0].config
            models[str(key)] = to_train(config, data.opened(config.data)).to(measure.best_device())
        for key, cost in zip(keys, measure.costs(models, shape, step, seconds).values(), strict=True):
            found[key] = cost
            with suppress(OSError):
                files.write_whole(files.folder(out / ".costs") / _file(out, key).name, json.dumps(cost))
    return {cell: found[key] for key, group in by_key.items() for cell in group}


def _file(out: Path, key: tuple[Any, ...]) -> Path:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else runs.environment()["cpu"]
    name = hashlib.sha256(repr((key, where)).encode()).hexdigest()[:12]
    return out / ".costs" / f"{name}.json"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return schema.checked(files.read_json(file), "planned", file.name)
    except (OSError, files.Damaged):
        return None
