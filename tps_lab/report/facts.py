"""What a report says beside its figures: what each variant is, mixes and costs, and how all of it was measured."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tps_lab.attention import Grid
from tps_lab.backbones import SMALL
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern
from tps_lab.results.groups import Group
from tps_lab.results.runs import flat
from tps_lab.text import counted, listed

_MOST_NAMES = 6  # of one variant
_OUTSIDE_BRACKETS = re.compile(r", (?![^(]*\))")
_MOST_TOKENS = 1600  # who influences whom is a table of tokens × tokens


@dataclass
class Described:
    """A variant in words: what it is, and for every group what it mixes and what that costs."""

    title: str
    summary: str
    groups: list[tuple[Group, list[str]]] = field(default_factory=list)


def described(groups: Sequence[Group]) -> list[Described]:
    """One paragraph per variant, with a line per group of it."""
    found: dict[str, Described] = {}
    for group in groups:
        variant = group.variant
        name = variant.name if variant else str(group.first.get("variant") or group.attention)
        if name not in found:
            unknown = "This installation does not know the variant, so nothing is derived about it."
            found[name] = Described(variant.title if variant else name, variant.summary() if variant else unknown)
        facts = [*_mixing(group), _relative_cost(group, groups)]
        found[name].groups.append((group, [fact for fact in facts if fact]))
    return list(found.values())


def meanings(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What the names of a page mean: those of one variant, and the first line of the module that defines it.

    Where several axes make a label, such as "from scratch, patch only", a variant goes by what no other variant has.
    """
    named: dict[str, dict[str, None]] = {}
    titles = {}
    for group in groups:
        if (variant := group.variant) is None:
            continue
        line = next(iter((inspect.getdoc(inspect.getmodule(type(variant))) or "").splitlines()), "")
        if line:
            named.setdefault(line, {}).update(dict.fromkeys(_OUTSIDE_BRACKETS.split(group.label)))
            titles[line] = variant.title
    met = Counter(part for parts in named.values() for part in parts)
    own = {line: [part for part in parts if met[part] == 1] for line, parts in named.items()}
    alone = len(named) == 1  # then every part is its own, settings too
    return [
        (titles[line] if alone or not 0 < len(own[line]) <= _MOST_NAMES else ", ".join(own[line]), line)
        for line in named
    ]


def pattern_of(group: Group) -> ShiftPattern | None:
    """The shift pattern of a group, if it has one."""
    pattern = getattr(group.variant, "pattern", None)
    if isinstance(pattern, ShiftPattern):
        return pattern
    try:
        return ShiftPattern.parse(str(group.first["pattern"])) if group.first.get("pattern") else None
    except InputError:
        return None


def pattern_text(pattern: ShiftPattern, frames: int | None = None) -> str:
    """What a pattern mixes in a clip of so many frames, or in one that is long enough, as one sentence."""
    share, span = pattern.shifted_share, pattern.reach()
    count = min(pattern.frames_mixed, frames or pattern.frames_mixed)
    mixed = counted(count, "frame")
    return f"{mixed} in a mixed frame, {100 * share:.0f} % of the patches shifted, reach {span} frames a layer"


def _mixing(group: Group) -> list[str]:
    variant = group.variant
    if variant is None:
        return []
    facts = []
    pattern, grid = pattern_of(group), grid_of(group)
    if pattern is not None:
        facts.append(f"Pattern {pattern}: {pattern_text(pattern, grid.frames if grid else None)}.")
    depth = group.first.get("depth")
    if not isinstance(depth, int) or grid is None:
        return facts
    shown = _small(grid)
    if variant.needs_class_token:
        shown = dataclasses.replace(shown, prefix=1, prefix_of=variant.prefix_of)
    try:
        influence = variant.influence(shown, depth)
    except InputError:
        return facts
    share = influence.sum(1).mean()
    reach = variant.reach(shown, depth, influence)
    size = f"{shown.frames} time steps of {shown.height}×{shown.width} patches"
    where = (
        f"({size})"
        if shown.height == grid.height and shown.width == grid.width
        else f"(computed for fewer patches: {size})"
    )
    many = f"all {shown.tokens}" if share >= shown.tokens else f"{share:.0f} of the {shown.tokens}"
    step = "frame" if group.first.get("tubelet") in (None, 1) else "time step"
    frames = f"up to {counted(reach, step)} away" if reach else f"its own {step} only"
    frames += ", the last being next to the first," if reach and variant.ends_meet else ""
    facts.append(f"After {depth} blocks a token is influenced from {frames} and by {many} tokens {where}.")
    if variant.stated:
        facts.append(variant.stated)
    return facts


