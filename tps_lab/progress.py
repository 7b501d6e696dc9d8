"""Progress on stderr: a bar with ETA on a terminal, plain lines elsewhere (and none if quiet)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

News = str | Mapping[str, float]  # figures by name, such as {"loss": 0.41}, or a line where there are none
Advance = Callable[[int, News | None], None]
_WORDS = {"train_loss": "loss {:.3f}", "val_top1_pct": "validation {:.1f} %"}  # figures that a line of news shows


class Progress:
    """Says nothing; the base of those that do.

    `run` gives a function to call after each step with the step and, where there are, news.
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
        def advance(step: int, news: News | None) -> None:
            if news:
                self.say(f"{label}: step {step} of {steps}, {in_words(news)}")

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

        def advance(step: int, news: News | None) -> None:
            self.bars.update(task, completed=step)
            if news:
                self.bars.update(task, news=in_words(news))

        try:
            yield advance
        finally:
            self.bars.remove_task(task)
            self.shown -= 1
            if self.shown == 0:
                self.bars.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


def in_words(news: Any) -> str:
    """News as a line; also what was read from a file as news, whatever it is.

    >>> in_words({"train_loss": 0.4131, "val_loss": 0.5, "val_top1_pct": 71.25})
    'loss 0.413, validation 71.2 %'
    """
    if not isinstance(news, Mapping):
        return str(news)
    numbers = {name: value for name, value in news.items() if isinstance(value, (int, float))}
    return ", ".join(words.format(numbers[name]) for name, words in _WORDS.items() if name in numbers)


def for_this_terminal(quiet: bool = False) -> Progress:
    """Bars on a terminal, lines in a log, nothing if quiet."""
    if quiet:
        return Progress()
    return Bars() if sys.stderr.isatty() else Lines()
