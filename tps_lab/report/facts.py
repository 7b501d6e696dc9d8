"""What a report says in words: the answer, what each variant is and mixes, how it was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tps_lab.attention import Grid, Variant, parse
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern
from tps_lab.report.tables import cost, is_disputed, over
from tps_lab.viz.groups import Group, Interval
from tps_lab.viz.units import unit_for

_MOST_TOKENS = 1600  # who influences whom is a table of tokens × tokens


def answer(groups: Sequence[Group]) -> str:
    """The one sentence that the runs on one data set support, and no more than that."""
    scored = [(group, top1) for group in groups if (top1 := group.top1) is not None]
    if not scored:
        return f"No run has finished with a test accuracy: {len(groups)} tried, nothing to compare yet."
    scored.sort(key=lambda pair: -pair[1].mean)
    best, top = scored[0]
    tied = [(group, other) for group, other in scored[1:] if other.overlaps(top)]
    ceiling = best.one("ceiling_pct")
    limit = "" if ceiling is None else f"a model blind to the order of frames can reach at most {ceiling:.0f} %"
    first = f"{top.mean:.1f} % ({_interval(best, top)})"

    def score(group: Group, other: Interval) -> str:
        same = other.over and over(group) == over(best)  # said once, with the first
        return f"{group.label}, {other.mean:.1f} % ({other.span if same else _interval(group, other)})"

    if len(scored) == 1:
        text = f"{best.label} reaches a test accuracy of {first}, with nothing to compare it with"
    elif tied:
        named = [score(*pair) for pair in tied[:4]] + ([f"{len(tied) - 4} more"] if len(tied) > 4 else [])
        text = (
            f"{best.label} has the highest test accuracy, {first}, but can’t be told apart from {listed(named, '; ')}"
        )
    else:
        text = f"{best.label} is the most accurate, {first}, ahead of {score(*scored[1])}"
    return f"{text}; {limit}." if limit else f"{text}."


def remarks(groups: Sequence[Group]) -> list[str]:
    """What should be read together with the answer: who beats the ceiling, ties, and their costs."""
    scored = [(group, top1) for group in groups if (top1 := group.top1) is not None]
    said: list[str] = []
    bounded = [(group, top1, ceiling) for group, top1 in scored if (ceiling := group.one("ceiling_pct")) is not None]
    within = [group.label for group, top1, ceiling in bounded if not top1.over or top1.low <= ceiling]
    if bounded and within:
        said.append(f"Not shown to use the order of frames (interval not above the ceiling): {listed(within)}.")
    elif bounded:
        them = "All variants are" if len(bounded) > 1 else f"{bounded[0][0].label} is"
        said.append(f"{them} above the ceiling, which takes the order of frames.")
    scored.sort(key=lambda pair: -pair[1].mean)
    top = [group for group, other in scored if other.overlaps(scored[0][1])]
    macs = sorted((value, group.label) for group in top if (value := cost(group, "macs")) is not None)
    if len(macs) > 1:
        unit = unit_for("count", [value for value, _ in macs])
        least = [label for value, label in macs if value <= 1.001 * macs[0][0]]
        rest = [f"{label} {unit.text(value)}" for value, label in macs if label not in least]
        if rest:
            needs = "needs" if len(least) == 1 else "need"
            said.append(
                f"Of the variants that share the top, {listed(least)} {needs} the fewest multiply-adds per clip, "
                f"{unit.text(macs[0][0])} ({listed(rest)})."
            )
    pairs = [
        f"{first.label} and {second.label}"
        for i, (first, one) in enumerate(scored)
        for second, other in scored[i + 1 :]
        if one.overlaps(other) and not (first in top and second in top)
    ]
    if pairs:
        more = f"; and {len(pairs) - 6} more pairs" if len(pairs) > 6 else ""
        said.append(f"Also not told apart, because their intervals overlap: {'; '.join(pairs[:6])}{more}.")
    undone = [group.label for group in groups if group.undone]
    if undone:
        said.append(f"Some runs did not finish and count for nothing here: {listed(undone)}.")
    return said


def _interval(group: Group, top1: Interval) -> str:
    return f"95 % interval over {over(group)}: {top1.span}" if top1.over else "interval unknown"


def listed(words: Sequence[str], separator: str = ", ") -> str:
    """Words as people list them: "a, b and c"."""
    return " and ".join(words) if len(words) < 3 else f"{separator.join(words[:-1])} and {words[-1]}"


# ---------------------------------------------------------------------- variants


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
        variant = known_variant(group)
        name = variant.name if variant else str(group.first.get("variant") or group.attention)
        if name not in found:
            unknown = "This installation does not know the variant, so nothing is derived about it."
            found[name] = Described(variant.title if variant else name, variant.summary() if variant else unknown)
        facts = [*_mixing(variant, group), _relative_cost(group, groups)]
        found[name].groups.append((group, [fact for fact in facts if fact]))
    return list(found.values())


def known_variant(group: Group) -> Variant | None:
    """The variant object behind a row's text; None for one that lives elsewhere (a plugin's)."""
    try:
        return parse(group.attention)
    except (InputError, TypeError):
        return None


def pattern_of(group: Group) -> ShiftPattern | None:
    """The shift pattern of a group, if it has one."""
    pattern = getattr(known_variant(group), "pattern", None)
    if isinstance(pattern, ShiftPattern):
        return pattern
    try:
        return ShiftPattern.parse(str(group.first["pattern"])) if group.first.get("pattern") else None
    except InputError:
        return None


def pattern_text(pattern: ShiftPattern) -> str:
    """What a pattern mixes, as one sentence."""
    share, span = pattern.shifted_share, pattern.reach()
    frames = f"{pattern.frames_mixed} frame{'s' if pattern.frames_mixed > 1 else ''}"
    return f"{frames} in a mixed frame, {100 * share:.0f} % of the patches shifted, reach {span} frames a layer"


def _mixing(variant: Variant | None, group: Group) -> list[str]:
    if variant is None:
        return []
    facts = []
    pattern = pattern_of(group)
    if pattern is not None:
        facts.append(f"Pattern {pattern}: {pattern_text(pattern)}.")
    depth, grid = group.first.get("depth"), grid_of(group)
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
    time, own = shown.coordinates()[0], influence[shown.clip_prefix :, shown.clip_prefix :]
    reach = int((np.abs(time[:, None] - time) * own).max())
    size = f"{shown.frames} time steps of {shown.height}×{shown.width} patches"
    where = (
        f"({size})"
        if shown.height == grid.height and shown.width == grid.width
        else f"(computed for fewer patches: {size})"
    )
    many = f"all {shown.tokens}" if share >= shown.tokens else f"{share:.0f} of the {shown.tokens}"
    frames = f"up to {reach} frame{'s' if reach != 1 else ''} away" if reach else "its own frame only"
    facts.append(f"After {depth} blocks a token is influenced from {frames} and by {many} tokens {where}.")
    if variant.stated:
        facts.append(variant.stated)
    return facts


def grid_of(group: Group) -> Grid | None:
    """The token grid (time steps, rows, columns) of a group's runs, patches only."""
    from tps_lab.backbones import SMALL

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
        own, reference = cost(group, key), cost(base, key)
        if own is not None and reference:
            ratio = own / reference
            times = f"the same {name}" if abs(ratio - 1) < 0.005 else f"{ratio:.2f} × the {name}"
            disputed = key == "macs" and (is_disputed(group) or is_disputed(base))
            parts.append(times + (" (counts disputed)" if disputed else ""))
    return f"Against {base.label}: {listed(parts)}." if parts else ""
