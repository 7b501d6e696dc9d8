"""Two result sets side by side: the same configurations run by another commit or on another machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tps_lab import files
from tps_lab.errors import InputError
from tps_lab.report.render import render
from tps_lab.report.tables import write_lines
from tps_lab.results import runs
from tps_lab.results.groups import Group, RunLike, group_runs
from tps_lab.results.paired import Pair, compare_groups
from tps_lab.text import table as as_columns

_COSTS = {"macs": "MACs", "training_memory_bytes": "training memory", "latency_ms": "latency"}


@dataclass(frozen=True)
class Versus:
    """What two result sets share, B against A, and what only one of them has.

    Args:
        pairs: B's groups against A's.
        only_a, only_b: labels.
        unpaired: seeds of shared configurations that only one side finished, in words; they count for nothing.
        differs: what the environments of the two do not share: key → (A's values, B's values).
    """

    name_a: str
    name_b: str
    pairs: list[Pair]
    only_a: list[str]
    only_b: list[str]
    unpaired: list[str]
    differs: dict[str, tuple[str, str]]


def versus(first: Iterable[RunLike], second: Iterable[RunLike], name_a: str = "A", name_b: str = "B") -> Versus:
    """Match the groups of two result sets by all their settings, and compare them.

    Raises:
        InputError: the two have no configuration in common.
    """
    first, second = list(first), list(second)
    a, b = ({_key(group): group for group in group_runs(runs)} for runs in (first, second))
    shared = [key for key in a if key in b]
    if not shared:
        raise InputError(f"{name_a} and {name_b} have no configuration in common, so there is nothing to compare")
    both = [_on_shared_seeds(b[key], a[key]) for key in shared]
    return Versus(
        name_a,
        name_b,
        compare_groups([(one, other) for one, other, _ in both]),
        [group.label for key, group in a.items() if key not in b],
        [group.label for key, group in b.items() if key not in a],
        [said.format(a=name_a, b=name_b) for *_, said in both if said],
        _environments(first, second),
    )


def _on_shared_seeds(one: Group, other: Group) -> tuple[Group, Group, str]:
    """B's and A's group with the runs of those seeds that both finished, one run a seed, and what that leaves out."""
    done = [{run.row.get("seed"): run for run in group.done} for group in (one, other)]
    shared = [seed for seed in done[0] if seed in done[1]]
    if not shared:
        return one, other, ""
    alone = [
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} only in {name}"
        for mine, theirs, name in ((done[1], done[0], "{a}"), (done[0], done[1], "{b}"))
        if (seeds := [seed for seed in mine if seed not in theirs])
    ]
    said = f"{one.label.replace('{', '{{').replace('}', '}}')}: {'; '.join(alone)}" if alone else ""
    groups = [
        replace(group, runs=tuple(d[seed] for seed in shared)) for group, d in zip((one, other), done, strict=True)
    ]
    return groups[0], groups[1], said


def ratios(pair: Pair) -> dict[str, float]:
    """B's costs as multiples of A's."""
    found = {}
    for key, name in _COSTS.items():
        new, old = pair.group.cost(key), pair.against.cost(key)
        if new is not None and old:
            found[name] = new / old
    return found


def answer(found: Versus) -> str:
    """One sentence, and no more than the intervals allow."""
    changed = [pair for pair in found.pairs if pair.found and pair.found.settled]
    compared = [pair for pair in found.pairs if pair.found]
    if not compared:
        return f"No accuracy could be compared: {found.pairs[0].why_not}."
    if changed:
        said = ", ".join(f"{pair.group.label} {pair.found}" for pair in changed)
        return f"{len(changed)} of {len(compared)} differ in test accuracy (B minus A, points, 95 % interval): {said}."
    same = all(pair.found and pair.found.low == pair.found.high == 0 for pair in compared)
    if same:
        return f"All {len(compared)} answer every test clip alike."
    widest = max(max(abs(pair.found.low), abs(pair.found.high)) for pair in compared if pair.found)
    return f"None of {len(compared)} is shown to differ; differences up to {widest:.1f} points are not excluded."


def facts(found: Versus) -> dict[str, Any]:
    """As plain data, for `--json`."""
    return {
        "a": found.name_a,
        "b": found.name_b,
        "answer": answer(found),
        "compared": [_line(pair) for pair in found.pairs],
        "only_a": found.only_a,
        "only_b": found.only_b,
        "unpaired": found.unpaired,
        "environment": found.differs,
    }


def text(found: Versus) -> str:
    """For a terminal."""
    lines = [f"A = {found.name_a}, B = {found.name_b}; differences are B - A", ""]
    heads = ["variant", "seeds", "A %", "B %", "B - A, points", "verdict", "costs, B / A"]
    lines += [as_columns(heads, _cells(found), left=(0, 5, 6)), "", answer(found)]
    lines += [f"not counted: {said}" for said in found.unpaired]
    lines += [f"only in {name}: {', '.join(labels)}" for name, labels in _only(found) if labels]
    lines += [f"{key}: {a} → {b}" for key, (a, b) in found.differs.items()]
    return "\n".join(lines)


def write(found: Versus, out: Path, command: str = "", left_out: Sequence[str] = ()) -> None:
    """`index.html`, `report.md` and `results.csv` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [_line(pair) for pair in found.pairs]
    write_lines(lines, out / "results.csv")
    heads = ["Variant", "Seeds", "A (%)", "B (%)", "B − A (points)", "Verdict", "Costs, B / A"]
    content = {
        "found": found, "answer": answer(found), "heads": heads, "rows": _cells(found), "only": _only(found),
        "command": command, "left_out": left_out, "ids": [(pair.group.label, line["runs_a"], line["runs_b"])
                                    for pair, line in zip(found.pairs, lines, strict=True)],
    }  # fmt: skip
    for template, name in (("versus.md.j2", "report.md"), ("versus.html.j2", "index.html")):
        files.write_whole(out / name, render(template, content))


