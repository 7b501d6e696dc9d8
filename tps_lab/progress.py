"""Progress on stderr: a bar with ETA on a terminal, plain lines elsewhere (and none if quiet)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, str | None], None]


class Progress:
    """Says nothing; the base of those that do.

    `run` gives a function to call after each step with the step and, where there is news, a line.
    """

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        yield lambda step, news: None

    def say(self, text: str) -> None:
        """A line of its own."""


class Lines(Progress):
    """A plain line whenever there is news: for logs."""

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        def advance(step: int, news: str | None) -> None:
            if news:
                self.say(f"{label}: step {step} of {steps}, {news}")

        yield advance

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bars(Progress):
    """A rich progress bar per run, with the time left and the last news."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}", markup=False),
        )
        with RichProgress(*columns, console=self.console) as bars:
            task = bars.add_task(label, total=steps, news="")

            def advance(step: int, news: str | None) -> None:
                bars.update(task, completed=step)
                if news:
                    bars.update(task, news=news)

            yield advance

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


def for_this_terminal(quiet: bool = False) -> Progress:
    """Bars on a terminal, lines in a log, nothing if quiet."""
    if quiet:
        return Progress()
    return Bars() if sys.stderr.isatty() else Lines()
