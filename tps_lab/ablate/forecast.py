"""What a grid will take on this device, before anything is trained."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tps_lab import data as data_sets
from tps_lab import measure
from tps_lab.ablate.cell import deterministic
from tps_lab.ablate.grid import Cell, Grid
from tps_lab.errors import InputError
from tps_lab.results import runs
from tps_lab.training.config import RunConfig

_TIMED_MACS = 1e11  # a training step larger than this is not tried, only predicted
_START_SECONDS = 2.0  # of a cell, besides its steps and evaluations
_TRAINING = 3  # a training step does the multiply-adds of the forward pass and twice that backwards


@dataclass(frozen=True)
class Forecast:
    """What a cell takes; None where it cannot be said, and why.

    Args:
        memory: peak bytes of a training step.
        seconds: of the whole cell.
        how: how the seconds were had.
        fits: whether this device holds it.
        notes: what is missing.
    """

    macs: int | None
    memory: int | None
    seconds: float | None
    how: str
    fits: bool | None
    notes: str = ""


@dataclass(frozen=True)
class Plan:
    """Every cell with its forecast."""

    grid: Grid
    entries: tuple[tuple[Cell, bool, Forecast], ...]  # cell, is it done, what it takes
    jobs: int
    device: str

    @property
    def seconds(self) -> float | None:
        """Of all that is not done, with `jobs` cells at a time; None if some cell's time is unknown."""
        open_ = [forecast.seconds for _, done, forecast in self.entries if not done]
        return None if any(s is None for s in open_) else sum(s or 0.0 for s in open_) / max(1, self.jobs)

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
                "training_macs": _total(
                    [
                        None
                        if f.macs is None
                        else _TRAINING * f.macs * cell.config.recipe.batch * cell.config.recipe.steps
                        for cell, done, f in self.entries
                        if not done
                    ]
                ),
                "do_not_fit": sum(f.fits is False for _, _, f in self.entries),
            },
        }

    def table(self) -> Any:
        from rich.table import Table

        total = self.plain()["total"]
        table = Table(title=f"{self.grid.file.title} {self.grid.file.question}", title_justify="left")
        for name in ("case", "seed", "GMACs a clip", "peak memory", "time", "how", ""):
            table.add_column(
                name, justify="right" if name in ("seed", "GMACs a clip", "peak memory", "time") else "left"
            )
        for cell, done, f in self.entries:
            table.add_row(
                cell.case,
                str(cell.seed),
                "–" if f.macs is None else f"{f.macs / 1e9:.4f}",
                "–" if f.memory is None else f"{f.memory / 2**30:.3f} GiB",
                "–" if f.seconds is None else _duration(f.seconds),
                f.how,
                "; ".join(
                    filter(None, ["done" if done else "", "" if f.fits is not False else "DOES NOT FIT", f.notes])
                ),
            )
        work = total["training_macs"]
        time_ = "unknown" if self.seconds is None else f"about {_duration(self.seconds)} with {self.jobs} at a time"
        table.caption = (
            f"{total['to_run']} of {total['cells']} cells to run on {self.device}; {time_}; "
            + ("work unknown" if work is None else f"{work / 1e15:.3g} P multiply-adds of training")
            + (f"; {total['do_not_fit']} cells do not fit" if total["do_not_fit"] else "")
        )
        return table


def plan(grid: Grid, cells: Sequence[Cell], out: Path, jobs: int | None = None) -> Plan:
    """Forecast every cell; cells of equal cost are looked at once.

    Raises:
        InputError: a cell's model cannot be built.
    """
    import torch

    from tps_lab import workers

    jobs = jobs or workers.how_many(max(1, len(cells)))
    earlier = _earlier(out)
    known: dict[Any, Forecast] = {}
    entries = []
    for cell in cells:
        config = cell.config
        key = config.model_dump_json(exclude={"seed", "name", "trackers"})
        if key not in known:
            try:
                known[key] = forecast(
                    config, jobs, earlier.get(_alike(config.model_dump() | config.recipe.model_dump()))
                )
            except InputError as error:
                where = grid.where(cell.case, _built)
                raise InputError(f"{where}: case '{cell.case}': {error}") from None
        entries.append((cell, runs.is_done(out / cell.id), known[key]))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"the CPU, {workers.cores()} cores"
    return Plan(grid, tuple(entries), jobs, device)


