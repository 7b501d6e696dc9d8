"""Several runs at a time, each in a worker process with its share of the cores.

A second thread gains a small model almost nothing, a second process doubles what gets done. What
passes between the two sides is a line of JSON each::

    here                                     python -m tps_lab.workers
      {"call": "module:function", "job": …} → stdin    calls function(job, progress), one after another
      {"event": "step", …}                  ← stdout
      {"event": "done", "result": …}        ← stdout

Ctrl-C reaches the workers as a signal: each ends its training early and still writes its row. A
worker that finds nobody listening any more does the same.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tps_lab import plugins, runs
from tps_lab.config import RunConfig
from tps_lab.progress import Advance, Progress

if TYPE_CHECKING:
    from tps_lab import data

Finished = Callable[[RunConfig, runs.Run], None]
_STOPPED = 130  # exit code
_BYTES_PER_WORKER = 2 << 30  # a process with torch loaded and a small model in training takes half of it


def how_many(wanted: int) -> int:
    """How many runs to train at a time on this machine: one on a GPU, else one per core."""
    import torch

    if torch.cuda.is_available():
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(wanted, cores(), memory // _BYTES_PER_WORKER))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_all(
    configs: Sequence[RunConfig],
    out: Path,
    costs: Mapping[str, dict[str, Any]],
    finished: Finished,
    progress: Progress,
    jobs: int,
) -> None:
    """Train every run, `jobs` at a time, in the order given.

    Args:
        out: the folder that the runs' folders go into.
        costs: attention → the figures of `measure.costs`.
        finished: called with every run that left a row, also failed and interrupted ones.

    Raises:
        KeyboardInterrupt: stopped by hand; what was under way has been written and reported.
    """
    waiting = list(configs)
    events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
    stopped = False

    def next_for(worker: _Worker) -> None:
        if waiting and not stopped:
            config = waiting.pop(0)
            worker.begin(config, out, costs[config.attention], progress)
        else:
            worker.process.stdin.close()  # type: ignore[union-attr]

    with ExitStack() as stack:
        workers = [stack.enter_context(_started(events, max(1, cores() // jobs))) for _ in range(jobs)]
        for worker in workers:
            next_for(worker)
        alive = len(workers)
        while alive:
            try:
                worker, event = events.get()
                if event is None:
                    alive -= 1
                    if worker.config is not None:
                        code, config = worker.process.wait(), worker.end()
                        if not (stopped and code == _STOPPED):  # stopped before it had begun: as if never asked for
                            finished(config, _left_behind(config, out, code))
                elif event["event"] == "done":
                    config = worker.end()
                    finished(config, runs.Run(Path(event["result"])))
                    next_for(worker)
                else:
                    worker.advance(event["step"], event["news"])
                    if stopped:  # the signal came while it got ready, when it does not listen
                        worker.process.send_signal(signal.SIGINT)
            except KeyboardInterrupt:
                if stopped:  # the second time people mean it
                    raise
                stopped = True
                progress.say("stopping: what is under way is measured and written (Ctrl-C again gives it up)")
                for worker in workers:
                    worker.process.send_signal(signal.SIGINT)
    if stopped:
        raise KeyboardInterrupt


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[str]
    config: RunConfig | None = None
    advance: Advance = lambda step, news: None
    bar: ExitStack = field(default_factory=ExitStack)

    def begin(self, config: RunConfig, out: Path, cost: dict[str, Any], progress: Progress) -> None:
        self.config = config
        label = f"{config.variant.label}, seed {config.seed}"
        self.advance = self.bar.enter_context(progress.run(label, config.recipe.steps))
        job = {"config": config.model_dump(mode="json"), "out": str(out), "cost": cost}
        give(self.process, "tps_lab.workers:train_one", job)

    def end(self) -> RunConfig:
        assert self.config is not None
        config, self.config = self.config, None
        self.bar.close()
        return config


def launch(
    hear: Callable[[dict[str, Any] | None], None],
    threads: int,
    environment: Mapping[str, str] | None = None,
    errors: IO[str] | None = None,
) -> subprocess.Popen[str]:
    """Start a worker process; it waits for what `give` gives it, and ends when its input is closed.

    Args:
        hear: called, from a thread, with every event of the worker, and with None when it has ended.
        environment: variables that it has besides ours.
        errors: where its stderr goes, if not where ours does.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tps_lab.workers", *map(str, plugins.loaded())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "TPS_LAB_COMMAND": runs.command(), **(environment or {})},
        start_new_session=True,  # the terminal's Ctrl-C is ours to pass on, once
    )

    def listen(lines: IO[str]) -> None:
        for line in lines:
            hear(json.loads(line))
        hear(None)

    threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
    return process


def give(process: subprocess.Popen[str], call: str, job: Mapping[str, Any]) -> None:
    """Let a worker call "module:function" with a job and a `Progress`; what it returns comes as an event."""
    with suppress(BrokenPipeError):  # if it died, its end of file tells
        print(json.dumps({"call": call, "job": job}), file=process.stdin, flush=True)


@contextmanager
def _started(events: queue.Queue[Any], threads: int) -> Iterator[_Worker]:
    process = launch(lambda event: events.put((worker, event)), threads)
    worker = _Worker(process)
    try:
        yield worker
    finally:
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.kill()
        process.wait()


def _left_behind(config: RunConfig, out: Path, code: int) -> runs.Run:
    """The row of a run whose process died without writing one."""
    from tps_lab import data
    from tps_lab.train import build, describe

    clips = data.parse(config.data).opened()
    why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    row = describe(config, clips, build(config, clips))
    return runs.finish_abandoned(out / config.folder, row | {"status": "failed", "reason": f"its process died: {why}"})


# ---------------------------------------------------------------------- the worker's side


class _Reporter(Progress):
    def __init__(self, channel: IO[str]) -> None:
        self.channel = channel

    def send(self, **event: Any) -> None:
        try:
            print(json.dumps(event), file=self.channel, flush=True)
        except BrokenPipeError:
            raise KeyboardInterrupt("the process that started it is gone") from None

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        # Training may be cut short; measuring and writing what it left may not.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield lambda step, news: self.send(event="step", step=step, news=news)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve() -> None:
    # stdout carries events only: whatever else prints goes to stderr
    reporter = _Reporter(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for file in sys.argv[1:]:
        plugins.load(Path(file))
    for line in sys.stdin:
        asked = json.loads(line)
        module, _, name = asked["call"].partition(":")
        reporter.send(event="done", result=getattr(importlib.import_module(module), name)(asked["job"], reporter))


def train_one(job: dict[str, Any], progress: Progress) -> str:
    """Train a run in a worker process; returns its folder."""
    from tps_lab.config import make
    from tps_lab.train import train

    config = make(job["config"])
    return str(train(config, Path(job["out"]), opened(config.data), job["cost"], progress).path)


@lru_cache(maxsize=4)
def opened(text: str) -> data.Clips:
    """An opened data set, kept for the next run in this process."""
    from tps_lab import data

    return data.parse(text).opened()


if __name__ == "__main__":
    try:
        _serve()
    except KeyboardInterrupt:
        sys.exit(_STOPPED)
