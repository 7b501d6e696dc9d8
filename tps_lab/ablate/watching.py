"""What people see while a grid runs: a table on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tps_lab.ablate import claims
from tps_lab.ablate.scheduler import State, Watch
from tps_lab.progress import in_words

_SHOWN = 30  # rows of the table; the rest is counted
_ORDER = {"running": 0, "failed": 1, "elsewhere": 2, "waiting": 3, "done": 4}


@contextmanager
def watching(out: Path, quiet: bool = False) -> Iterator[Watch]:
    """A function that shows states, as fits the terminal."""
    if quiet:
        yield lambda states: None
    elif not sys.stderr.isatty():
        yield StateLines(out)
    else:
        from rich.console import Console
        from rich.live import Live

        table = Table(out)
        with Live(table.rich([]), console=Console(stderr=True), auto_refresh=False) as live:
            last, latest = 0.0, list[State]()

            def show(states: Sequence[State]) -> None:
                nonlocal last, latest
                latest = list(states)
                if time.monotonic() - last > 0.5:
                    last = time.monotonic()
                    live.update(table.rich(states), refresh=True)

            try:
                yield show
            finally:  # what stays on the screen is how it ended, not how it stood half a second before
                live.update(table.rich(latest), refresh=True)


class StateLines:
    """A line whenever a cell changes its state or has news."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.said: dict[str, str] = {}
        self.looked = 0.0

    def __call__(self, states: Sequence[State]) -> None:
        look = time.monotonic() - self.looked > 1
        if look:
            self.looked = time.monotonic()
        for state in states:
            line = news = _result(state)
            if state.status == "running":
                if not look and self.said.get(state.cell.id):
                    continue
                now = claims.progress(self.out, state.cell.id)
                news = in_words(now.get("news", "started"))
                line = f"step {now['step']} of {now['steps']}, {news}" if now.get("step") else news
            if state.status == "waiting" or self.said.get(state.cell.id) == news:
                continue
            first = state.cell.id not in self.said
            self.said[state.cell.id] = news
            if not (first and state.kept):  # what was there before is counted, not reported
                over = sum(other.status in ("done", "failed") for other in states)
                print(f"[{over}/{len(states)}] {name_of(state)}: {line}", file=sys.stderr, flush=True)


class Table:
    """State, accuracy so far and time left of every cell, those that run first."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.started = time.monotonic()

    def rich(self, states: Sequence[State]) -> Any:
        from rich.table import Table as RichTable

        table = RichTable(title=self.headline(states), title_justify="left", box=None, pad_edge=False)
        for name in ("case", "seed", "state", "step", "so far", "left"):
            table.add_column(name, justify="left" if name in ("case", "state", "so far") else "right")
        rows = sorted(states, key=lambda state: _ORDER[state.status])
        for state in rows[:_SHOWN]:
            now = claims.progress(self.out, state.cell.id) if state.status == "running" else {}
            step, steps = now.get("step", 0), now.get("steps", 0)
            spent = time.monotonic() - state.since
            left = f"{_clock(spent / step * (steps - step))}" if step else ""
            table.add_row(
                state.cell.case,
                str(state.cell.seed),
                state.status,
                f"{step}/{steps}" if steps else "",
                in_words(now.get("news", "")) if state.status == "running" else _result(state, short=True),
                left,
            )
        if len(rows) > _SHOWN:
            table.caption = f"… and {len(rows) - _SHOWN} more"
        return table

    def headline(self, states: Sequence[State]) -> str:
        """Counts, and when all of it should be over, judged by the cells done so far."""
        count = {status: sum(state.status == status for state in states) for status in _ORDER}
        text = ", ".join(f"{n} {status}" for status, n in count.items() if n)
        fresh = sum(state.status == "done" and not state.kept for state in states)
        left = len(states) - count["done"] - count["failed"]
        if fresh and left:
            text += f"; about {_clock((time.monotonic() - self.started) / fresh * left)} left"
        return text


def name_of(state: State) -> str:
    """Case and seed."""
    return f"{state.cell.case}, seed {state.cell.seed}"


def _result(state: State, short: bool = False) -> str:
    if state.status == "failed":
        return state.reason if short else f"failed: {state.reason}"
    if state.status == "done" and state.row is not None:
        top1 = state.row.get("top1_pct")
        text = "done" if top1 is None else f"{top1:.1f} % on test"
        return f"{text}, kept" if state.kept else text
    return "another process works on it" if state.status == "elsewhere" else state.status


def _clock(seconds: float) -> str:
    minutes, hours = round(seconds) // 60, round(seconds) // 3600
    return f"{hours}:{minutes % 60:02d} h" if hours else f"{minutes}:{round(seconds) % 60:02d} min"
