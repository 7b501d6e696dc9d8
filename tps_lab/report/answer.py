"""What a page says first: an answer of at most twenty words, what to choose, and what is open.

Whether two variants may be ranked is decided by the paired comparison of their answers to the same
clips with the same seeds, corrected (Holm) for every pair that could have been looked at: the best of
many is chosen by looking at all of them. Where answers to single clips were not recorded, intervals
that overlap are not ranked. Fewer than three seeds settle nothing, and where nobody learnt a task,
nothing is ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tps_lab.report import comparisons, equal
from tps_lab.report.comparisons import Comparisons, Ranking
from tps_lab.results.groups import SLACK_PCT, Group, wilson
from tps_lab.results.orders import SameOrder
from tps_lab.results.paired import Pair, heaps
from tps_lab.results.statistics import FEWEST_SEEDS
from tps_lab.text import listed

MOST_WORDS = 20
_MOST = 4  # variants named in a sentence
_CHEAPER = 0.95  # what costs so much of another counts as cheaper
_KEEPS_UP = 3.0  # points of mean accuracy
_SOLVED_PCT = 95  # from here on a task tells who can learn it, not who is better
_COSTS = {"training_memory_bytes": "memory to train", "latency_ms": "time per clip", "macs": "multiply-adds"}


@dataclass(frozen=True)
class Answer:
    """What a data set's runs support.

    Args:
        text: at most twenty words.
        choose: from the Pareto front, among what is settled.
        if_costs: what to take if memory or time counts.
        open: what the runs do not settle.
        sure: "settled", "partly settled", "open" or "not learnt": of what was compared.
    """

    text: str
    choose: str = ""
    if_costs: str = ""
    open: str = ""
    sure: str = "open"

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Heads and texts of what stands below the answer."""
        heads = {"Choose": self.choose, "If memory or time counts": self.if_costs, "Still open": self.open}
        return [(head, text) for head, text in heads.items() if text]


def answer(
    ranking: Ranking, compared: Comparisons | None = None, budget: str = "", elsewhere: Sequence[SameOrder] = ()
) -> Answer:
    """The answer that the runs on one data set support, and no more than that.

    Args:
        compared: what the question asks to compare, or everything with the best.
        budget: whether the order depends on the number of steps, in a few words; empty if it is not known.
        elsewhere: where the question is whether an order holds at other places: how it compares.
    """
    compared = compared or comparisons.compared(ranking)
    if not ranking.scored:
        tried = sum(any(run.row.get("status") != "missing" for run in group.runs) for group in ranking.groups)
        return Answer(f"No run has finished with a test accuracy: {tried or 'none'} tried, nothing to compare yet.")
    steps = {group.first.get("steps") for group, _ in ranking.scored}
    within = f" within {steps.pop():,} steps" if len(steps) == 1 and None not in steps else ""
    if not any(ranking.learnt(group) for group, _ in ranking.scored):
        text = f"No variant has learnt this task{within}; nothing is ranked."
        return Answer(
            text, open="Whether any of them learns it with more steps or at other settings.", sure="not learnt"
        )
    if len(ranking.scored) == 1:
        group, top1 = ranking.scored[0]
        return Answer(_short([f"{group.label} reaches {top1.mean:.1f} %; there is nothing to compare it with."], ""))
    if all(len(group.done) < FEWEST_SEEDS for group, _ in ranking.scored):
        seeds = max(len(group.done) for group, _ in ranking.scored)
        said = f"{'One seed settles' if seeds == 1 else 'Two seeds settle'} nothing"
        best = ranking.scored[0][0].label
        texts = [f"{said}; {best} has the highest accuracy so far.", f"{said} yet."]
        return Answer(_short(texts, ""), "", "", _open(ranking, compared, []), "open")
    if not compared.asked:
        # what is not equal decides nothing by itself
        texts, sure, unequal = _of_the_best(ranking)
    else:
        texts, sure, unequal = _of_the_asked(ranking, compared)
    kept = next((text for text in _kept_elsewhere(elsewhere) if len(text.split()) <= MOST_WORDS), "")
    choices = _choices(ranking, asked=bool(compared.asked))
    return Answer(kept or _short(texts, budget), *choices, _open(ranking, compared, unequal), sure)


def _short(texts: Sequence[str], more: str) -> str:
    """The first of these that is short enough, with `more` after it; else the first that is alone."""
    for text in texts:
        if more and len(f"{text[:-1]} {more}.".split()) <= MOST_WORDS:
            return f"{text.removesuffix('.')}; {more}."
    return next((text for text in texts if len(text.split()) <= MOST_WORDS), texts[-1])


