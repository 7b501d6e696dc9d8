"""Whether variants stand in the same order elsewhere: at another size, speed of motion or data set of one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tps_lab.results.axes import Line, lines
from tps_lab.results.groups import Group
from tps_lab.results.paired import answers_of, compare_groups
from tps_lab.results.statistics import FEWEST_SEEDS, Comparison
from tps_lab.text import listed

DRAWS = 2000
_FEWEST = 4  # variants: three have but three pairs


@dataclass(frozen=True)
class SameOrder:
    """The order of the same variants at two places of a grid.

    Args:
        first, second: the places.
        tau, low, high: Kendall's tau-b between their mean accuracies, and its 95 % interval: seeds and test clips are
            drawn anew, the same for both places where both had the same. Choices by tuning are not drawn anew.
        settled: pairs of variants of which one is settled ahead at the first place.
        kept: so many of these have means in that order at the second, too.
        turned: those that are settled the other way round there, as "A and B".
        cost: multiply-adds at the second place over those at the first, the median over variants; None if not known.
    """

    first: str
    second: str
    tau: float
    low: float
    high: float
    settled: int
    kept: int
    turned: tuple[str, ...]
    cost: float | None

    @property
    def said(self) -> str:
        """How alike the orders are, after the second place's name."""
        kept = f"{self.kept} of {self.settled} settled pairs the same way" if self.settled else "no pair settled before"
        turned = f", settled the other way round: {listed(self.turned)}" if self.turned else ""
        return f"τ {self.tau:.2f} ({self.low:.2f} to {self.high:.2f}), {kept}{turned}"


def carries_over(found: Sequence[SameOrder]) -> str:
    """How the order at the first place compares with that at each other, in a sentence; empty if there is none."""
    if not found:
        return ""
    first = found[0].first
    there = "; ".join(f"to {one.second} {one.said}" for one in found if one.first == first)
    return f"How the order carries over from {first} (Kendall’s τ: 1 the same, 0 unrelated): {there}."


def settled_elsewhere(found: Sequence[SameOrder]) -> list[str]:
    """How many pairs that are settled at the first place keep their order at others: a sentence, and a shorter one."""
    from_first = [one for one in found if one.first == found[0].first and one.settled]
    if not from_first or len({one.settled for one in from_first}) > 1:
        return []
    of = f"Of {from_first[0].settled} pairs settled at {from_first[0].first},"
    first, *others = [f"{one.kept} point the same way at {one.second}" for one in from_first]
    others = [text.replace(" point the same way", "") for text in others]
    kept = sorted({one.kept for one in from_first})
    span = f"{kept[0]} to {kept[-1]}" if len(kept) > 1 else f"{kept[0]}"
    return [
        f"{of} {', '.join([first, *others])}.",
        f"{of} {span} point the same way at each of {len(from_first)} others.",
    ]


def same_order(groups: Sequence[Group], axis: str) -> list[SameOrder]:
    """Every two places of a grid at which four variants or more have run, variants being the values of an axis.

    Empty without two such places, or where answers to single clips were not recorded.
    """
    places = [place for line in lines(groups, axis) if (place := _place(line)) is not None]
    return [_between(*two) for two in combinations(places, 2) if len(two[0].at.keys() & two[1].at.keys()) >= _FEWEST]


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
    right: dict[str, np.ndarray]  # value of the axis → (S, N)
    pairs: dict[tuple[str, str], Comparison]  # every two values of the axis, each way round


def _place(line: Line) -> _Place | None:
    at = {level: group for level, group in line.at.items() if group.done}
    runs = {level: {run.row["seed"]: run for run in group.done} for level, group in at.items()}
    seeds = tuple(sorted(set.intersection(*map(set, runs.values())))) if runs else ()
    answers = {level: [answers_of(of[seed]) for seed in seeds] for level, of in runs.items()}
    known = [one for of in answers.values() for one in of if one is not None]
    if len(seeds) < FEWEST_SEEDS or len(known) < len(seeds) * len(at):
        return None
    labels = known[0][1]
    if any(not np.array_equal(label, labels) for _, label in known):
        return None
    twins = int(next(iter(at.values())).one("twins") or 1)
    right = {
        level: np.stack([(one[0] == labels).reshape(-1, twins).mean(1) for one in of if one is not None])
        for level, of in answers.items()
    }
    every = list(combinations(at, 2))
    compared = compare_groups([(at[one], at[other]) for one, other in every])
    pairs = {pair: found for pair, one in zip(every, compared, strict=True) if (found := one.found) is not None}
    turned = {(other, one): -found for (one, other), found in pairs.items()}
    return _Place(line.name, at, seeds, labels, right, pairs | turned)


def _between(first: _Place, second: _Place) -> SameOrder:
    levels = [level for level in first.at if level in second.at]
    sides = [np.stack([place.right[level] for level in levels]) for place in (first, second)]
    rng = np.random.default_rng(0)
    # how often each seed and each scene is drawn
    seeds, scenes = (
        [draw(rng, side.shape[axis]) for side in sides[: 1 if alike else 2]]
        for axis, alike in ((1, first.seeds == second.seeds), (2, np.array_equal(first.labels, second.labels)))
    )
    drawn = kendall(
        *(np.einsum("vsn,ds,dn->dv", side, seeds[i % len(seeds)], scenes[i % len(scenes)], optimize=True)
          for i, side in enumerate(sides))
    )  # fmt: skip
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    tau = kendall(*(side.mean((1, 2)) for side in sides))
    both = [pair for pair in combinations(levels, 2) if pair in first.pairs and pair in second.pairs]
    settled = [pair for pair in both if first.pairs[pair].settled]
    kept = [pair for pair in settled if first.pairs[pair].difference * second.pairs[pair].difference > 0]
    turned = [pair for pair in settled if pair not in kept and second.pairs[pair].settled]
    macs = [(first.at[level].cost("macs"), second.at[level].cost("macs")) for level in levels]
    costs = [then / here for here, then in macs if here and then]
    cost = float(np.median(costs)) if costs else None
    named = tuple(" and ".join(pair) for pair in turned)
    return SameOrder(first.name, second.name, float(tau), float(low), float(high), len(settled), len(kept), named, cost)


def draw(rng: np.random.Generator, count: int) -> np.ndarray:
    """(DRAWS, count): the share of each of so many things when as many are drawn with replacement."""
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS) / count
