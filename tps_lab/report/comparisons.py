"""What a question compares, and the sentence that these comparisons support.

A grid file may name a baseline, which all cases are compared with, or an axis (`compare`), along
which each case is compared with the one that differs from it there alone. If it names neither, the
best is looked for, which is a look at all pairs; p values are corrected for that many then.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from tps_lab.results.axes import level_text, lines, phrase
from tps_lab.results.groups import Group, Interval
from tps_lab.results.paired import Pair, along, baseline_of, compare_groups, names_of, paired
from tps_lab.results.statistics import FEWEST_SEEDS

_ALL_PAIRS = 14  # groups; of more, only neighbours of the best are compared, corrected for all pairs
_IN_THE_TABLE = "all comparisons in the table"

Scored = tuple[Group, Interval]


class Ranking:
    """Groups by mean accuracy, and which of them may be ranked."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.scored: list[Scored] = [(group, top1) for group in groups if (top1 := group.top1) is not None]
        self.scored.sort(key=lambda pair: -pair[1].mean)
        wanted = list(combinations([group for group, _ in self.scored], 2))
        self.every = len(wanted)
        if len(self.scored) > _ALL_PAIRS:
            wanted = wanted[: len(self.scored) - 1]  # the best against each
        self.found = {(id(p.group), id(p.against)): p for p in compare_groups(wanted, of=self.every)}

    def learnt(self, group: Group) -> bool:
        """Whether a group is above chance by more than luck with clips or seeds, however many groups were tried.

        Clips are the same for all seeds, so more seeds do not make more of them.
        """
        from scipy import stats

        chance, clips = group.one("chance_pct"), group.one("test_clips")
        tops = group.values("top1_pct") if group.done else []
        if chance is None or not tops:
            return bool(tops)
        tail = 1 - 0.025 / len(self.scored)
        p = chance / 100
        least = float(stats.norm.ppf(tail)) * 100 * (p * (1 - p) / (clips or 100)) ** 0.5
        if len(tops) > 1:
            luck = float(stats.t.ppf(tail, len(tops) - 1)) * statistics.stdev(tops) / len(tops) ** 0.5
            if min(tops) - chance < least:  # unless each of them is above it by itself
                least = max(least, luck)
        return statistics.fmean(tops) - chance > least

    def any_settled(self) -> bool:
        """Whether any two are told apart."""
        return any(pair.found is not None and pair.found.settled for pair in self.found.values())

    def apart(self, one: Scored, other: Scored) -> bool:
        """Whether two groups, the first the higher, may be ranked."""
        pair = self.found.get((id(one[0]), id(other[0])))
        if pair is None or pair.found is None:
            seeds = min(len(one[0].done), len(other[0].done))
            return seeds >= FEWEST_SEEDS and not one[1].overlaps(other[1])
        return pair.found.settled

    def top(self) -> list[Group]:
        """The best and all that cannot be told apart from it."""
        best = self.scored[0]
        return [best[0], *(other[0] for other in self.scored[1:] if not self.apart(best, other))]

    def against(self, base: Group) -> list[Pair]:
        """Every finished group against one of them, with the p values that this ranking rests on."""
        others = [group for group in self.groups if group.done and group is not base]
        if len(self.scored) > _ALL_PAIRS:
            return compare_groups([(group, base) for group in others], of=self.every)
        return [pair for group in others if (pair := self.pair(group, base)) is not None]

    def pair(self, one: Group, other: Group) -> Pair | None:
        """First minus second; None if they were not compared."""
        if pair := self.found.get((id(one), id(other))):
            return pair
        turned = self.found.get((id(other), id(one)))
        return turned and Pair(one, other, turned.found and -turned.found, turned.why_not)


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of a data set.

    Args:
        pairs: what was compared.
        against: with what, in words: a label, or "the same with a circular border".
        corrected_for: what p values are corrected for, in words.
        asked: whether the question names what to compare with; else it asks for the best.
        heading: of the list of pairs; None says "Against …".
        short_names: a pair's label → its name under that heading.
    """

    pairs: list[Pair]
    against: str
    corrected_for: str
    asked: bool
    heading: str | None = None
    short_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def plain(self) -> str:
        """With what, after "than": "PST", "with a circular border"."""
        return _with(self.heading.partition(" against ")[2]) if self.heading else self.against.removeprefix("the same ")

    @property
    def common(self) -> str:
        """What the pairs' first have in common, if they have: "with an edge border", "from image weights"."""
        return _with(self.heading.partition(" against ")[0]) if self.heading else ""

    @property
    def noun(self) -> str:
        """With what, after "from": "PST", "the same with a circular border"."""
        return f"the same {self.plain}" if self.heading or self.against.startswith("the same ") else self.against

    @property
    def head(self) -> str:
        """What stands above the names of the pairs."""
        return self.heading or f"Against {self.against}"

    def name(self, pair: Pair) -> str:
        """A pair under that heading."""
        return self.short_names.get(pair.group.label, pair.group.label)

    @property
    def comparable(self) -> list[Pair]:
        """Those that there is a difference of."""
        return [pair for pair in self.pairs if pair.found is not None]


def compared(ranking: Ranking, baseline: str | None = None, axis: str | None = None) -> Comparisons:
    """What is compared among the groups of one data set.

    Args:
        ranking: of the groups.
        baseline: the label or case that all are compared with, if the question names one.
        axis: the key along which cases are compared, if the question names one.
    """
    groups = ranking.groups
    if axis is not None and (pairs := along(groups, axis)):
        return _along(pairs, axis, groups)
    # a baseline that has not run is none yet
    if baseline is not None and any(baseline in names_of(group) for group in groups if group.done):
        pairs = paired(groups, baseline)
        return Comparisons(pairs, baseline_of(groups, baseline).label, _IN_THE_TABLE, True)
    base = baseline_of(groups)
    why = f"all {ranking.every} pairs of variants, because the question names none to compare with"
    return Comparisons(ranking.against(base), base.label, why if ranking.every > 1 else "this comparison", False)


def _with(said: str) -> str:
    """A value of an axis after "the same": "with a zero border", "without an embedding of time", "from scratch"."""
    said = said if said.startswith(("with", "from ")) else f"with {said}"
    # "circular border" is one of several
    return re.sub(r"^with (?=(\w)\w* border$)", lambda m: f"with {'an' if m[1] in 'aeio' else 'a'} ", said)


def _along(pairs: list[Pair], axis: str, groups: Sequence[Group]) -> Comparisons:
    def said(group: Group) -> str:
        return phrase(axis, level_text(group.first["varied"][axis]))

    first, levels = said(pairs[0].against), {said(pair.group) for pair in pairs}
    against = first if axis == "attention" else f"the same {_with(first)}"
    found = Comparisons(pairs, against, _IN_THE_TABLE, True)
    if len(levels) > 1 or axis == "attention":
        return found
    # with two values, they are said once for all
    names = {group.label: line.name for line in lines(groups, axis) for group in line.at.values()}
    return replace(found, heading=f"{levels.pop()} against {first}", short_names=names)
