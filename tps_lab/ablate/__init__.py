"""Ablations: a question in a file, its grid of runs, and whatever it takes to get through all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import files, plugins
from tps_lab.data import opened
from tps_lab.errors import InputError
from tps_lab.training.processes import check_trackers

if TYPE_CHECKING:
    from tps_lab.ablate.costs import Plan
    from tps_lab.ablate.grid import Cell, RunGrid
    from tps_lab.ablate.scheduler import State
    from tps_lab.training.config import RunConfig

__all__ = ["Asked", "Outcome", "plan", "run"]


@dataclass(frozen=True)
class Asked:
    """What to run, and how.

    Args:
        out: results folder; None is runs/ablations/<grid>-<scale>.
        take_from: results folders whose finished cells are copied over instead of being run again.
        only, limit: which cells (see `RunGrid.chosen`).
        executor: "inline", "local", "ray" or "slurm", with its options.
        jobs: cells at a time; None asks the executor.
        settings: keys that replace those of the grid's base.
        timing_seconds: how long each of three timings of all models may take before the start.
    """

    file: Path
    scale: str = "small"
    out: Path | None = None
    take_from: tuple[Path, ...] = ()
    only: tuple[str, ...] = ()
    limit: int | None = None
    executor: str = "local"
    executor_options: Mapping[str, Any] = field(default_factory=dict)
    jobs: int | None = None
    deterministic: bool = True
    checkpoint_seconds: float = 60.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    quiet: bool = False
    timing_seconds: float = 10.0

    @property
    def folder(self) -> Path:
        return self.out or Path("runs/ablations") / f"{self.file.stem}-{self.scale}"

    def grid(self) -> tuple[RunGrid, tuple[Cell, ...]]:
        """The grid, and the cells of it that are asked for."""
        from tps_lab.ablate.grid import load

        grid = load(self.file, self.scale, self.settings)
        return grid, grid.chosen(self.only, self.limit)


@dataclass(frozen=True)
class Outcome:
    """What a grid left."""

    grid: RunGrid
    out: Path
    states: Sequence[State]

    def table(self) -> Any:
        from tps_lab.ablate.watching import table

        return table(self.grid, self.states)

    def plain(self) -> dict[str, Any]:
        from tps_lab.ablate.watching import summary

        return {
            "out": str(self.out),
            "cases": summary(self.grid, self.states),
            "cells": [
                {"id": s.cell.id, "case": s.cell.case, "seed": s.cell.seed, "status": s.status, "reason": s.reason}
                for s in self.states
            ],
        }


def plan(asked: Asked) -> Plan:
    """What the cells are and what they will take, on this device; nothing is trained."""
    from tps_lab.ablate import executors, scheduler
    from tps_lab.ablate.costs import plan

    executors.checked(asked.executor, asked.jobs, asked.executor_options)
    grid, cells = asked.grid()
    finished = scheduler.finished_in([asked.folder, *asked.take_from])
    if grid.scale.tune and asked.limit is None:
        open_ = {(cell.case, cell.budget) for cell in cells if cell.digest not in finished}
        trials = [scheduler.State(c, "done", row=finished[c.digest].row) for c in cells if c.digest in finished]
        made = {at: choice for at, choice in tuned(grid, trials).choices.items() if at not in open_ and choice.values}
        cases = {cell.case for cell in cells}
        cells += tuple(cell for cell in grid.expected(made).runs if cell.case in cases)
    return plan(grid, cells, asked.folder, finished, asked.jobs)


def run(asked: Asked) -> Outcome:
    """Check all of a grid, then run what of it is not finished.

    Raises:
        InputError: something in the grid cannot work; nothing has been started.
        KeyboardInterrupt: stopped by hand; what was finished is kept.
    """
    from tps_lab.ablate import costs, executors, record, scheduler, watching

    executors.checked(asked.executor, asked.jobs, asked.executor_options)
    grid, cells = asked.grid()
    out, executor = asked.folder, asked.executor
    with files.writing(out):  # before anything is built or measured
        files.folder(out)
    check(grid, cells)
    if executor == "local" and not all(plugins.can_travel(type(cell.config.attention)) for cell in cells):
        executor = "inline"  # a variant that only this notebook knows
    where = executors.make(executor, asked.jobs, out, **asked.executor_options)

    def say(text: str) -> None:
        if not asked.quiet:
            print(text, file=sys.stderr, flush=True)

    def through(grid: RunGrid, cells: Sequence[Cell], began: str, ended: str = "") -> list[State]:
        states = scheduler.look(cells, out, grid, asked.take_from)
        for message in taken_over(states, asked.take_from):
            say(message)
        missing = [state.cell for state in states if state.status != "done"]
        say(f"{began}, {len(missing)} to run{ended}")
        measures = not where.remote and not any(cell.is_trial for cell in cells)
        settings = scheduler.Settings(
            timeout_seconds=grid.timeout_seconds,
            checkpoint_seconds=asked.checkpoint_seconds,
            deterministic=asked.deterministic,
            costs=costs.measured(missing, out, asked.timing_seconds, say) if measures else {},
        )
        with watching.watching(out, asked.quiet) as watch:
            return scheduler.run(grid, cells, out, where, settings, watch)

    try:
        states = through(grid, cells, f"{grid.file.title} {len(cells)} cells", f", in {out}")
        if grid.scale.tune:
            asked_for = {(cell.case, cell.budget) for cell in cells}
            own = set(cells)  # trials of an earlier call count as well
            others = [cell for cell in grid.cells if (cell.case, cell.budget) in asked_for and cell not in own]
            before = [state for state in scheduler.look(others, out, grid) if state.status == "done"]
            grid = tuned(grid, [*states, *before])
            for message in warnings(grid):
                say(message)
            for case, steps in record.choices(grid, out)[1]:
                if (case, steps) not in asked_for:
                    say(f"{case}, {steps} steps: an earlier call ran it otherwise than the file asks now; left out")
            cells = tuple(cell for cell in grid.runs if (cell.case, cell.budget) in asked_for)
            states = through(grid, cells, f"tuned; {len(cells)} runs at the choices")
    except KeyboardInterrupt:
        done = sum(state.status == "done" for state in scheduler.look(cells, out, grid))
        say(f"stopped; {done} of {len(cells)} cells are done and kept; the same command goes on from here")
        raise
    finally:
        where.close()
    return Outcome(grid, out, states)


def taken_over(states: Sequence[State], take_from: Sequence[Path]) -> Iterator[str]:
    """How many finished cells came from each folder, and which."""
    for folder in take_from:
        inside = f"{folder.resolve()}/"
        own = [s.cell.id for s in states if s.row and str(s.row.get("copied_from", "")).startswith(inside)]
        yield f"took {len(own)} finished cells over from {folder}" + "".join(f"\n  {cell}" for cell in own)


def tuned(grid: RunGrid, states: Sequence[State]) -> RunGrid:
    """The grid with every case's runs at what its trials chose for it, at every budget."""
    from tps_lab.ablate.grid import choose

    tried: dict[tuple[str, int], list[tuple[Any, float | None]]] = {}
    for state in states:
        accuracy = (state.row or {}).get("val_top1_pct") if state.status == "done" else None
        tried.setdefault((state.cell.case, state.cell.budget), []).append((state.cell.tuned, accuracy))
    return grid.tuned({at: choose(trials) for at, trials in tried.items()})


def warnings(grid: RunGrid) -> Iterator[str]:
    """What a reader of the choices must know."""
    for (case, steps), choice in grid.choices.items():
        if choice.values is None:
            yield f"{case}, {steps} steps: no trial ended well; it is left out"
        for key in choice.at_edge:
            assert choice.values is not None
            yield f"{case}, {steps} steps: {key} = {choice.values[key]} is at the end of its list; give it more values"


def check(grid: RunGrid, cells: Sequence[Cell]) -> None:
    """Open every data set and build every distinct model, so that nothing starts that cannot work.

    Raises:
        InputError: what cannot be built, the case that asks for it, and the line.
    """
    from tps_lab.training.train import build

    def works(config: RunConfig) -> None:
        check_trackers(config.trackers)
        build(config, opened(config.data))

    seen = set()
    for cell in cells:
        config = cell.config
        key = (config.attention, config.backbone, config.tubelet, config.temporal_position, config.data, config.weights)
        if key not in seen:
            seen.add(key)
            try:
                works(config)
            except InputError as error:
                raise InputError(f"{grid.made.where(cell.case, works)}: case '{cell.case}': {error}") from None
