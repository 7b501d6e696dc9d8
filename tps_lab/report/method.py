"""How the figures of a report were had: environment, units, intervals, notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tps_lab.report.wording import listed
from tps_lab.results.groups import Group

# what to print of an environment: term → keys, and the words around their values
_ENVIRONMENT = {
    "Date": {"date": "{}"},
    "Commit": {"commit": "{}"},
    "Machine": {"gpu": "{}", "cpu": "{}", "cores": "{} cores", "threads": "{} threads", "platform": "{}"},
    "Software": {"python": "Python {}", "torch": "torch {}", "timm": "timm {}"},
}


def measured(groups: Sequence[Group]) -> list[tuple[str, list[str]]]:
    """Terms and what to say about them: environment, units, how each figure was measured."""
    runs = [run for group in groups for run in group.runs]

    def across(*path: str) -> list[str]:
        found = dict.fromkeys(_inside(run.row, path) for run in runs)
        return [str(value) for value in found if value not in (None, "", [], {})]

    said: list[tuple[str, list[str]]] = []
    for title, words in _ENVIRONMENT.items():
        phrases = (
            ", ".join(text.format(run.environment[key]) for key, text in words.items() if run.environment.get(key))
            for run in runs
        )
        said.append((title, _few([phrase for phrase in dict.fromkeys(phrases) if phrase])))
    seeds = sorted(
        {str(run.row.get("seed")) for run in runs if run.row.get("seed") is not None}, key=lambda s: (len(s), s)
    )
    said.append(("Seeds", [", ".join(seeds)] if seeds else []))
    for key, title in {"backbone": "Backbone", "data": "Data", "steps": "Steps", "batch": "Batch"}.items():
        said.append((title, _few(across(key))))
    said.append(("Accuracy", [_about_intervals(groups)]))
    said.append(("Ceiling", across("ceiling_reason")))
    said.append(("MACs", ["Multiply-adds per clip (one view); a multiplication and the addition after it count once."]))
    counters = sorted({counter for run in runs for counter in run.row.get("macs_by_counter") or {}})
    if counters:
        agree = "" if any(group.is_disputed for group in groups) else ", which agree"
        said[-1][1].append(f"Counted by {listed(counters)}{agree}.")
    said.append(("Peak memory", [*across("peak_memory_bytes", "how"), "The largest over the seeds."]))
    said.append(
        ("Latency", [*across("latency_ms", "how"), "The median over the seeds; IQR is the interquartile range."])
    )
    said.append(("Training step", across("train_step_ms", "how")))
    notes = dict.fromkeys(str(note) for run in runs for note in run.row.get("data_notes") or [])
    said.append(("Data notes", list(notes)))
    commands = dict.fromkeys(str(run.environment["command"]) for run in runs if run.environment.get("command"))
    said.append(("Commands", _few(list(commands), 6)))
    return [(title, values) for title, values in said if values]


def _about_intervals(groups: Sequence[Group]) -> str:
    kinds = {top1.over for group in groups if (top1 := group.top1) is not None}
    said = ["Top-1 on the test clips."]
    if "seeds" in kinds:
        said.append(
            "With several seeds: their mean and its 95 % interval by Student’s t. It covers the chance in training, "
            "not the choice of test clips."
        )
    if "test clips" in kinds:
        said.append(
            "With one seed: its accuracy and Wilson’s 95 % interval over the test clips, taken as independent. It "
            "covers the choice of test clips, not the chance in training."
        )

    said.append("Variants are ranked only where the paired comparison of their answers settles it.")
    return " ".join(said)


def _inside(row: dict[str, Any], path: Sequence[str]) -> Any:
    value: Any = row
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _few(values: list[str], most: int = 4) -> list[str]:
    return values if len(values) <= most else [*values[:most], f"… and {len(values) - most} more"]
