"""Whether variants stand in the same order elsewhere: at another size, speed of motion or data set of one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tps_lab.results.axes import level_text, lines
from tps_lab.results.groups import Group
from tps_lab.results.paired import answers_of, compare_groups
from tps_lab.results.statistics import FEWEST_SEEDS, Comparison

DRAWS = 1000
FEWEST = 4  # variants: three have but three pairs


@dataclass(frozen=True)
class SameOrder:
    """The order of the variants that ran at two places of a grid.

    Args:
        first, second: the places.
        tau: Kendall's tau-b between their mean accuracies over the seeds that all share, from -1 to 1.
        low, high: the middle 95 % of tau where seeds and test clips are drawn anew. No confidence interval: where
            variants are close, noise lowers tau, and drawing anew lowers it again, so it tends to lie below the true
            one. Simulated (six variants, five seeds, the same true order at both places): gaps of half a logit, it
            holds 1 in all studies; gaps of a fifth, in 46 %.
        settled: pairs of which one is settled ahead at the first place, corrected (Holm) for all pairs there.
        kept: so many of these have means in that order at the second, too.
        turned: those that are settled the other way round there: (ahead at the first, ahead at the second).
        cost: multiply-adds at the second place over those at the first, the median over variants; None if not known.
    """

    first: str
    second: str
    tau: float
    low: float
    high: float
    settled: int
    kept: int
    turned: tuple[tuple[str, str], ...]
    cost: float | None


def same_order(groups: Sequence[Group], along: str, across: str) -> list[SameOrder]:
    """The order of an axis' values at each two values of another axis, such as attention at each two sizes.

    Left out: variants with fewer than three finished seeds or without recorded answers, and places with fewer than four
    others, or where no two of them are told apart. What a third axis varies is the same at both places.
    """
    places: list[tuple[str, _Place]] = []
    for line in lines(groups, along):
        varied = {key: level_text(value) for key, value in next(iter(line.at.values())).first["varied"].items()}
        if across in varied:
            others = [level for key, level in varied.items() if key not in (along, across)]
            if place := _place(", ".join([varied[across], *others]), line.at):
                places.append((", ".join(others), place))
    pairs = [(one, other) for (here, one), (there, other) in combinations(places, 2) if here == there]
    return [found for pair in pairs if (found := _between(*pair)) is not None]


def kendall(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kendall's tau-b between figures of the same variants, (..., V) each; NaN where all of one are equal.

    >>> kendall(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])).round(2).item()
    0.33
    """
    one, other = np.triu_indices(first.shape[-1], 1)
    a, b = (np.sign(figures[..., one] - figures[..., other]) for figures in (first, second))
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))


@dataclass(frozen=True)
class _Place:
    name: str
    at: dict[str, Group]
    seeds: tuple[int, ...]
    labels: np.ndarray  # (N,) the right answers
    right: dict[str, np.ndarray]  # variant → (S, scenes): the share of a scene's clips that each seed has right
    pairs: dict[tuple[str, str], Comparison]  # every two variants, each way round


def _place(name: str, every: dict[str, Group]) -> _Place | None:
    at, answers = {}, {}
    for variant, group in every.items():
        known = {run.row["seed"]: given for run in group.done if (given := answers_of(run)) is not None}
        if len(known) >= FEWEST_SEEDS:
            at[variant], answers[variant] = group, known
    seeds = tuple(sorted(set.intersection(*map(set, answers.values())))) if answers else ()
    if len(at) < FEWEST or len(seeds) < FEWEST_SEEDS:
        return None
    labels = answers[next(iter(at))][seeds[0]][1]
    twins = int(next(iter(at.values())).one("twins") or 1)
    same = all(np.array_equal(of[seed][1], labels) for of in answers.values() for seed in seeds)
    if not same or len(labels) % twins:
        return None
    two = list(combinations(at, 2))
    compared = compare_groups([(at[one], at[other]) for one, other in two])
    pairs = {pair: one.found for pair, one in zip(two, compared, strict=True) if one.found is not None}
    if not any(pair.settled for pair in pairs.values()):
        return None
    right = {
        variant: np.stack([(of[seed][0] == labels).reshape(-1, twins).mean(1) for seed in seeds])
        for variant, of in answers.items()
    }
    return _Place(name, at, seeds, labels, right, pairs | {(b, a): -found for (a, b), found in pairs.items()})


def _between(first: _Place, second: _Place) -> SameOrder | None:
    variants = [variant for variant in first.at if variant in second.at]
    if len(variants) < FEWEST:
        return None
    sides = [np.stack([place.right[variant] for variant in variants]) for place in (first, second)]
    tau = float(kendall(*(side.mean((1, 2)) for side in sides)))
    if np.isnan(tau):
        return None
    rng = np.random.default_rng(0)
    seeds = _drawn(rng, sides, 1, first.seeds == second.seeds)
    # clips are told by their labels: where two places have the same, other clips of the same classes share draws
    scenes = _drawn(rng, sides, 2, np.array_equal(first.labels, second.labels))
    means = [np.einsum("vsn,ds,dn->dv", *three, optimize=True) for three in zip(sides, seeds, scenes, strict=True)]
    low, high = np.nanpercentile(kendall(*means), [2.5, 97.5])
    # of each two, the one that is ahead at the first place stands first
    settled = [
        pair for pair, found in first.pairs.items()
        if found.settled and found.difference > 0 and set(pair) <= set(variants)
    ]  # fmt: skip
    then = {pair: second.pairs[pair] for pair in settled if pair in second.pairs}
    macs = [(first.at[variant].cost("macs"), second.at[variant].cost("macs")) for variant in variants]
    costs = [there / here for here, there in macs if here and there]
    return SameOrder(
        first.name,
        second.name,
        tau,
        float(low),
        float(high),
        len(settled),
        sum(found.difference > 0 for found in then.values()),
        tuple(pair for pair, found in then.items() if found.settled and found.difference < 0),
        float(np.median(costs)) if costs else None,
    )


def _drawn(rng: np.random.Generator, sides: list[np.ndarray], axis: int, alike: bool) -> list[np.ndarray]:
    """For each side (DRAWS, n): the share of each thing along an axis when as many are drawn with replacement."""

    def shares(count: int) -> np.ndarray:
        return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS) / count

    first, second = (side.shape[axis] for side in sides)
    drawn = shares(first)
    return [drawn, drawn if alike and first == second else shares(second)]
