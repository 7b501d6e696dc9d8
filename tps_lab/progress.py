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
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = Console(stderr=True)
        self.bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}", markup=False),
            console=self.console,
        )
        self.shown = 0

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        # several runs may be under way, but a terminal holds one live display
        if self.shown == 0:
            self.bars.start()
        self.shown += 1
        task = self.bars.add_task(label, total=steps, news="")

        def advance(step: int, news: str | None) -> None:
            self.bars.update(task, completed=step)
            if news:
                self.bars.update(task, news=news)

        try:
            yield advance
        finally:
            self.bars.remove_task(task)
            self.shown -= 1
            if self.shown == 0:
                self.bars.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


def for_this_terminal(quiet: bool = False) -> Progress:
    """Bars on a terminal, lines in a log, nothing if quiet."""
    if quiet:
        return Progress()
    return Bars() if sys.stderr.isatty() else Lines()
