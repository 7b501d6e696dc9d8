"""The results as a LaTeX table (booktabs), ready for `\\\\input`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tps_lab.report.comparisons import Comparisons
from tps_lab.results.groups import Group, Interval
from tps_lab.results.paired import names_of
from tps_lab.results.statistics import Comparison
from tps_lab.results.units import unit_for
from tps_lab.text import printable, short

_ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$",
    "·": r"$\cdot$", "≥": r"$\geq$", "−": r"$-$", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after a line's end they would be its options
}  # fmt: skip


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
        r"Top-1 (\%)": [_interval(group.top1) for group in groups],
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


def _interval(top1: Interval | None) -> str:
    return "" if top1 is None else f"{top1.mean:.1f}" + (f" ({top1.span})" if top1.span else "")


def _difference(found: Comparison | None) -> str:
    if found is None:
        return ""
    star = "*" if found.settled else ""
    return f"${found.difference:+z.1f}${star} (${found.low:+z.1f}$, ${found.high:+z.1f}$)"


def paper_number(group: Group, paper: Mapping[str, Mapping[str, float]], key: str = "top1_pct") -> str:
    """The paper's figure for a group; empty if it gives none."""
    for name in names_of(group):
        if name in paper and key in paper[name]:
            return f"{paper[name][key]:.1f}"
    return ""
