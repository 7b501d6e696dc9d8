"""Variants over many tasks at once: interquartile mean, performance profile, probability of improvement.

After "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (Agarwal et al., arXiv
2108.13264; their package is rliable). A score is the share of what there is above chance, 100 · (accuracy -
chance) / (100 - chance), so that tasks of two and of twelve classes count alike. Intervals are percentiles
of a bootstrap that draws seeds anew within each task (stratified): they cover other seeds of these very
tasks, and say nothing of other tasks. They are too narrow with few seeds: simulated (normal scores of six
tasks), they hold the true mean in 85 % of studies with three seeds, 89 % with five, 93 % with ten, so
that verdicts rest on the paired comparison of each task, not on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tps_lab.results.groups import Group, Interval, by_data

DRAWS = 2000
THRESHOLDS = np.linspace(0.0, 100.0, 101)
_OF_TASK = ("data", "recipe")
Scores = Mapping[str, np.ndarray]  # task → scores of its runs, (..., seeds)


@dataclass(frozen=True)
class Aggregate:
    """A variant over all tasks.

    Args:
        name: what its groups' labels have in common.
        attention: its text, for its look.
        iqm: interquartile mean of its scores: of the middle half of all runs on all tasks.
        profile: at every whole score from 0 to 100 the share of runs above it, each task alike; and
            the 95 % intervals below and above, (3, 101).
        tasks: how many.
        better: the probability that a run of it beats one of the first variant on the same task;
            None for that one.
    """

    name: str
    attention: str
    iqm: Interval
    profile: np.ndarray
    better: Interval | None
    tasks: int


def aggregates(groups: Sequence[Group]) -> list[Aggregate]:
    """Every variant that finished on all tasks; empty with fewer than two tasks or two variants.

    Tasks on which fewer than two variants finished are left out. Spatial attention,
    else the first variant, comes first: the others are compared with it.
    """
    found = {name: entry for name, entry in _variants(groups).items() if entry[1]}
    counts: dict[str, int] = {}
    for _, scores in found.values():
        for task in scores:
            counts[task] = counts.get(task, 0) + 1
    tasks = [task for task, count in counts.items() if count > 1]
    found = {name: entry for name, entry in found.items() if all(task in entry[1] for task in tasks)}
    if len(tasks) < 2 or len(found) < 2:
        return []
    kept = {name: {task: scores[task] for task in tasks} for name, (_, scores) in found.items()}
    spatial = [name for name in kept if found[name][0].startswith("spatial")]
    base = [*spatial, *kept][0]
    kept = {base: kept[base]} | kept
    made = []
    for name, scores in kept.items():
        profile = np.stack([above(scores), *_interval(above, scores)])
        better = None if name == base else _over(improvement, scores, kept[base])
        made.append(Aggregate(name, found[name][0], _over(interquartile_mean, scores), profile, better, len(tasks)))
    return made


def interquartile_mean(scores: Scores) -> np.ndarray:
    """The mean of the middle half of all runs on all tasks.

    >>> float(interquartile_mean({"a": np.array([0.0, 10.0]), "b": np.array([20.0, 90.0])}))
    15.0
    """
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(np.concatenate(list(scores.values()), axis=-1), 0.25, axis=-1))


def above(scores: Scores) -> np.ndarray:
    """The share of runs above each whole score from 0 to 100, each task alike: (..., 101)."""
    return np.asarray(np.mean([(runs[..., None] > THRESHOLDS).mean(-2) for runs in scores.values()], axis=0))


def improvement(one: Scores, other: Scores) -> np.ndarray:
    """The probability that a run of one beats a run of the other on the same task; ties count half.

    >>> float(improvement({"a": np.array([2.0, 4.0])}, {"a": np.array([1.0, 4.0])}))
    0.625
    """
    gaps = [runs[..., :, None] - other[task][..., None, :] for task, runs in one.items()]
    return np.asarray(np.mean([(0.5 + 0.5 * np.sign(gap)).mean((-2, -1)) for gap in gaps], axis=0))


# ---------------------------------------------------------------------- parts


def _variants(groups: Sequence[Group]) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """Name → its attention, and its scores by task."""
    found: dict[str, tuple[str, dict[str, np.ndarray]]] = {}
    names = _names(groups)
    for task, on in by_data(groups).items():
        for group in on:
            tops, chance = group.values("top1_pct") if group.done else [], group.one("chance_pct") or 0.0
            if tops:
                scores = 100 * (np.array(tops) - chance) / (100 - chance)
                found.setdefault(names[id(group)], (group.attention, {}))[1][task] = scores
    return found


def _names(groups: Sequence[Group]) -> dict[int, str]:
    """Of each group what all of its variant are called: what its label has in common with theirs."""
    alike: dict[str, list[Group]] = {}
    for group in groups:
        # a grid may train longer on a task that is harder, and that makes no other variant
        varied = {key: v for key, v in (group.first.get("varied") or {}).items() if key.split(".")[0] not in _OF_TASK}
        alike.setdefault(repr((group.attention, sorted(varied.items()))), []).append(group)
    names: dict[int, str] = {}
    for members in alike.values():
        parts = [group.label.split(", ") for group in members]
        common = ", ".join(part for part in parts[0] if all(part in other for other in parts))
        names |= {id(group): common or members[0].attention for group in members}
    return names


def _interval(statistic: Callable[..., np.ndarray], *sides: Scores) -> np.ndarray:
    """Bounds of the middle 95 % of the statistic, seeds drawn anew within each task: (2, ...)."""
    rng = np.random.default_rng(0)
    drawn = [{task: rng.choice(runs, (DRAWS, len(runs))) for task, runs in side.items()} for side in sides]
    return np.asarray(np.percentile(statistic(*drawn), [2.5, 97.5], axis=0))


def _over(statistic: Callable[..., np.ndarray], *sides: Scores) -> Interval:
    low, high = _interval(statistic, *sides)
    return Interval(float(statistic(*sides)), float(low), float(high), "seeds")
