"""Where cells run: one small interface, and a file for each way.

An executor starts jobs; a handle says when one has ended, and can kill it. Everything else (who has
which cell, how far it is, its result) stands in the results folder, so that a grid begun by one
executor is finished by another.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tps_lab import files, workers
from tps_lab.ablate import cell as cells
from tps_lab.ablate.cell import Job
from tps_lab.errors import InputError, told, unknown

Outcome = Literal["done", "failed", "busy", "died"]


@dataclass(frozen=True)
class Ended:
    """How a job ended. "failed" left a row that says why; "died" left none, the reason is here."""

    outcome: Outcome
    reason: str = ""


class Handle(Protocol):
    """A job under way."""

    def ended(self) -> Ended | None:
        """How it ended; None while it waits or runs."""

    def kill(self) -> None:
        """End it at once, whatever it does."""


class Executor(Protocol):
    """Starts jobs.

    Attributes:
        slots: how many jobs it takes at a time.
        remote: jobs run on other machines, so that costs measured here say nothing about there.
    """

    slots: int
    remote: bool

    def start(self, job: Job) -> Handle:
        """Begin a job, or hand it to a queue."""

    def close(self) -> None:
        """End everything that is still there."""


def outcome_of(result: Any) -> Ended:
    """What `cell.run` returned."""
    return Ended(result if result in ("done", "failed", "busy") else "failed")


class Inline:
    """One cell after another in this process: for debuggers, and for variants that only a notebook knows.

    Nothing can kill a cell that hangs, and what kills it kills the grid.
    """

    slots = 1
    remote = False

    def start(self, job: Job) -> Handle:
        try:
            return _Over(outcome_of(cells.run(job.plain())))
        except Exception as error:
            return _Over(Ended("died", told(error)))

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Over:
    how: Ended

    def ended(self) -> Ended | None:
        return self.how

    def kill(self) -> None:
        pass


class Local:
    """Worker processes on this machine: one per core's share, or one per GPU.

    Args:
        jobs: at a time; None takes one per GPU, or as many as cores and memory allow.
        logs: folder of what the workers print.
    """

    remote = False

    def __init__(self, jobs: int | None = None, logs: Path | None = None) -> None:
        gpus = _gpus()
        self.slots = jobs or len(gpus) or workers.how_many(workers.cores())
        self.environments = [
            {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {} for slot in range(self.slots)
        ]
        self.logs = logs
        self.idle: list[_Worker] = []
        self.all: list[_Worker] = []

    def start(self, job: Job) -> Handle:
        # in place: workers put themselves back into this very list when they are free
        self.all[:] = [worker for worker in self.all if not worker.gone]
        self.idle[:] = [worker for worker in self.idle if not worker.gone]
        worker = self.idle.pop() if self.idle else self._another()
        worker.begin(job)
        return worker.handle

    def close(self) -> None:
        for worker in self.all:
            worker.close()

    def _another(self) -> _Worker:
        taken = {worker.slot for worker in self.all}
        slot = next(slot for slot in range(len(self.all) + 1) if slot not in taken)
        worker = _Worker(slot, self.environments[slot % self.slots], self.logs, self.idle.append)
        self.all.append(worker)
        return worker


class _Worker:
    """A process that runs one cell after another, so that torch is loaded once."""

    def __init__(
        self, slot: int, environment: dict[str, str], logs: Path | None, free: Callable[[_Worker], None]
    ) -> None:
        self.slot, self.free, self.gone = slot, free, False
        self.handle = _LocalHandle(self)
        self.log = None
        if logs is not None:
            self.log = files.open_to_write(files.folder(logs) / f"worker-{os.getpid()}-{slot}.log")
        self.process: subprocess.Popen[str] = workers.launch(self._hear, 1, environment, self.log)

    def begin(self, job: Job) -> None:
        self.handle = _LocalHandle(self)
        workers.give(self.process, "tps_lab.ablate.cell:run", job.plain())

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.handle.ended() is None:
            self.process.kill()
        self.process.wait()
        if self.log is not None:
            self.log.close()

    def _hear(self, event: dict[str, Any] | None) -> None:
        if event is None:
            code = self.process.wait()
            self.gone = True
            why = f"killed by signal {-code}" if code < 0 else f"exit code {code}{self._last_words()}"
            if self.handle.how is None:
                self.handle.how = Ended("died", f"its process died: {why}")
        elif event["event"] == "done":
            handle = self.handle  # once it is free, it may be given another job at once
            self.free(self)
            handle.how = outcome_of(event["result"])

    def _last_words(self) -> str:
        if self.log is None:
            return ""
        lines = Path(self.log.name).read_text(errors="replace").strip().splitlines()
        return f" ({lines[-1]})" if lines else ""


@dataclass
class _LocalHandle:
    worker: _Worker
    how: Ended | None = None

    def ended(self) -> Ended | None:
        return self.how

    def kill(self) -> None:
        self.worker.process.kill()
        self.worker.process.wait()


def _gpus() -> list[str]:
    """GPUs that jobs may have, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given:
        return given.split(",")
    return [str(i) for i in range(torch.cuda.device_count())]


EXECUTORS = ("inline", "local", "ray", "slurm")


def _pickles() -> Path:
    """Where submitit's pickles lie: at home, which machines of a cluster share, and not in a group's results."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tps-lab" / "submitit"


def make(name: str, jobs: int | None, out: Path, **options: Any) -> Executor:
    """An executor by name.

    Args:
        jobs: cells at a time; None asks the executor.
        out: the results folder, where logs go.
        **options: of the executor: `address` of a Ray cluster, `cluster`, `partition`, … of Slurm.

    Raises:
        InputError: unknown name or option, or its package is not installed.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be 1 or more, got {jobs}")
    if name in ("inline", "local") and options:
        raise InputError(f"executor {name} has no options, got {', '.join(options)}")
    if name == "inline":
        return Inline()
    if name == "local":
        return Local(jobs, out / ".logs")
    if name == "ray":
        from tps_lab.ablate.on_ray import OnRay

        return OnRay(jobs, **options)
    if name == "slurm":
        from tps_lab.ablate.on_slurm import OnSlurm

        return OnSlurm(jobs, Path(options.pop("folder", "") or _pickles()), **options)
    raise unknown("executor", name, EXECUTORS)
