"""What a report says first: the one sentence that its runs support, and what to read with it.

Whether two variants may be ranked is decided by the paired comparison of their answers to the same
clips with the same seeds, corrected (Holm) for every pair that could have been looked at: the best of
many is chosen by looking at all of them. Where answers to single clips were not recorded, intervals
that overlap are not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from tps_lab.ablate.proofs import SLACK_PCT
from tps_lab.report.paired import Pair, compare_groups, paired
from tps_lab.report.tables import cost, over
from tps_lab.viz.groups import Group, Interval
from tps_lab.viz.units import unit_for

_ALL_PAIRS = 14  # groups; of more, only neighbours of the best are compared, corrected for all pairs
_MOST_NAMED = 8

Scored = tuple[Group, Interval]


class Ranking:
    """Groups by mean accuracy, and which of them may be ranked."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.scored: list[Scored] = [(group, top1) for group in groups if (top1 := group.top1) is not None]
        self.scored.sort(key=lambda pair: -pair[1].mean)
        wanted = list(combinations([group for group, _ in self.scored], 2))
        every = len(wanted)
        if len(self.scored) > _ALL_PAIRS:
            wanted = wanted[: len(self.scored) - 1]  # the best against each
        self.found = {(id(p.group), id(p.against)): p for p in compare_groups(wanted, of=every)}

    @property
    def one_seed(self) -> bool:
        return any(len(group.done) < 2 for group, _ in self.scored)

    def apart(self, one: Scored, other: Scored) -> bool:
        """Whether two groups, the first the higher, may be ranked."""
        pair = self.found.get((id(one[0]), id(other[0])))
        if pair is None or pair.found is None:
            return not one[1].overlaps(other[1])
        return pair.found.settled if pair.found.seeds > 1 else pair.found.low > 0

    def top(self) -> list[Group]:
        """The best and all that cannot be told apart from it."""
        best = self.scored[0]
        return [best[0], *(other[0] for other in self.scored[1:] if not self.apart(best, other))]


def answer(groups: Sequence[Group], ranking: Ranking | None = None, baseline: Group | None = None) -> str:
    """The one sentence that the runs on one data set support, and no more than that.

    Args:
        baseline: what the question asks to compare with; None asks for the best.
    """
    ranking = ranking or Ranking(groups)
    if not ranking.scored:
        tried = sum(any(run.row.get("status") != "missing" for run in group.runs) for group in groups)
        return f"No run has finished with a test accuracy: {tried or 'none'} tried, nothing to compare yet."
    if baseline is not None and baseline.top1 is not None and len(ranking.scored) > 1:
        text = _against(groups, baseline)
    else:
        text = _best(ranking)
    ceiling = ranking.scored[0][0].one("ceiling_pct")
    if ceiling is not None:
        text += f"; a model blind to the order of frames can reach at most {ceiling:.0f} %"
    return f"{text}."


def _best(ranking: Ranking) -> str:
    (best, top), *others = ranking.scored
    tied = [other for other in others if not ranking.apart((best, top), other)]
    first = f"{top.mean:.1f} % ({_interval(best, top)})"

    def score(group: Group, other: Interval) -> str:
        same = other.over and over(group) == over(best)  # said once, with the first
        return f"{group.label}, {other.mean:.1f} % ({other.span if same else _interval(group, other)})"

    if not others:
        return f"{best.label} reaches a test accuracy of {first}, with nothing to compare it with"
    if tied:
        named = [score(*pair) for pair in tied[:4]] + ([f"{len(tied) - 4} more"] if len(tied) > 4 else [])
        return (
            f"{best.label} has the highest test accuracy, {first}, but can’t be told apart from {listed(named, '; ')}"
        )
    # one seed shows what happened, not which variant is better
    luck = " with this one seed" if ranking.one_seed else ""
    return f"{best.label} is the most accurate{luck}, {first}, ahead of {score(*others[0])}"


