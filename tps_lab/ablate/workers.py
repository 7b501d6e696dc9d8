"""Worker processes, each with its share of the cores.

A second thread gains a small model almost nothing, a second process doubles what gets done. What
passes between the two sides is a line of JSON each::

    here                                     python -m tps_lab.ablate.workers
      {"call": "module:function", "job": …} → stdin    calls function(job, progress), one after another
      {"event": "step", …}                  ← stdout
      {"event": "done", "result": …}        ← stdout

A worker that finds nobody listening any more stops, with a checkpoint to go on from.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tps_lab import children, plugins
from tps_lab.progress import Advance, Progress
from tps_lab.results import runs

_STOPPED = 130  # exit code


def launch(
    on_event: Callable[[dict[str, Any] | None], None],
    threads: int,
    environment: Mapping[str, str] | None = None,
    errors: IO[str] | None = None,
) -> subprocess.Popen[str]:
    """Start a worker process; it waits for what `give` gives it, and ends when its input is closed.

    Args:
        on_event: called, from a thread, with every event of the worker, and with None when it has ended.
        environment: variables that it has besides ours.
        errors: where its stderr goes, if not where ours does.
    """
    process = subprocess.Popen(
        children.python("-m", "tps_lab.ablate.workers", *plugins.loaded()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=children.environment(OMP_NUM_THREADS=str(threads), TPS_LAB_COMMAND=runs.command(), **(environment or {})),
        start_new_session=True,  # the terminal's Ctrl-C is ours to pass on, once
    )

    def listen(lines: IO[str]) -> None:
        for line in lines:
            on_event(json.loads(line))
        on_event(None)

    threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
    return process


def give(process: subprocess.Popen[str], call: str, job: Mapping[str, Any]) -> None:
    """Let a worker call "module:function" with a job and a `Progress`; what it returns comes as an event."""
    with suppress(BrokenPipeError):  # if it died, its end of file says so
        print(json.dumps({"call": call, "job": job}), file=process.stdin, flush=True)


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


if __name__ == "__main__":
    try:
        _serve()
    except KeyboardInterrupt:
        sys.exit(_STOPPED)
