"""Runs as tables: numbers for analysis, text for a terminal, LaTeX for an article, a flat line per run for a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import files
from tps_lab.results.groups import SETTINGS, Group, RunLike, group_runs
from tps_lab.results.metrics import METRICS, unit_for
from tps_lab.results.paired import paper_number
from tps_lab.results.runs import flat
from tps_lab.text import printable, short
from tps_lab.text import table as as_columns

if TYPE_CHECKING:
    import pandas as pd

    from tps_lab.report.comparisons import Comparisons
    from tps_lab.results.statistics import Comparison

_ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$",
    "·": r"$\cdot$", "≥": r"$\geq$", "−": r"$-$", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after a line's end they would be its options
}  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what formulas of spreadsheets begin with


def figures() -> list[str]:
    """Columns besides accuracies and their intervals: what runs cost, and metrics of a plugin."""
    return [one.name for one in METRICS.values() if one.of is not None or one.kind != "percent"]


def table(runs: Iterable[RunLike]) -> pd.DataFrame:
    """One row per variant and setting, seeds taken together; NaN where there is no figure.

    `interval` says what top1_low_pct and top1_high_pct are over: "seeds" (95 %, Student's t),
    "test clips" (95 %, Wilson, one seed) or "".
    """
    import pandas as pd

    groups = group_runs(runs)
    frame = pd.DataFrame([_numbers(group) for group in groups])
    numbers = [name for name in frame if name.endswith("_pct") or name in figures()]
    frame[numbers] = frame[numbers].astype(float)
    return frame


def text_table(runs: Iterable[RunLike], width: int | None = None) -> str:
    """The same, for the terminal."""
    groups = group_runs(runs)
    macs = unit_for("count", [group.cost("macs") for group in groups])
    memory = unit_for("bytes", [group.cost("training_memory_bytes") for group in groups])
    latency = unit_for("ms", [group.cost("latency_ms") for group in groups])
    heads = (
        "Variant",
        "Top-1 % (95 %)",
        "Over",
        "Blind to order %",
        f"MACs ({macs.name or 1})",
        f"Train mem ({memory.name})",
        "Latency ms",
    )
    rows = []
    for group in groups:
        top1, ceiling = group.top1, group.one("ceiling_pct")
        part = f" ({len(group.done)} of {len(group.runs)} done)" if group.status == "partly done" else ""
        row = (
            group.label + part,
            str(top1) if top1 else group.status,
            group.over,
            "–" if ceiling is None else f"{ceiling:.1f}",
            macs.number(group.cost("macs")) + ("*" if group.is_disputed else ""),
            memory.number(group.cost("training_memory_bytes")),
            latency.number(group.cost("latency_ms")),
        )
        rows.append([short(cell) for cell in row])
    printed = as_columns(heads, rows, width=width)
    if any(group.is_disputed for group in groups):
        printed += "\n* the counters of multiply-adds disagree; a report lists their counts"
    return printed


def escaped(text: object) -> str:
    """Text that LaTeX prints as it is, on one line.

    >>> escaped("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(_ESCAPED.get(sign, sign) for sign in " ".join(printable(text).split()))


def latex_table(
    groups: Sequence[Group], compared: Comparisons, paper: Mapping[str, Mapping[str, float]], command: str = ""
) -> str:
    """One `tabular` for a data set: accuracy with its interval, the paper's, the paired difference, the costs.

    A column that says the same of all rows, or nothing of any, is left out: the page of an article is narrow.
    """
    macs = unit_for("count", [group.cost("macs") for group in groups])
    memory = unit_for("bytes", [group.cost("training_memory_bytes") for group in groups])
    found = {id(pair.group): pair.found for pair in compared.pairs}
    columns = {
        "Seeds": [str(len(group.done)) for group in groups],
        r"Top-1 (\%)": ["" if group.top1 is None else str(group.top1) for group in groups],
        r"Paper (\%)": [paper_number(group, paper) for group in groups],
        "Difference": [_difference(found.get(id(group))) for group in groups],
        f"MACs ({macs.name or 1})": [macs.number(group.cost("macs")) for group in groups],
        f"Memory ({memory.name})": [memory.number(group.cost("training_memory_bytes")) for group in groups],
        "Latency (ms)": ["" if (ms := group.cost("latency_ms")) is None else f"{ms:.2f}" for group in groups],
    }
    columns = {head: cells for head, cells in columns.items() if any(cell not in ("", "–") for cell in cells)}
    shared = {head: cells[0] for head, cells in columns.items() if len(cells) > 1 and len(set(cells)) == 1}
    columns = {head: cells for head, cells in columns.items() if head not in shared}
    said = ["needs \\usepackage{booktabs}", command, *(f"{head}: {cell} for all" for head, cell in shared.items())]
    said += [f"brackets: 95 % intervals; difference to {compared.against} in points of top-1, * if settled (Holm)"]
    lines = [f"% {short(line, 2000)}" for line in said if line]
    lines += [r"\begin{tabular}{l" + "r" * len(columns) + "}", r"\toprule"]
    lines += [" & ".join(["Variant", *columns]) + r" \\", r"\midrule"]
    for i, group in enumerate(groups):
        cells = [column[i] for column in columns.values()]
        ids = short(" ".join(str(run.row.get("id")) for run in group.runs), 5000)
        row = " & ".join([escaped(group.label), *(cell or "--" for cell in cells)]).replace("–", "--")
        lines.append(rf"{row} \\ % {ids}")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def write_csv(runs: Iterable[RunLike], path: Path) -> None:
    """One line per run, nested figures as dotted columns, its environment as environment.*"""
    lines = [_flat(run.row | {"environment": run.environment}) for run in runs]
    for line in lines:
        line.pop("copied_from", None)  # a folder of this machine
    write_lines(lines, path)


def write_lines(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """CSV of dicts. A text that a spreadsheet would take for a formula begins with an apostrophe there."""
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, [_cell(name) for name in dict.fromkeys(name for line in lines for name in line)])
    writer.writeheader()
    writer.writerows({_cell(name): _cell(value) for name, value in line.items()} for line in lines)
    files.write_whole(path, written.getvalue())


# ---------------------------------------------------------------------- parts


def _difference(found: Comparison | None) -> str:
    if found is None:
        return ""
    star = "*" if found.settled else ""
    return f"${found.difference:+z.1f}${star} (${found.low:+z.1f}$, ${found.high:+z.1f}$)"


def _numbers(group: Group) -> dict[str, Any]:
    top1 = group.top1
    return (
        {"label": group.label}
        | {"attention": group.attention}
        | {key: group.first.get(key) for key in ("variant", "pattern", *SETTINGS)}
        | {"status": group.status, "seeds": len(group.done)}
        | {
            "top1_pct": top1.mean if top1 else None,
            "top1_low_pct": top1.low if top1 else None,
            "top1_high_pct": top1.high if top1 else None,
            "interval": top1.over if top1 else "",
            "top5_pct": group.mean("top5_pct"),
            "val_top1_pct": group.mean("val_top1_pct"),
            "chance_pct": group.one("chance_pct"),
            "ceiling_pct": group.one("ceiling_pct"),
        }
        | {name: group.cost(name) for name in figures()}
        | {"macs_status": "disputed" if group.is_disputed else str(group.first.get("macs_status") or "")}
        | {"run_ids": " ".join(str(run.row.get("id")) for run in group.runs)}
    )


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {k: "; ".join(map(str, v)) if isinstance(v, (list, tuple)) else v for k, v in flat(row).items()}