def forecast(config: RunConfig, jobs: int = 1, earlier_seconds: float | None = None) -> Forecast:
    """What one run takes. Multiply-adds are the closed form's; time is that of a few steps, tried.

    Args:
        jobs: runs at a time that share this machine's memory.
        earlier_seconds: how long such a run took here before; then nothing is timed.

    Raises:
        InputError: the model cannot be built.
    """
    model, clips, notes = _built(config)
    macs = sum(model.closed_form_macs().values())  # type: ignore[operator]
    step_macs = _TRAINING * macs * config.recipe.batch
    heavy = step_macs > _TIMED_MACS and measure.best_device().type == "cpu"
    memory = None if heavy else _peak_memory(model, clips.clip_shape, config.recipe.batch)
    if earlier_seconds is not None:
        seconds, how = earlier_seconds, "as earlier"
    else:
        if heavy or notes:
            step_seconds, how = step_macs / _macs_per_second(), "from multiply-adds"
        else:
            with deterministic(True):  # as cells run; two threads here would fight with cells that run already
                step_seconds, how = _timed_step(config, model, clips), "timed steps"
        seconds = _whole(config, clips, step_seconds)
    limit = _device_bytes() / (1 if measure.best_device().type == "cuda" else jobs)
    return Forecast(macs, memory, seconds, how, None if memory is None else memory < 0.9 * limit, notes)


def _built(config: RunConfig) -> tuple[Any, Any, str]:
    """The model, its clips or what stands for them, and why it does.

    Raises:
        InputError: the model cannot be built.
    """
    from tps_lab.training.train import build
    from tps_lab.workers import opened

    try:
        clips, notes = opened(config.data), ""
    except InputError as error:
        # the data is not on this machine; the shape of its clips is in its options
        clips, notes = _Shape(data_sets.parse(config.data)), f"no data: {error}"  # type: ignore[assignment]
    return build(config, clips), clips, notes


class _Shape:
    """Stands for clips that are not here."""

    def __init__(self, spec: Any) -> None:
        if not hasattr(spec, "frames") or not hasattr(spec, "size"):
            raise InputError(f"{spec} is not on this machine, and its options do not say how large a clip is")
        self.clip_shape = (3, spec.frames, spec.size, spec.size)
        self.classes = tuple(map(str, range(100)))  # how many hardly matters
        self.spec = spec

    def size(self, split: str) -> int:
        return int(getattr(self.spec, split, 0))


def _peak_memory(model: Any, clip_shape: tuple[int, ...], batch: int) -> int:
    """Bytes of a training step: the one place that asks for them."""
    from tps_lab.measure.memory import peak_memory

    return peak_memory(model, clip_shape, batch).training


def _timed_step(config: RunConfig, model: Any, clips: Any) -> float:
    """Seconds of a training step, its clips made: the best of three after a first one."""
    import torch

    device = measure.best_device()
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters())
    found = []
    for turn in range(4):
        started = time.perf_counter()
        index = torch.arange(turn * config.recipe.batch, (turn + 1) * config.recipe.batch) % clips.size("train")
        x, y = clips.batch("train", index, device)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found[1:])


def _whole(config: RunConfig, clips: Any, step_seconds: float) -> float:
    recipe = config.recipe
    forward = step_seconds / _TRAINING / recipe.batch  # of one clip
    validations = -(-recipe.steps // recipe.validate_every) + 1
    evaluated = validations * clips.size("val") + clips.size("test")
    return _START_SECONDS + recipe.steps * step_seconds + evaluated * forward


@cache
def _macs_per_second() -> float:
    """Multiply-adds a second in a matrix product on this device; a model reaches perhaps half of it."""
    import torch

    device = measure.best_device()
    a = torch.randn(1024, 1024, device=device)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        _ = (a @ a).sum().item()
        best = min(best, time.perf_counter() - started)
    return 0.5 * 1024**3 / best


def _device_bytes() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _earlier(out: Path) -> dict[tuple[Any, ...], float]:
    """What was run → seconds that finished cells of it took here."""
    found = {}
    for file in out.glob("*/row.json"):
        row = runs.Run(file.parent).row if runs.is_done(file.parent) else {}
        if row.get("train_seconds") is not None:
            found[_alike(row)] = float(row["train_seconds"]) + _START_SECONDS
    return found


def _alike(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("attention", "backbone", "data", "tubelet", "steps", "batch"))


def _total(values: Sequence[int | None]) -> int | None:
    return None if any(value is None for value in values) else sum(value or 0 for value in values)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
