"""Gets a grid done: what is finished is kept, what failed is recorded, everything else goes on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tps_lab import files, plugins
from tps_lab.ablate import claims, record
from tps_lab.ablate.cell import Ended, Handle, Job
from tps_lab.ablate.executors import Executor
from tps_lab.ablate.grid import Cell, RunGrid
from tps_lab.data import opened
from tps_lab.errors import InputError
from tps_lab.results import runs
from tps_lab.training.train import build, describe

Status = Literal["waiting", "running", "elsewhere", "done", "failed"]


@dataclass
class State:
    """Where a cell stands."""

    cell: Cell
    status: Status = "waiting"
    reason: str = ""
    kept: bool = False  # it was there before
    handle: Handle | None = None
    since: float = 0.0  # time.monotonic() when it was started
    row: dict[str, Any] | None = None


@dataclass
class Settings:
    """How cells are run; nothing here changes a figure but `deterministic`.

    Args:
        timeout_seconds: after which a cell counts as hanging and is killed.
    """

    timeout_seconds: float = 86400.0
    checkpoint_seconds: float = 60.0
    deterministic: bool = True
    costs: Mapping[Cell, dict[str, Any]] = field(default_factory=dict)


Watch = Callable[[Sequence[State]], None]


def run(
    grid: RunGrid,
    cells: Sequence[Cell],
    out: Path,
    executor: Executor,
    settings: Settings | None = None,
    watch: Watch = lambda states: None,
) -> list[State]:
    """Run what is not finished of these cells; every cell's end is in its folder in `out`.

    Failed cells are tried again, from their last checkpoint; finished ones never.

    Args:
        watch: called a few times a second with the states.

    Raises:
        InputError: the results folder cannot be written.
        KeyboardInterrupt: stopped by hand; what was under way goes on from its checkpoint next time.
    """
    settings = settings or Settings(timeout_seconds=grid.timeout_seconds)
    if grid.runs:  # trials alone are nothing to report on; what an earlier call found stays reported
        record.write(grid, out)
    states = look(cells, out, grid)
    running: list[State] = []
    try:
        while True:
            for state in states:
                if state.status == "waiting" and len(running) < executor.slots:
                    state.handle, state.since = executor.start(_job(state.cell, grid, out, settings)), time.monotonic()
                    state.status = "running"
                    running.append(state)
                    watch(states)
            for state in list(running):
                assert state.handle is not None
                how = state.handle.ended()
                if how is None and time.monotonic() - state.since > settings.timeout_seconds and _began(state, out):
                    state.handle.kill()
                    how = Ended("died", f"it hung: killed after {settings.timeout_seconds:.0f} seconds")
                if how is not None:
                    running.remove(state)
                    _settle(state, how, out, grid)
            for state in states:
                if state.status == "elsewhere":
                    _look_elsewhere(state, out)
            watch(states)
            if not any(state.status in ("waiting", "running", "elsewhere") for state in states):
                return states
            if not any(state.status == "waiting" for state in states) or len(running) >= executor.slots:
                time.sleep(0.1)
    finally:
        for state in running:
            if state.handle is not None and state.handle.ended() is None:
                state.handle.kill()


def look(cells: Sequence[Cell], out: Path, grid: RunGrid, take_from: Sequence[Path] = ()) -> list[State]:
    """Where cells stand before anything is run.

    Args:
        take_from: results folders whose finished cells are copied over; nobody else's are ever taken.
    """
    elsewhere = finished_in([out, *take_from])
    states = []
    for cell in cells:
        folder = out / cell.id
        same = elsewhere.get(cell.digest)
        if same and not runs.is_done(folder):
            _copy(same, folder, more(cell, grid))
        done = runs.is_done(folder)
        states.append(State(cell, "done" if done else "waiting", kept=done, row=runs.Run(folder).row if done else None))
    return states


def more(cell: Cell, grid: RunGrid) -> dict[str, Any]:
    """What a cell's row says besides its run."""
    tuned = ({"tuned": dict(cell.tuned)} if cell.tuned else {}) | ({"trial": True} if cell.is_trial else {})
    return {"case": cell.case, "varied": dict(cell.values), "ablation": grid.name, "scale": grid.scale_name} | tuned