def _of_the_best(ranking: Ranking) -> tuple[list[str], str, list[Pair]]:
    (best, _), *others = ranking.scored
    top, last = ranking.top(), ranking.scored[-1][0]
    differ = [group for group, _ in others if group not in top and equal.beyond(best, group, ranking.groups)]
    behind = len(others) - (len(top) - 1)
    # where none is ahead of anybody at equal settings, the answer must not rest on it
    but = " at unequal settings" if behind and len(differ) == behind else ""
    count = len(ranking.scored)
    # not told apart for its spread alone, while one with a higher mean is settled behind: no leader
    least = max((top1.mean for group, top1 in others if group not in top), default=0.0)
    vague = [group for group, top1 in others if group in top and top1.mean < least]
    lead = [group for group in top if group not in vague]
    if vague:
        names, verb = listed([group.label for group in lead]), "lead" if len(lead) > 1 else "leads"
        few = f"{_number(len(vague))} cannot be placed"
        texts = [
            f"{names} {verb}; {listed([group.label for group in vague])} cannot be placed{but}.",
            f"{names} {verb}; {few}{but}.",
            f"{_number(len(lead)).capitalize()} of {_number(count)} variants {verb}; {few}.",
        ]
        return texts, "partly settled", [pair for group in differ if (pair := ranking.pair(best, group))]
    if len(top) == 1:
        rivals = {1: "the other", 2: "both others"}.get(count - 1, f"all {_number(count - 1)} others")
        texts = [
            f"{best.label} is the most accurate, settled against {rivals}{but}.",
            f"One variant is ahead of all{but}.",
        ]
        return texts, "settled", [pair for group in differ if (pair := ranking.pair(best, group))]
    names = listed([group.label for group in top])
    if len(top) == count:
        both = "the two variants" if count == 2 else f"the {_number(count)} variants"
        texts = [f"Which of {both} is most accurate is open: none is settled ahead of another."]
        if ranking.any_settled():
            first = best.label
            texts = [f"{first} leads, but no variant is settled behind it.", "No variant is settled behind the best."]
        return texts, "open", []
    texts = [
        f"{names} lead and cannot be told apart; {last.label} is behind{but}." if behind == 1 else
        f"{names} lead and cannot be told apart; the others are behind{but}.",
        f"{_number(len(top)).capitalize()} of {_number(count)} variants lead and cannot be told apart{but}.",
    ]  # fmt: skip
    return texts, "partly settled", [pair for group in differ if (pair := ranking.pair(best, group))]


def _of_the_asked(ranking: Ranking, compared: Comparisons) -> tuple[list[str], str, list[Pair]]:
    pairs = [pair for pair in compared.pairs if pair.group.top1 is not None and pair.against.top1 is not None]
    kinds: dict[str, list[Pair]] = {"better": [], "worse": [], "open": []}
    unequal = []
    for pair in pairs:
        kind = pair.verdict if pair.verdict in kinds else "open"
        if kind != "open" and equal.beyond(pair.group, pair.against, ranking.groups):
            unequal.append(pair)
        else:
            kinds[kind].append(pair)
    settled = len(kinds["better"]) + len(kinds["worse"])
    sure = "open" if not settled else "settled" if settled == len(pairs) else "partly settled"
    base = compared.plain
    parts: list[str] = []
    counts: list[str] = []
    for kind, word in (("better", "more"), ("worse", "less")):
        if few := kinds[kind]:
            verb = "is" if len(few) == 1 else "are"
            than = f" than {base}" if not parts else ""
            parts.append(f"{listed([compared.name(pair) for pair in few])} {verb} {word} accurate{than}")
            than = f" than {base}" if not counts else ""
            counts.append(f"{_number(len(few))} {verb} {word} accurate{than}")
    rest = kinds["open"]
    if not parts:
        if not rest:
            texts = [f"Every difference to {compared.noun} comes with unequal settings, so none is an answer."]
        elif len(pairs) == 1:
            texts = [
                f"{compared.name(rest[0])} and {compared.noun} cannot be told apart.",
                "The two cannot be told apart.",
            ]
        else:
            but = " at equal settings" if unequal else ""
            texts = [
                f"None of the {_number(len(pairs))} can be told apart from {compared.noun}{but}.",
                "None is settled apart.",
            ]
        return texts, sure, unequal
    after = f"; {_number(len(rest))} cannot be told apart" if rest else ""
    mixed = f"; {_number(len(unequal))} at unequal settings" if unequal else ""
    told = mixed
    if len(verdicts := {pair.verdict for pair in unequal}) == 1:
        names = listed([compared.name(pair) for pair in unequal])
        place = "ahead" if verdicts == {"better"} else "behind"
        told = f"; {names} {'is' if len(unequal) == 1 else 'are'} {place} at unequal settings"
    common = f"{compared.common}, " if compared.common else ""
    named, counted = "; ".join(parts), f"Of {_number(len(pairs))}, {', '.join(counts)}"
    for kind, word in (("better", "more"), ("worse", "less")):
        if len(kinds[kind]) == len(pairs) > 1:
            counted = f"All {_number(len(pairs))} are {word} accurate than {base}"
    texts = [
        *(f"{start}{named}{after}{end}." for end in (told, mixed) for start in (common, "")),
        f"{counted}{after}{mixed}.",
        f"{named}.",
        f"{counted}.",
        "Some differences are settled.",
    ]
    return [text[0].upper() + text[1:] for text in texts], sure, unequal


