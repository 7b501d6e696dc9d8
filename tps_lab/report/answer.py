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
from tps_lab.report.comparisons import Compared, Ranking
from tps_lab.report.tables import cost, over
from tps_lab.report.wording import interval, listed
from tps_lab.results.groups import Group, Interval
from tps_lab.results.units import unit_for


def answer(ranking: Ranking, compared: Compared | None = None) -> str:
    """The one sentence that the runs on one data set support, and no more than that.

    Args:
        compared: what the question asks to compare; None asks for the best.
    """
    if not ranking.scored:
        tried = sum(any(run.row.get("status") != "missing" for run in group.runs) for group in ranking.groups)
        return f"No run has finished with a test accuracy: {tried or 'none'} tried, nothing to compare yet."
    text = (compared and compared.sentence()) or _best(ranking)
    ceiling = ranking.scored[0][0].one("ceiling_pct")
    if ceiling is not None:
        text += f"; a model blind to the order of frames can reach at most {ceiling:.0f} %"
    return f"{text}."


def _best(ranking: Ranking) -> str:
    (best, top), *others = ranking.scored
    tied = [other for other in others if not ranking.apart((best, top), other)]
    first = f"{top.mean:.1f} % ({interval(best, top)})"

    def score(group: Group, other: Interval) -> str:
        same = other.over and over(group) == over(best)  # said once, with the first
        return f"{group.label}, {other.mean:.1f} % ({other.span if same else interval(group, other)})"

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


def remarks(ranking: Ranking, compared: Compared | None = None) -> list[str]:
    """What should be read together with the answer: who beats the ceiling, ties, and their costs."""
    groups, scored = ranking.groups, ranking.scored
    # what the answer has spoken of, corrected for the comparisons that were asked for alone
    told = {frozenset((pair.group, pair.against)) for pair in compared.pairs} if compared and compared.asked else set()
    said: list[str] = []
    if len(scored) > 1 and ranking.one_seed:
        said.append("One seed each says nothing about other seeds: differences are of these very runs.")
    bounded = [(group, top1, ceiling) for group, top1 in scored if (ceiling := group.one("ceiling_pct")) is not None]
    within = [group.label for group, top1, ceiling in bounded if not top1.over or top1.low <= ceiling + SLACK_PCT]
    if bounded and within:
        said.append(f"Not shown to use the order of frames (interval not above the ceiling): {listed(within)}.")
        if single := _single_runs_above([group for group, *_ in bounded if group.label in within]):
            why = "where each test clip has a twin, no model blind to the order can be"
            said.append(f"Single runs are above it all the same; {why}: {listed(single)}.")
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
        if frozenset((one[0], other[0])) not in told
        and (told or not (one[0] in top and other[0] in top))
        and not ranking.apart(one, other)
    ]
    if pairs:
        more = f"; and {len(pairs) - 6} more pairs" if len(pairs) > 6 else ""
        among = "Among the other pairs, all pairs counted, not" if told else "Also not"
        said.append(f"{among} told apart: {'; '.join(pairs[:6])}{more}.")
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


def _single_runs_above(groups: Sequence[Group]) -> list[str]:
    """Of groups whose interval reaches the ceiling: how many runs are above it, where it holds for each run."""
    found = []
    for group in groups:
        ceiling, tops = group.one("ceiling_pct"), group.values("top1_pct")
        above = [top1 for top1 in tops if ceiling is not None and top1 > ceiling + SLACK_PCT]
        if above and (group.one("twins") or 1) > 1:
            found.append(f"{group.label} ({len(above)} of {len(tops)}, the best {max(above):.1f} %)")
    return found
