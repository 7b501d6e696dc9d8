"""What people see of a grid: while it runs a table on a terminal, or plain lines in a log; at the end what it found."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from tps_lab.ablate import claims
from tps_lab.ablate.grid import RunGrid
from tps_lab.ablate.scheduler import State, Watch
from tps_lab.progress import in_words
from tps_lab.results.axes import short
from tps_lab.results.groups import figure
from tps_lab.results.metrics import METRICS, Unit, unit_for
from tps_lab.text import duration
from tps_lab.text import table as columns

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
                print(f"[{over}/{len(states)}] {state.cell.title}: {line}", file=sys.stderr, flush=True)


class Table:
    """State, accuracy so far and time left of every cell, those that run first."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.started = time.monotonic()

    def rich(self, states: Sequence[State]) -> Any:
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=self.headline(states), title_justify="left", box=None, pad_edge=False)
        for name in ("case", "seed", "state", "step", "so far", "left"):
            table.add_column(name, justify="left" if name in ("case", "state", "so far") else "right")
        rows = sorted(states, key=lambda state: _ORDER[state.status])
        for state in rows[:_SHOWN]:
            now = claims.progress(self.out, state.cell.id) if state.status == "running" else {}
            step, steps = now.get("step", 0), now.get("steps", 0)
            spent = time.monotonic() - state.since
            left = duration(spent / step * (steps - step)) if step else ""
            cells = (
                ", ".join(filter(None, (state.cell.case, state.cell.setting))),
                str(state.cell.seed),
                state.status,
                f"{step}/{steps}" if steps else "",
                in_words(now.get("news", "")) if state.status == "running" else _result(state, short=True),
                left,
            )
            # text, as brackets in a name are no markup; folded, as names often differ at their end alone
            table.add_row(*(Text(cell, overflow="fold") for cell in cells))
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
            text += f"; about {duration((time.monotonic() - self.started) / fresh * left)} left"
        return text


def _result(state: State, short: bool = False) -> str:
    if state.status == "failed":
        return state.reason if short else f"failed: {state.reason}"
    if state.status == "done" and state.row is not None:
        top1 = state.row.get("top1_pct")
        text = "done" if top1 is None else f"{top1:.1f} % on test"
        return f"{text}, kept" if state.kept else text
    return "another process works on it" if state.status == "elsewhere" else state.status


# ---------------------------------------------------------------------- what it found


def summary(grid: RunGrid, states: Sequence[State]) -> list[dict[str, Any]]:
    """One entry a case: how many seeds are done, mean and range of each measure, the paper's numbers."""
    paper = grid.file.paper.numbers if grid.file.paper else {}
    entries = []
    for case, steps in dict.fromkeys((state.cell.case, state.cell.budget) for state in states):
        own = [state for state in states if (state.cell.case, state.cell.budget) == (case, steps)]
        rows = [state.row for state in own if state.status == "done" and state.row is not None]
        entries.append(
            {
                "case": case,
                "steps": steps,
                "tuned": dict(own[0].cell.tuned),
                "seeds": len(rows),
                "failed": sum(state.status == "failed" for state in own),
                "measures": {name: figures for name in grid.file.measures if (figures := _figures(rows, name))},
                "paper": paper.get(case, {}),
            }
        )
    return entries


def _figures(rows: Sequence[dict[str, Any]], measure: str) -> dict[str, float]:
    values = [found for row in rows if (found := figure(row, measure)) is not None]
    return {"mean": fmean(values), "low": min(values), "high": max(values)} if values else {}


def table(grid: RunGrid, states: Sequence[State]) -> str:
    """The summary for the terminal, in the file's order: means over few seeds are not ranked."""
    entries = summary(grid, states)
    shown = [name for name in grid.file.measures if any(name in entry["measures"] for entry in entries)]
    printed = [name for name in shown if any(name in entry["paper"] for entry in entries)]
    several = len(grid.scale.budgets) > 1
    tuned = list(grid.scale.tune.over) if grid.scale.tune else []
    kinds = {one.key: one.kind for one in METRICS.values()}
    units = {name: unit_for(kinds.get(name, "count"), [entry["measures"][name]["mean"] for entry in entries
                                                       if name in entry["measures"]]) for name in shown}  # fmt: skip
    heads = ["case", *(["steps"] if several else []), *map(short, tuned), "seeds"]
    for name in shown:
        heads.append(name.replace("_pct", " %").replace("_bytes", ""))
        if name in printed:
            heads.append(f"paper {name.replace('_pct', ' %')}")
    rows = []
    for entry in entries:
        cells = [entry["case"], *([str(entry["steps"])] if several else [])]
        cells += [str(entry["tuned"].get(key, "")) for key in tuned]
        cells += [f"{entry['seeds']}" + (f" ({entry['failed']} failed)" if entry["failed"] else "")]
        for name in shown:
            cells.append(_printed(units[name], entry["measures"].get(name)))
            if name in printed:
                cells.append(f"{entry['paper'][name]:g}" if name in entry["paper"] else "–")
        rows.append(cells)
    return f"{grid.file.question}\n\n{columns(heads, rows)}"


def _printed(unit: Unit, figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return "–"
    mean, low, high = (unit.number(figures[name]) for name in ("mean", "low", "high"))
    if unit.name == "%":  # as the head says
        return mean if low == high else f"{mean} ({low} to {high})"
    return unit.text(figures["mean"])
