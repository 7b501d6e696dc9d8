"""One cell, from claim to row, in whatever process an executor runs it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tps_lab import plugins
from tps_lab.ablate import claims
from tps_lab.data import opened
from tps_lab.lazy import torch
from tps_lab.progress import Advance, News, Progress
from tps_lab.results import runs
from tps_lab.training.checkpoints import Checkpoints
from tps_lab.training.config import make
from tps_lab.training.train import train

EndState = Literal["done", "failed", "busy", "died"]


@dataclass(frozen=True)
class Job:
    """All that another process or machine must know; plain values, so that it travels as JSON.

    Args:
        id: the cell's, and the name of its folder.
        out: the results folder, on a file system that the other side sees too.
        config: of the run.
        cost: figures taken before, or None: then they are taken where the cell runs.
        more: what else the row says.
        deterministic: one thread, and only operations that give the same bits every time.
        timeout_seconds: for executors whose scheduler wants to know.
        test: whether it reads the test clips; a trial does not.
        plugins: files that define the user's own variants and data sets.
        command: what the user called, for the run's record.
    """

    id: str
    out: str
    config: dict[str, Any]
    cost: dict[str, Any] | None
    more: dict[str, Any]
    deterministic: bool = True
    checkpoint_seconds: float = 60.0
    timeout_seconds: float = 86400.0
    plugins: tuple[str, ...] = ()
    test: bool = True
    command: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def folder(self) -> Path:
        return Path(self.out) / self.id


@dataclass(frozen=True)
class Ended:
    """How a job ended. "failed" left a row that says why; "died" left none, the reason is here."""

    outcome: EndState
    reason: str = ""


class Handle(Protocol):
    """A job under way."""

    def ended(self) -> Ended | None:
        """How it ended; None while it waits or runs."""

    def kill(self) -> None:
        """End it at once, whatever it does."""


def outcome_of(result: Any) -> Ended:
    """What `run` returned."""
    return Ended(result if result in ("done", "failed", "busy") else "failed")


def run(job: dict[str, Any], progress: Progress | None = None) -> str:
    """Run a cell: "done" or "failed", of which its row says more, or "busy" if another process has it.

    Args:
        job: a `Job` as plain values.

    Raises:
        OSError: not even a row can be written.
        KeyboardInterrupt: stopped; the last checkpoint is there to go on from.
    """
    for slow in ("accelerate", "timm", "tps_lab.backbones"):  # a claim is for work; loading is none, and takes seconds
        importlib.import_module(slow)
    work = Job(**job)
    known = {str(file) for file in plugins.loaded()}
    for file in work.plugins:
        if file not in known:
            plugins.load(Path(file))
    if work.command:  # else it would be that of a worker process, with its addresses
        os.environ["TPS_LAB_COMMAND"] = work.command
    out = Path(work.out)
    claim = claims.claim(out, work.id)
    if claim is None:
        return "busy"
    try:
        if runs.is_done(work.folder):  # by somebody else, since the grid was looked at
            return "done"
        with deterministic(work.deterministic):
            config = make(work.config)
            done = train(
                config,
                out,
                opened(config.data),
                cost=work.cost,
                progress=_Reported(claim, progress or Progress()),
                checkpoints=Checkpoints(work.folder, work.checkpoint_seconds),
                test=work.test,
                **work.more,
            )
        return done.row["status"]
    except claims.Outbid:
        return "busy"
    finally:
        claim.release()


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """One thread, and only operations whose results are the same bits every time."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


class _Reported(Progress):
    """Passes on how far the cell is: to the results folder and to the progress shown here."""

    def __init__(self, claim: claims.Claim, inner: Progress) -> None:
        self.claim, self.inner = claim, inner

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        with self.inner.run(label, steps) as show:

            def advance(step: int, news: News | None) -> None:
                self.claim.update(step=step, steps=steps, news=news)
                if news or step == steps:
                    self.claim.check()
                show(step, news)

            self.claim.update(step=0, steps=steps, news="started")
            yield advance
