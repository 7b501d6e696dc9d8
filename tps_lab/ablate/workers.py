"""Worker processes on this machine, each with its share of the cores, that run one cell after another.

A second thread gains a small model almost nothing, a second process doubles what gets done; torch is loaded once in
each. What passes between the two sides is a line each::

    here                     python -m tps_lab.ablate.workers PLUGIN…
      a `Job` as JSON     →  stdin    runs the cell
      "step"              ←  stdout   after each of its steps
      "done", …           ←  stdout   how it ended, see `cell.run`

A worker that finds nobody listening any more stops, with a checkpoint to go on from.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tps_lab import children, files, plugins
from tps_lab.ablate import cell
from tps_lab.ablate.cell import Ended, Handle, Job, outcome_of
from tps_lab.lazy import end_quickly, torch
from tps_lab.progress import Advance, Progress
from tps_lab.results import runs

_STEP = "step"
_STOPPED = 130  # exit code


class LocalWorkers:
    """Worker processes on this machine: one per core's share, or one per GPU.

    Args:
        jobs: at a time; None takes one per GPU, or as many as cores and memory allow.
        logs: folder of what the workers print.
    """

    remote = False

    def __init__(self, jobs: int | None = None, logs: Path | None = None) -> None:
        gpus = _gpus()
        self.slots = jobs or len(gpus) or children.how_many(children.cores())
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
        for worker in self.all:  # all of them, before any is waited for
            worker.ask_to_end()
        for worker in self.all:
            worker.close()

    def _another(self) -> _Worker:
        taken = {worker.slot for worker in self.all}
        slot = next(slot for slot in range(len(self.all) + 1) if slot not in taken)
        worker = _Worker(slot, self.environments[slot % self.slots], self.logs, self.idle.append)
        self.all.append(worker)
        return worker


class _Worker:
    """One of the processes; it ends when its input is closed."""

    def __init__(
        self, slot: int, environment: dict[str, str], logs: Path | None, free: Callable[[_Worker], None]
    ) -> None:
        self.slot, self.free, self.gone = slot, free, False
        self.handle = _LocalHandle(self)
        self.log: IO[str] | None = None
        if logs is not None:
            self.log = files.open_to_write(files.folder(logs) / f"worker-{os.getpid()}-{slot}.log")
        self.process = subprocess.Popen(
            children.python("-m", "tps_lab.ablate.workers", *plugins.loaded()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=children.environment(OMP_NUM_THREADS="1", TPS_LAB_COMMAND=runs.command(), **environment),
            start_new_session=True,  # the terminal's Ctrl-C is ours to pass on, once
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, job: Job) -> None:
        self.handle = _LocalHandle(self)
        with suppress(BrokenPipeError):  # if it died, its end of file says so
            print(json.dumps(job.plain()), file=self.process.stdin, flush=True)

    def ask_to_end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def close(self) -> None:
        self.ask_to_end()
        if self.handle.ended() is None:
            self.process.kill()
        self.process.wait()
        if self.log is not None:
            self.log.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if (said := line.strip()) != _STEP:
                    handle = self.handle  # once it is free, it may be given another job at once
                    self.free(self)
                    handle.how = outcome_of(said)
        code = self.process.wait()
        self.gone = True
        why = f"killed by signal {-code}" if code < 0 else f"exit code {code}{self._last_words()}"
        if self.handle.how is None:
            self.handle.how = Ended("died", f"its process died: {why}")

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
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given:
        return given.split(",")
    return [str(i) for i in range(torch.cuda.device_count())]


# ---------------------------------------------------------------------- the worker's side


class _Reporter(Progress):
    """Says each step to who started us."""

    def __init__(self, channel: IO[str]) -> None:
        self.channel = channel

    def send(self, line: str) -> None:
        try:
            print(line, file=self.channel, flush=True)
        except BrokenPipeError:
            raise KeyboardInterrupt("the process that started it is gone") from None

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        # Training may be cut short; measuring and writing what it left may not.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield lambda step, news: self.send(_STEP)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve() -> None:
    end_quickly()
    # stdout carries those lines only: whatever else prints goes to stderr
    reporter = _Reporter(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for file in sys.argv[1:]:
        plugins.load(Path(file))
    for line in sys.stdin:
        reporter.send(cell.run(json.loads(line), reporter))


if __name__ == "__main__":
    try:
        _serve()
    except KeyboardInterrupt:
        sys.exit(_STOPPED)