def _against(groups: Sequence[Group], base: Group) -> str:
    """What differs from the baseline, with intervals, and what does not."""
    assert base.top1 is not None
    pairs = [pair for pair in paired(groups, base.label) if pair.group.top1 is not None]
    words: dict[str, list[Pair]] = {"better": [], "worse": [], "open": []}
    for pair in pairs:
        words[pair.verdict if pair.verdict in words else "open"].append(pair)

    def named(kind: str) -> str:
        few = sorted(words[kind], key=lambda pair: -(pair.found.difference if pair.found else 0))
        said = [
            f"{pair.group.label} {str(pair.found).replace('-', '−')}" if pair.found else pair.group.label
            for pair in few[:_MOST_NAMED]
        ]
        return listed([*said, *([f"{len(few) - _MOST_NAMED} more"] if len(few) > _MOST_NAMED else [])])

    alone = any(pair.found and pair.found.low * pair.found.high > 0 for pair in words["open"])
    # an interval is of one comparison by itself; being one of several takes more
    once = f" once all {len(pairs)} comparisons count" if alone and len(pairs) > 1 else ""
    parts = []
    for kind, said in (("better", "better"), ("worse", "worse"), ("open", f"not told apart from it{once}")):
        if few := words[kind]:
            parts.append(f"{said} {'is' if len(few) == 1 else 'are'} {named(kind)}")
    reached = f"{base.top1.mean:.1f} %, {_interval(base, base.top1)}"
    if not parts:
        return f"{base.label} reaches a test accuracy of {reached}, with nothing to compare it with"
    points = ", in points with 95 % intervals" if any(pair.found for pair in pairs) else ""
    return f"Against {base.label} ({reached}){points}: {'; '.join(parts)}"


def remarks(groups: Sequence[Group], ranking: Ranking | None = None) -> list[str]:
    """What should be read together with the answer: who beats the ceiling, ties, and their costs."""
    ranking = ranking or Ranking(groups)
    scored = ranking.scored
    said: list[str] = []
    if len(scored) > 1 and ranking.one_seed:
        said.append("One seed each says nothing about other seeds: differences are of these very runs.")
    bounded = [(group, top1, ceiling) for group, top1 in scored if (ceiling := group.one("ceiling_pct")) is not None]
    within = [group.label for group, top1, ceiling in bounded if not top1.over or top1.low <= ceiling + SLACK_PCT]
    if bounded and within:
        said.append(f"Not shown to use the order of frames (interval not above the ceiling): {listed(within)}.")
    elif bounded:
        them = "All variants are" if len(bounded) > 1 else f"{bounded[0][0].label} is"
        said.append(f"{them} above the ceiling, which takes the order of frames.")
    top = ranking.top() if scored else []
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
        f"{one[0].label} and {other[0].label}"
        for one, other in combinations(scored, 2)
        if not (one[0] in top and other[0] in top) and not ranking.apart(one, other)
    ]
    if pairs:
        more = f"; and {len(pairs) - 6} more pairs" if len(pairs) > 6 else ""
        said.append(f"Also not told apart: {'; '.join(pairs[:6])}{more}.")
    for missing in (False, True):
        undone = [
            f"{group.label} ({number} of {len(group.runs)})"
            for group in groups
            if (number := sum((run.row.get("status") == "missing") == missing for run in group.undone))
        ]
        if undone:
            what = "have not been run yet" if missing else "did not finish and count for nothing here"
            said.append(f"Some runs {what}: {listed(undone)}.")
    return said


def _interval(group: Group, top1: Interval) -> str:
    return f"95 % interval over {over(group)}: {top1.span}" if top1.over else "interval unknown"


def listed(words: Sequence[str], separator: str = ", ") -> str:
    """Words as people list them: "a, b and c"."""
    return " and ".join(words) if len(words) < 3 else f"{separator.join(words[:-1])} and {words[-1]}"