def grid_of(group: Group) -> Grid | None:
    """The token grid (time steps, rows, columns) of a group's runs, patches only."""
    row = group.first
    frames, size, tubelet = row.get("frames"), row.get("size"), row.get("tubelet") or 1
    if isinstance(row.get("grid"), (list, tuple)) and len(row["grid"]) == 3:
        time, height, width = map(int, row["grid"])
        return Grid(time, height, width)
    patch = SMALL.get(str(row.get("backbone")), ("", {}))[1].get("patch_size")
    if patch is None:
        _, found, after = str(row.get("backbone")).partition("patch")
        digits = after.split("_")[0]
        patch = int(digits) if found and digits.isdigit() else None
    if not (isinstance(frames, int) and isinstance(size, int) and patch):
        return None
    return Grid(frames // tubelet, size // patch, size // patch)


def _small(grid: Grid) -> Grid:
    """The same clip with fewer patches, if the table of who influences whom would get too large."""
    height, width = grid.height, grid.width
    while grid.frames * height * width > _MOST_TOKENS and min(height, width) > 4:
        height, width = height - 1, width - 1
    return Grid(grid.frames, height, width)


def _relative_cost(group: Group, groups: Sequence[Group]) -> str:
    """Its costs as multiples of those of spatial attention in the same setting."""
    keys = ("backbone", "data", "frames", "size", "tubelet")
    base = next(
        (
            other
            for other in groups
            if other.first.get("variant") == "spatial" and all(other.first.get(k) == group.first.get(k) for k in keys)
        ),
        None,
    )
    if base is group:
        return "The baseline of the costs below." if len(groups) > 1 else ""
    if base is None:
        return ""
    names = {
        "macs": "multiply-adds",
        "training_memory_bytes": "training memory",
        "inference_memory_bytes": "inference memory",
        "latency_ms": "latency",
    }
    parts = []
    for key, name in names.items():
        own, reference = group.cost(key), base.cost(key)
        if own is not None and reference:
            ratio = own / reference
            times = f"the same {name}" if abs(ratio - 1) < 0.005 else f"{ratio:.2f} × the {name}"
            disputed = key == "macs" and (group.is_disputed or base.is_disputed)
            parts.append(times + (" (counts disputed)" if disputed else ""))
    return f"Against {base.label}: {listed(parts)}." if parts else ""


# ---------------------------------------------------------------------- how figures were had

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
    rows = [flat(run.row) for run in runs]

    def across(key: str) -> list[str]:
        return [str(value) for value in dict.fromkeys(row.get(key) for row in rows) if value not in (None, "")]

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
    said.append(("Blind to order", across("ceiling_reason")))
    said.append(("MACs", ["Multiply-adds per clip (one view); a multiplication and the addition after it count once."]))
    counters = sorted({counter for run in runs for counter in run.row.get("macs_by_counter") or {}})
    if counters:
        agree = "" if any(group.is_disputed for group in groups) else ", which agree"
        said[-1][1].append(f"Counted by {listed(counters)}{agree}.")
    said.append(("Peak memory", [*across("peak_memory_bytes.how"), "The largest over the seeds."]))
    said.append(("Latency", [*across("latency_ms.how"), "The median over the seeds; IQR is the interquartile range."]))
    said.append(("Training step", across("train_step_ms.how")))
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


def _few(values: list[str], most: int = 4) -> list[str]:
    return values if len(values) <= most else [*values[:most], f"… and {len(values) - most} more"]