def _choices(ranking: Ranking, asked: bool) -> tuple[str, str]:
    """What to choose, and what if memory or time counts: only from the Pareto front of the means."""
    best, top1 = ranking.scored[0]
    ahead = [group.label for group, _ in ranking.scored[1:] if group not in ranking.top()]
    strict = ", corrected for all pairs" if asked else ""  # the page's table corrects for those that it asks for
    behind = f"settled ahead of {listed(ahead, _MOST)}{strict}" if ahead else "though ahead of none for certain"
    choose = f"{best.label}: the highest mean accuracy, {top1.mean:.1f} % ({top1.span or 'no interval'}), {behind}."
    said: list[str] = []
    for name, words in _COSTS.items():
        own = best.cost(name)
        if own is None or (name == "macs" and said):
            continue
        said += _cheaper(ranking, best, name, words, own)
    if not said:
        known = any(best.cost(name) is not None for name in _COSTS)
        return choose, f"{best.label} as well: nothing that is clearly cheaper keeps up." if known else ""
    return choose, " ".join(said)


def _cheaper(ranking: Ranking, best: Group, name: str, words: str, own: float) -> list[str]:
    """The most accurate variant that is cheaper by more than a twentieth, and how it compares."""
    for group, top1 in ranking.scored[1:]:
        needs = group.cost(name)
        noise = max(one.cost("latency_iqr_ms") or 0.0 for one in (group, best)) if name == "latency_ms" else 0.0
        if needs is None or needs > _CHEAPER * own - noise or not ranking.learnt(group):
            continue
        if group in ranking.top() and ranking.scored[0][1].mean - top1.mean > _KEEPS_UP:
            continue  # far behind on average, though not for certain: neither recommended nor warned of
        pair = ranking.pair(group, best)
        found = pair.found if pair else None
        gap = f"{found.signed} points" if found else f"{top1.mean:.1f} %"
        how = "not told apart" if group in ranking.top() else "settled behind"
        return [f"{group.label} needs {100 - 100 * needs / own:.0f} % less {words} ({gap}, {how})."]
    return []


def _open(ranking: Ranking, compared: Comparisons, unequal: Sequence[Pair]) -> str:
    said = []
    if unequal:
        named = list(
            dict.fromkeys(
                f"{pair.group.label} ({listed(equal.beyond(pair.group, pair.against, ranking.groups))})"
                for pair in unequal
            )
        )
        said.append(f"How much is owed to settings that are not equal: {listed(named, _MOST)}.")
    few = [group.label for group, _ in ranking.scored if len(group.done) < FEWEST_SEEDS]
    if few:
        said.append(f"Fewer than three seeds have finished of {listed(few, _MOST)}.")
    if compared.asked:
        still = [pair for pair in compared.pairs if pair.verdict not in ("better", "worse") and pair.group.top1]
        if still and len(still) == len(compared.pairs) and len(still) > 1:
            said.append(f"All {_number(len(still))} comparisons.")
        elif still:
            said.append(f"{compared.head}: {listed([compared.name(pair) for pair in still], _MOST)}.")
    else:
        pairs = [
            f"{one[0].label} and {other[0].label}"
            for one, other in combinations(ranking.scored, 2)
            if not ranking.apart(one, other)
        ]
        if pairs:
            said.append(f"{listed(pairs, 2, ' pairs')}.")
    return " ".join(said)