# ---------------------------------------------------------------------- parts


def _key(group: Group) -> tuple[str, ...]:
    config = group.runs[0].config
    if config:  # all settings of the run but its name and seed; two grids may call it two things
        settings = runs.flat({key: value for key, value in config.items() if key not in ("name", "seed", "trackers")})
        return tuple(f"{key}={value}" for key, value in sorted(settings.items()))
    keys = "case attention backbone data tubelet temporal_position steps batch lr precision".split()
    return tuple(str(group.first.get(key)) for key in keys)


def _line(pair: Pair) -> dict[str, Any]:
    found = pair.found
    one: dict[str, Any] = {
        "label": pair.group.label,
        "a_pct": pair.against.mean("top1_pct"),
        "b_pct": pair.group.mean("top1_pct"),
        "verdict": verdict(pair),
        "runs_a": [run.row.get("id") for run in pair.against.runs],
        "runs_b": [run.row.get("id") for run in pair.group.runs],
        **{f"{name} ratio": ratio for name, ratio in ratios(pair).items()},
    }
    if found is not None:
        one |= {"difference": found.difference, "low": found.low, "high": found.high, "seeds": found.seeds}
        one |= {"p_holm": found.p_holm if found.p_holm == found.p_holm else None}
    return one


def verdict(pair: Pair) -> str:
    """As `Pair.verdict`, but runs that answer every clip alike are said to."""
    found = pair.found
    return "same answers" if found and found.low == found.high == 0 == found.difference else pair.verdict


def _cells(found: Versus) -> list[list[str]]:
    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}"

    return [
        [
            pair.group.label,
            str(pair.found.seeds) if pair.found else "–",
            percent(pair.against.mean("top1_pct")),
            percent(pair.group.mean("top1_pct")),
            str(pair.found) if pair.found else "–",
            verdict(pair),
            ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios(pair).items()),
        ]
        for pair in found.pairs
    ]


def _only(found: Versus) -> list[tuple[str, list[str]]]:
    return [(found.name_a, found.only_a), (found.name_b, found.only_b)]


def _environments(first: Sequence[RunLike], second: Sequence[RunLike]) -> dict[str, tuple[str, str]]:
    keys = ("commit", "torch", "timm", "python", "cpu", "gpu", "threads", "platform")

    def values(runs: Sequence[RunLike], key: str) -> str:
        return ", ".join(dict.fromkeys(str(run.environment.get(key)) for run in runs if run.environment))

    both = {key: (values(first, key), values(second, key)) for key in keys}
    return {key: (a, b) for key, (a, b) in both.items() if a != b}
