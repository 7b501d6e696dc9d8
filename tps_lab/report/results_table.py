"""The cells of a report's results table: texts, what they sort by, and footnotes for what is missing."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tps_lab.results.groups import SETTINGS, Group, setting, setting_text
from tps_lab.results.metrics import METRICS, Metric, Unit, unit_for
from tps_lab.text import listed
from tps_lab.viz.style import Look, looks, marker_path


@dataclass(frozen=True)
class Column:
    """A column's heading, its unit, and the heading that it shares with its neighbours."""

    head: str
    unit: str
    over: str = ""

    @property
    def full(self) -> str:
        """The whole heading on one line."""
        name = f"{self.over}, {self.head.lower()}" if self.over else self.head
        return " ".join((f"{name} ({self.unit})" if self.unit else name).split())


@dataclass(frozen=True)
class TableCell:
    """A figure as text, a smaller line below it, its footnote's letter, and what to sort by."""

    text: str
    sort: float | None = None
    below: str = ""
    hint: str = ""
    note: str = ""


@dataclass
class TableRow:
    """A line of the table: a variant in its setting."""

    label: str
    look: Look
    swatch: str
    setting: str
    trouble: list[str]
    cells: list[TableCell]


@dataclass
class Results:
    """The whole table, ready to be printed by a template.

    Args:
        notes: letter, text.
        unshown: why there are no columns of figures that no variant has, in sentences.
    """

    columns: list[Column]
    rows: list[TableRow]
    notes: list[tuple[str, str]] = field(default_factory=list)
    unshown: list[str] = field(default_factory=list)


def results(groups: Sequence[Group]) -> Results:
    """The results table of groups that share a data set."""
    left_out = _left_out(groups)
    shown = [one for one in _shown() if one not in left_out]
    units = {one.name: unit_for(one.kind, [group.cost(one.name) for group in groups]) for one in shown}
    columns = [Column("Top-1", "%"), *(_column(one, units[one.name]) for one in shown)]
    found = Results(columns, [], unshown=_said(left_out))
    letters = _letters()
    known: dict[str, str] = {}

    def note(text: str) -> str:
        if text not in known:
            known[text] = next(letters)
            found.notes.append((known[text], text))
        return known[text]

    varying = [key for key in SETTINGS if len({str(setting(group.first, key)) for group in groups if group.done}) > 1]
    for group, used in zip(groups, looks(group.attention for group in groups), strict=True):
        # most have no embedding of time, so only one that is there gets mentioned; weights of an axis are in the label
        asked = group.first.get("varied") or {}
        settings = (
            setting_text(group.first, key)
            for key in varying
            if group.first.get(key) is not False and not (key == "weights" and key in asked)
        )
        cells = [_top1(group, note), *(_cell(group, one, units[one.name], note) for one in shown)]
        found.rows.append(
            TableRow(
                group.label,
                used,
                marker_path(used.marker),
                " · ".join(text for text in settings if text and text not in group.label),
                trouble(group),
                cells,
            )
        )
    return found


def trouble(group: Group) -> list[str]:
    """What became of the runs that did not finish, one phrase for each distinct reason."""
    phrases: dict[str, list[str]] = {}
    for run in group.undone:
        reason = str(run.row.get("reason") or "no reason recorded")
        phrases.setdefault(f"{run.row.get('status') or 'unknown'}: {reason}", []).append(str(run.row.get("seed")))
    total = len(group.runs)
    return [text if total == 1 else f"{len(seeds)} of {total} runs {text}" for text, seeds in phrases.items()]


# ---------------------------------------------------------------------- parts


def _shown() -> list[Metric]:
    """What has a column besides top-1: accuracies and their ceiling, then what they cost."""
    known = [one for one in METRICS.values() if one.head]
    return [one for one in known if one.kind == "percent"] + [one for one in known if one.kind != "percent"]


def _left_out(groups: Sequence[Group]) -> dict[Metric, str]:
    """Columns that no variant has a figure for, all for one reason → that reason."""
    done = [group for group in groups if group.done]
    found = {}
    for one in _shown():
        reasons = {group.why_missing(one.key) for group in done}
        if not one.shared and len(reasons) == 1 and all(group.cost(one.name) is None for group in groups):
            found[one] = reasons.pop()
    return found


def _said(left_out: Mapping[Metric, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for one, reason in left_out.items():
        head = " ".join(one.head.split())
        by_reason.setdefault(reason, []).append(head.lower() if by_reason.get(reason) else head)
    return [f"{listed(names)}: {reason}." for reason, names in by_reason.items()]


def _column(one: Metric, unit: Unit) -> Column:
    if one.name == "macs":
        return Column(one.head, f"{unit.name} multiply-adds\nper clip".strip())
    if one.name == "latency_ms":
        return Column(one.head, "ms, median\nand IQR")
    return Column(one.head, unit.name, one.shared)


def _top1(group: Group, note: Callable[[str], str]) -> TableCell:
    top1 = group.top1
    if top1 is None:
        if not group.done:
            return TableCell(group.status, hint="; ".join(trouble(group)))
        return _missing(group, "top1_pct", note)
    if not top1.over:
        return TableCell(f"{top1.mean:.1f}", top1.mean, "", "no interval: the number of test clips is not recorded")
    how = "Student's t over seeds" if top1.over == "seeds" else "Wilson, over the test clips of one seed"
    return TableCell(f"{top1.mean:.1f}", top1.mean, f"{top1.span}, {group.over}", f"95 % interval, {how}")


def _cell(group: Group, one: Metric, unit: Unit, note: Callable[[str], str]) -> TableCell:
    value = group.cost(one.name)
    if value is None:
        return _missing(group, one.key, note)
    cell_note = below = hint = ""
    if one.name == "ceiling_pct":
        hint = str(group.first.get("ceiling_reason") or "")
    if one.name == "latency_ms" and (iqr := group.cost("latency_iqr_ms")) is not None:
        below = f"IQR {unit.number(iqr)}"
    if one.name == "macs" and group.is_disputed:
        cell_note = note(disputed_text(group))
        below = "disputed"
    return TableCell(unit.number(value), value, below, hint, cell_note)


def disputed_text(group: Group) -> str:
    """What each counter says, in full."""
    counts: dict[str, list[str]] = {}
    for run in group.runs:
        for counter, value in (run.row.get("macs_by_counter") or {}).items():
            text = f"{value:,}" if isinstance(value, (int, float)) else str(value or "–")
            if text not in counts.setdefault(counter, []):
                counts[counter].append(text)
    said = ", ".join(f"{counter} {' or '.join(values)}" for counter, values in counts.items())
    return f"{group.label}: the counters of multiply-adds disagree ({said or 'no counts recorded'})"


def _missing(group: Group, key: str, note: Callable[[str], str]) -> TableCell:
    reason = group.why_missing(key)
    # a run that did not finish says why below its name; no need to repeat it in every column
    letter = note(reason) if group.done else ""
    return TableCell("–", hint=reason, note=letter)


def _letters() -> itertools.chain[str]:
    pairs = ("".join(both) for both in itertools.product(string.ascii_lowercase, repeat=2))
    return itertools.chain(string.ascii_lowercase, pairs)