def _kept_elsewhere(found: Sequence[SameOrder]) -> list[str]:
    """How many pairs that are settled at the first place keep their order at others: a sentence, and a shorter one."""
    found = [one for one in found if one.first == found[0].first]
    if not found or not found[0].settled or len({one.settled for one in found}) > 1:  # of pairs that ran at both
        return []
    pairs = f"Of {_number(found[0].settled)} pair{'s' * (found[0].settled != 1)} settled at {found[0].first}"
    counts = [_number(one.kept) for one in found]
    first, *others = zip(counts, [one.second for one in found], strict=True)
    whole = [f"{first[0]} point the same way at {first[1]}", *(f"{count} at {place}" for count, place in others)]
    least, most = min(one.kept for one in found), max(one.kept for one in found)
    few = _number(most) if least == most else f"{_number(least)} to {_number(most)}"
    at_others = f"at each of {_number(len(found))} others" if others else "at the other"
    return [f"{pairs}, {'; '.join(whole)}.", f"{pairs}, {few} point the same way {at_others}."]


def carries_over(found: Sequence[SameOrder]) -> str:
    """How the order at the first place compares with that at each other, in a sentence; empty if there is none."""
    said = []
    for one in found:
        if one.first == found[0].first:
            turned = listed([f"{ahead} before {behind}" for ahead, behind in one.turned])
            other = f", settled the other way round: {turned}" if turned else ""
            said.append(
                f"to {one.second} τ {one.tau:.2f}, {one.kept} of {one.settled} settled pairs in the same order{other}"
            )
    head = f"How the order carries over from {found[0].first} (Kendall’s τ: 1 the same, 0 unrelated)" if found else ""
    return f"{head}: {'; '.join(said)}.".replace("τ -", "τ −") if said else ""


def _number(count: int) -> str:
    words = "no one two three four five six seven eight nine ten eleven twelve".split()
    return words[count] if count < len(words) else f"{count:,}"


def remarks(ranking: Ranking) -> list[str]:
    """What should be read together with the answer: who beats the ceiling, all or nothing, what did not run."""
    groups, scored = ranking.groups, ranking.scored
    said: list[str] = []
    bounded = [group for group, _ in scored if group.is_above_ceiling is not None]
    within = [group for group in bounded if not group.is_above_ceiling]
    ceiling = f"{bounded[0].one('ceiling_pct'):.0f} %" if bounded else ""
    if within:
        above = listed([group.label for group in bounded if group not in within])
        said.append(
            f"A model blind to the order of frames reaches at most {ceiling}. "
            + (f"Above that, so they use the order: {above}. " if above else "")
            + f"Not shown to use it (interval not above that): {listed([group.label for group in within])}."
        )
        if single := _single_runs_above(within):
            why = "where each test clip has a counterpart, no model blind to the order can be"
            said.append(f"Single runs are above it all the same; {why}: {listed(single)}.")
    elif bounded:
        them = "All variants are" if len(bounded) > 1 else f"{bounded[0].label} is"
        said.append(f"{them} above {ceiling}, the most that a model blind to the order of frames can reach.")
    if len(solved := [group.label for group, top1 in scored if top1.low >= _SOLVED_PCT]) > 1:
        said.append(
            f"The task is nearly solved by those whose intervals lie above {_SOLVED_PCT} %; differences among them say "
            f"little about harder tasks: {listed(solved)}."
        )
    if luck := [text for group, _ in scored if (text := all_or_nothing(group))]:
        said.append(f"Runs succeed all or nothing, so a mean says little: {'; '.join(luck)}.")
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


def all_or_nothing(group: Group) -> str:
    """How many seeds learnt it, with a 95 % interval for the share, where seeds fall into two heaps; else empty."""
    both = heaps(group)
    if both is None:
        return ""
    low, high = both
    tops = [*low, *high]
    share = wilson(100 * len(high) / len(tops), len(tops))
    others = f"{low[-1]:.0f} % or less" if low[-1] > low[0] else f"{low[0]:.0f} %"
    return (
        f"{group.label}, {len(high)} of {len(tops)} seeds reach {high[0]:.0f} % or more, the others {others} "
        f"(share of seeds: {share.low:.0f} to {share.high:.0f} %)"
    )


def _single_runs_above(groups: Sequence[Group]) -> list[str]:
    """Of groups whose interval reaches the ceiling: how many runs are above it, where it holds for each run."""
    found = []
    for group in groups:
        ceiling, tops = group.one("ceiling_pct"), group.values("top1_pct")
        above = [top1 for top1 in tops if ceiling is not None and top1 > ceiling + SLACK_PCT]
        if above and (group.one("twins") or 1) > 1:
            found.append(f"{group.label} ({len(above)} of {len(tops)}, the best {max(above):.1f} %)")
    return found
