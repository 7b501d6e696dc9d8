"""What a grid found, as a table: every case's mean over its seeds, with the paper's numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tps_lab import text
from tps_lab.ablate.grid import RunGrid
from tps_lab.ablate.scheduler import State
from tps_lab.results.axes import short


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


def value(row: Mapping[str, Any], measure: str) -> float | None:
    """A measure by its dotted name; None where a row has none."""
    found: Any = row
    for part in measure.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, (int, float)) else None


def _figures(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[str, float]:
    values = [found for row in rows if (found := value(row, measure)) is not None]
    return {"mean": fmean(values), "low": min(values), "high": max(values)} if values else {}


def table(grid: RunGrid, states: Sequence[State]) -> str:
    """The summary for the terminal, in the file's order: means over few seeds are not ranked."""
    entries = summary(grid, states)
    shown = [name for name in grid.file.measures if any(name in entry["measures"] for entry in entries)]
    printed = [name for name in shown if any(name in entry["paper"] for entry in entries)]
    several = len(grid.scale.budgets) > 1
    tuned = list(grid.scale.tune.over) if grid.scale.tune else []
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
            cells.append(_printed(name, entry["measures"].get(name)))
            if name in printed:
                cells.append(f"{entry['paper'][name]:g}" if name in entry["paper"] else "–")
        rows.append(cells)
    return f"{grid.file.question}\n\n{text.table(heads, rows)}"


def _printed(name: str, figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return "–"
    mean, spread = figures["mean"], figures["high"] > figures["low"]
    if name.startswith("peak_memory"):
        return f"{mean / 2**30:.3f} GiB"
    if name in ("macs", "params"):
        return f"{mean / 1e9:.4f} G" if name == "macs" else f"{mean / 1e6:.3f} M"
    between = f" ({figures['low']:.1f} to {figures['high']:.1f})" if spread and name.endswith("_pct") else ""
    return f"{mean:.1f}{between}"