def _job(cell: Cell, grid: RunGrid, out: Path, settings: Settings) -> Job:
    return Job(
        id=cell.id,
        out=str(out.resolve()),
        config=cell.config.model_dump(mode="json"),
        cost={} if cell.is_trial else settings.costs.get(cell),
        test=not cell.is_trial,
        more=more(cell, grid),
        deterministic=settings.deterministic,
        checkpoint_seconds=settings.checkpoint_seconds,
        timeout_seconds=settings.timeout_seconds,
        plugins=tuple(str(file.resolve()) for file in plugins.loaded()),
        command=runs.command(),
    )


def _began(state: State, out: Path) -> bool:
    """Whether a job is being worked on; one that waits in a queue does not hang."""
    began = claims.newest(out, state.cell.id) is not None
    if not began:
        state.since = time.monotonic()
    return began


def _settle(state: State, how: Ended, out: Path, grid: RunGrid) -> None:
    state.handle = None
    folder = out / state.cell.id
    if how.outcome == "busy":
        state.status = "elsewhere"
        return
    with suppress(OSError, ValueError):
        state.row = runs.Run(folder).row
    if how.outcome == "done" and state.row is not None:
        state.status = "done"
        return
    state.status = "failed"
    if how.outcome == "failed" and state.row is not None:
        state.reason = state.row["reason"]
        return
    state.reason = how.reason or "it left no row"
    state.row = _failed_row(state.cell, state.reason, more(state.cell, grid))
    with suppress(OSError):  # on a full disk the reason is at least shown
        runs.write_row(folder, state.row)


def _look_elsewhere(state: State, out: Path) -> None:
    folder = out / state.cell.id
    if runs.is_done(folder):
        state.status, state.row, state.kept = "done", runs.Run(folder).row, True
    elif not claims.held(out, state.cell.id):
        state.status = "waiting"


def _failed_row(cell: Cell, reason: str, more: dict[str, Any]) -> dict[str, Any]:
    row = {"id": cell.id, "status": "failed", "reason": reason, "missing": {}, "seed": cell.seed, **more}
    try:
        clips = opened(cell.config.data)
        return describe(cell.config, clips, build(cell.config, clips)) | row
    except Exception:  # what broke the cell may break this too; the reason must not be lost for it
        return row


def finished_in(folders: Sequence[Path]) -> dict[str, runs.Run]:
    """Hash → the finished cell in these folders or in the archives of pages there, the first that has it."""
    found: dict[str, runs.Run] = {}
    for folder in map(Path.resolve, folders):
        for row in sorted(folder.glob("*/row.json")):
            if not row.parent.is_symlink() and runs.is_done(row.parent):
                found.setdefault(row.parent.name.rpartition("-")[2], runs.Run(row.parent))
        for run in runs.archived([folder]):
            if run.row["status"] == "done":
                found.setdefault(run.path.name.rpartition("-")[2], run)
    return found


def _copy(source: runs.Run, target: Path, more: dict[str, Any]) -> None:
    half = Path()
    try:
        half = Path(tempfile.mkdtemp(prefix=".copy-", dir=files.folder(target.parent)))
        source.write_into(half)
        half.chmod(0o777 & ~_umask())
        row = source.row | more | {"id": target.name, "name": more["case"]}
        files.write_whole(half / "row.json", json.dumps(row | {"copied_from": str(source.path)}, indent=2))
        shutil.rmtree(target, ignore_errors=True)
        half.rename(target)
    except (OSError, InputError):  # it is run instead
        if half.name.startswith(".copy-"):
            shutil.rmtree(half, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
