"""The results as a LaTeX table (booktabs), ready for `\\\\input`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tps_lab.report.paired import Pair, names_of
from tps_lab.report.tables import cost
from tps_lab.viz.groups import Group
from tps_lab.viz.units import unit_for

_ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$",
    "·": r"$\cdot$", "≥": r"$\geq$", "−": r"$-$",
}  # fmt: skip


def escaped(text: object) -> str:
    """Text that LaTeX prints as it is.

    >>> escaped("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(_ESCAPED.get(sign, sign) for sign in str(text))


def latex_table(
    groups: Sequence[Group], pairs: Sequence[Pair], paper: Mapping[str, Mapping[str, float]], command: str = ""
) -> str:
    """One `tabular` for a data set: accuracy with its interval, the paper's, the paired difference, the costs."""
    macs = unit_for("count", [cost(group, "macs") for group in groups])
    memory = unit_for("bytes", [cost(group, "training_memory_bytes") for group in groups])
    found = {id(pair.group): pair for pair in pairs}
    heads = ["Variant", "Seeds", r"Top-1 (\%)", r"95\,\%"]
    heads += [r"Paper (\%)"] if paper else []
    heads += [r"$\Delta$", r"95\,\%", f"MACs ({macs.name or 1})", f"Memory ({memory.name})", "Latency (ms)"]
    lines = [f"% {line}" for line in ("needs \\usepackage{booktabs}", command) if line]
    lines += [r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}", r"\toprule", " & ".join(heads) + r" \\", r"\midrule"]
    for group in groups:
        top1, pair = group.top1, found.get(id(group))
        difference = pair.found if pair else None
        latency = cost(group, "latency_ms")
        cells = [
            escaped(group.label),
            str(len(group.done)),
            f"{top1.mean:.1f}" if top1 else "--",
            top1.span.replace("–", "--") if top1 else "",
            *([paper_number(group, paper)] if paper else []),
            "" if difference is None else f"${difference.difference:+.1f}${'*' if difference.settled else ''}",
            "" if difference is None else f"${difference.low:+.1f}$ to ${difference.high:+.1f}$",
            macs.number(cost(group, "macs")),
            memory.number(cost(group, "training_memory_bytes")),
            "--" if latency is None else f"{latency:.2f}",
        ]
        ids = " ".join(str(run.row.get("id")) for run in group.runs)
        lines.append(" & ".join(cells).replace("–", "--") + rf" \\ % {ids}")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def paper_number(group: Group, paper: Mapping[str, Mapping[str, float]], key: str = "top1_pct") -> str:
    """The paper's figure for a group; empty if it gives none."""
    for name in names_of(group):
        if name in paper and key in paper[name]:
            return f"{paper[name][key]:.1f}"
    return ""
