"""Who is ahead after how many steps, what becomes of the question's comparisons, and what each case was tuned to.

A comparison after tuning is one of budgets: with one trial a variant wins that forgives a bad learning
rate, with many the one that can do most (`results.trials`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tps_lab.ablate.grid import Choice, choose
from tps_lab.report.comparisons import Comparisons, Ranking, compared
from tps_lab.results.axes import axis_name, beside, data_names, level_text, phrase, spoken
from tps_lab.results.groups import Interval, RunLike, by_data, group_runs
from tps_lab.results.paired import Pair
from tps_lab.results.trials import band
from tps_lab.text import listed

_FEW = 6  # of so many trials every number is shown
_MOST_COLUMNS = 8


@dataclass(frozen=True)
class Ahead:
    """Who is ahead at a budget.

    Args:
        first: the best, and those that the paired comparison does not tell apart from it; empty where no one has
            learnt anything.
        order: every case with its mean test accuracy and interval, the best first.
        data: on which data set; empty if all runs are of one.
        asked: what the question names to compare; empty if it asks for the best.
    """

    steps: int
    first: tuple[str, ...]
    order: tuple[tuple[str, str], ...]
    data: str = ""
    asked: tuple[Pair, ...] = ()

    def pair(self, other: Pair) -> Pair | None:
        """The same two cases at this budget; None if they were not compared."""
        return next((pair for pair in self.asked if _cases(pair) == _cases(other)), None)

    def verdict(self, of: Pair) -> str | None:
        """ "better", "worse" or "open" of the same two cases; None if they were not compared."""
        if not self.first:
            return "open"  # where nobody has learnt anything nothing is ranked
        pair = self.pair(of)
        if pair is None or pair.found is None:
            return None
        return pair.verdict if pair.found.settled else "open"


@dataclass(frozen=True)
class Tuned:
    """What a case was tuned to at a budget.

    Args:
        data: its data set; empty if all runs are of one.
        best_of: number of trials → the validation accuracy that so many are expected to find.
    """

    case: str
    attention: str
    steps: int
    choice: Choice
    best_of: Mapping[int, Interval]
    data: str = ""

    @property
    def here(self) -> str:
        """The case where its data set is named beside it."""
        return beside(self.case, self.data)

    @property
    def chosen(self) -> str:
        """What was chosen, as people say it: "learning rate 0.003"."""
        return listed([phrase(key, level_text(value)) for key, value in (self.choice.values or {}).items()])

    @property
    def curve(self) -> list[tuple[str, float | None]]:
        """What was tried, as a text, and the validation accuracy there."""
        return [("/".join(level_text(value) for _, value in point), mean) for point, mean in self.choice.curve]

    @property
    def warning(self) -> str:
        """What must be known of the choice; empty if nothing."""
        if self.choice.values is None:
            return "no trial ended well"
        ends = [axis_name(key) for key in self.choice.at_edge]
        return f"{listed(ends)} at the end of the list" if ends else ""


@dataclass(frozen=True)
class AfterTrials:
    """The order of the cases after so many trials each.

    Args:
        data: on which data set; empty if all runs are of one.
        order: case and its best of so many trials, the best first.
        apart: whether the first one's band lies above that of any other.
    """

    steps: int
    trials: int
    order: tuple[tuple[str, Interval], ...]
    apart: bool
    data: str = ""


@dataclass(frozen=True)
class Budgets:
    """What a grid's runs say of budgets: who is ahead after how many steps, and what tuning found.

    Args:
        ahead: at every budget; empty where each case has one.
        tuned: of every case, at every budget.
    """

    ahead: tuple[Ahead, ...] = ()
    tuned: tuple[Tuned, ...] = ()

    def of(self, data: str) -> Budgets:
        """What is said of a page's data set."""
        return replace(self, ahead=tuple(budget for budget in self.ahead if budget.data in ("", data)))

    @property
    def depends(self) -> str:
        """Whether the order depends on the budget, in a sentence; empty with fewer than two budgets.

        Of one data set; accuracies on several are no order.
        """
        if len(self.ahead) < 2 or len({budget.data for budget in self.ahead}) > 1:
            return ""
        learnt, not_yet = ([one for one in self.ahead if bool(one.first) is so] for so in (True, False))
        nobody = f"after {_each(not_yet)} steps nobody is above chance"
        if not learnt:
            return f"{nobody[:1].upper()}{nobody[1:]}."
        if always := self._always:
            names, verb = listed(always), "is" if len(always) == 1 else "are"
            return (
                f"{names[:1].upper()}{names[1:]} {verb} ahead, or not told apart from who is, after {_each(learnt)} "
                f"steps{'; ' if not_yet else ''}{nobody if not_yet else ''}."
            )
        said = listed([f"{listed(one.first or ['nobody'])} after {one.steps:,} steps" for one in self.ahead])
        return f"Who is ahead depends on the budget: {said}."

    def briefly(self, compared: Comparisons) -> str:
        """What becomes of a page's answer at the other budgets, in a few words; empty with fewer than two.

        Args:
            compared: what the page compares, at the largest budget.
        """
        if len(self.ahead) < 2 or not any(budget.first for budget in self.ahead):
            return ""
        if not compared.asked:
            if all(set(budget.first) == set(self.ahead[-1].first) for budget in self.ahead):
                return "so at every budget"
            return "verdicts depend on the budget" if self._always else "the order depends on the budget"
        # a comparison's verdict at each budget; what was not compared (None) contradicts nothing
        verdicts = [[one.verdict(pair) for one in self.ahead] for pair in compared.pairs]
        both_at = {  # each smaller budget, beside the largest
            one.steps: [(row[k], row[-1]) for row in verdicts if None not in (row[k], row[-1])]
            for k, one in enumerate(self.ahead[:-1])
        }
        differ = [steps for steps, both in both_at.items() if any(here != there for here, there in both)]
        if not differ:
            return "" if any(None in row for row in verdicts) else "so at every budget"
        if all(here == "open" for steps in differ for here, _ in both_at[steps]):
            after = f"after {listed([f'{steps:,}' for steps in differ])} steps"
            return f"{after} {'none is settled' if len(compared.pairs) > 1 else 'that is open'}"
        turned = any({"better", "worse"} <= set(row) for row in verdicts)
        return "the order depends on the budget" if turned else "verdicts depend on the budget"

    def told(self, compared: Comparisons) -> list[tuple[str, list[Pair | None]]]:
        """What the question compares, and how it comes out at each budget; empty with fewer than two budgets."""
        if len(self.ahead) < 2 or not compared.asked:
            return []
        return [(compared.name(pair), [one.pair(pair) for one in self.ahead]) for pair in compared.pairs]

    @property
    def _always(self) -> list[str]:
        """Who is ahead, or not told apart from who is, at every budget at which anybody is above chance."""
        learnt = [one.first for one in self.ahead if one.first]
        return [name for name in learnt[-1] if all(name in first for first in learnt)]

    @property
    def same_trials(self) -> bool:
        """Whether all cases tried the same few values, so that a table can have a column for each."""
        tried = {tuple(value for value, _ in one.curve) for one in self.tuned}
        return len(tried) == 1 and len(tried.pop()) <= _MOST_COLUMNS

    @property
    def after_trials(self) -> list[AfterTrials]:
        """How the order changes with the number of trials, at every budget of steps."""
        made = []
        for data, steps in dict.fromkeys((one.data, one.steps) for one in self.tuned):
            at = [one for one in self.tuned if (one.data, one.steps) == (data, steps)]
            for n in dict.fromkeys(n for one in at for n in one.best_of):
                order = sorted(((one.here, one.best_of[n]) for one in at if n in one.best_of), key=lambda o: -o[1].mean)
                apart = any(order[0][1].low > best.high for _, best in order[1:])
                made.append(AfterTrials(steps, n, tuple(order), apart, data))
        return made

    @property
    def trials_said(self) -> str:
        """Whether the number of trials decides who is ahead, in sentences; empty with one trial or one case."""
        after = self.after_trials
        if len({entry.trials for entry in after}) < 2 or max(len(entry.order) for entry in after) < 2:
            return ""
        said = []
        for data, steps in dict.fromkeys((entry.data, entry.steps) for entry in after):
            at = [entry for entry in after if (entry.data, entry.steps) == (data, steps)]
            firsts: dict[str, list[int]] = {}
            for entry in at:
                firsts.setdefault(entry.order[0][0], []).append(entry.trials)
            if len(firsts) == 1:
                leads = f"{next(iter(firsts))} leads after any number of trials"
            else:
                first, *others = [(case, listed(list(map(str, trials)))) for case, trials in firsts.items()]
                plural = "" if first[1] == "1" else "s"
                leads = f"{first[0]} leads after {first[1]} trial{plural}"
                leads += "".join(f"; {case} after {trials}" for case, trials in others)  # names have commas
            whole = [case for case, _ in at[0].order] == [case for case, _ in at[-1].order]
            rest = ", and the order stays" if whole and len(firsts) == 1 else ""
            said.append(f"{f'{data}: after' if data else 'After'} {steps:,} steps {leads}{rest}.")
        if not any(entry.apart for entry in after):
            said.append("So few trials rank nobody for certain: all bands overlap with the leader’s.")
        return " ".join(said)


def _cases(pair: Pair) -> tuple[Any, Any]:
    """A pair's cases, which have the same names at all budgets, whatever a page calls them."""
    return pair.group.first["case"], pair.against.first["case"]


def _each(budgets: Sequence[Ahead]) -> str:
    """ "each of 150 and 300", or "150" of one alone."""
    return ("each of " if len(budgets) > 1 else "") + listed([f"{budget.steps:,}" for budget in budgets])


def largest(runs: Iterable[RunLike]) -> list[RunLike]:
    """Of runs that differ in their budget alone those of the largest."""
    kept = list(runs)
    ladders = _ladders(kept)
    return [run for run in kept if _steps(run) == max(ladders[run.row["case"]])]


def whole(runs: Iterable[RunLike]) -> tuple[list[RunLike], tuple[str, ...]]:
    """Runs without those of budgets that are still to be finished, and what that leaves out, in words.

    Where no budget is finished, the one with most finished runs stays.
    """
    kept = list(runs)
    ladders = _ladders(kept)
    at: dict[int, list[RunLike]] = {}
    for run in kept:
        if len(ladders[run.row["case"]]) > 1:
            at.setdefault(_steps(run), []).append(run)
    done = {steps: sum(run.row.get("status") == "done" for run in those) for steps, those in at.items()}
    undone = {steps for steps, those in at.items() if any(run.row.get("status") == "missing" for run in those)}
    if undone and undone == set(at):
        undone.remove(max(at, key=lambda steps: (done[steps], -steps)))
    left_out = [
        f"{done[steps] or 'none'} of {len(at[steps])} runs of {steps:,} steps {'has' if done[steps] == 1 else 'have'} "
        "finished so far"
        for steps in sorted(undone)
    ]
    return [run for run in kept if len(ladders[run.row["case"]]) == 1 or _steps(run) not in undone], tuple(left_out)


def _steps(run: RunLike) -> int:
    return run.row.get("steps") or 0


def _ladders(runs: Iterable[RunLike]) -> dict[Any, set[int]]:
    """The budgets of every case."""
    found: dict[Any, set[int]] = {}
    for run in runs:
        found.setdefault(run.row["case"], set()).add(_steps(run))
    return found


def names_of_data(runs: Iterable[RunLike]) -> dict[str, str]:
    """Data as rows have them → what a page calls the data set; empty if all runs are of one."""
    by = by_data(group_runs(runs))
    if len(by) < 2:
        return {}
    names = zip(data_names(by), by.values(), strict=True)
    return {str(group.first.get("data")): name for name, groups in names for group in groups}


def ahead(
    runs: Iterable[RunLike],
    called: Mapping[str, str] | None = None,
    baseline: str | None = None,
    axis: str | None = None,
) -> list[Ahead]:
    """Every budget's order on every data set; empty where each case has one budget.

    Args:
        called: `names_of_data` of the page; None: all runs are of one.
        baseline: the case that the question compares all others with, if it names one.
        axis: the key along which it compares cases, if it names one.
    """
    called = called or {}
    kept = list(runs)
    if max(map(len, _ladders(kept).values()), default=0) < 2:
        return []
    found: dict[tuple[str, int], list[RunLike]] = {}
    for run in kept:
        found.setdefault((called.get(str(run.row.get("data")), ""), _steps(run)), []).append(run)
    names = [*called.values(), ""]
    at = sorted(found, key=lambda key: (names.index(key[0]), key[1]))
    return [entry for data, steps in at if (entry := _ahead(data, steps, found[data, steps], baseline, axis))]


def _ahead(data: str, steps: int, runs: Sequence[RunLike], baseline: str | None, axis: str | None) -> Ahead | None:
    ranking = Ranking(group_runs(runs))
    if not ranking.scored:
        return None
    order = tuple((group.label, f"{top1} %") for group, top1 in ranking.scored)
    learnt = any(ranking.learnt(group) for group, _ in ranking.scored)
    asked = compared(ranking, baseline, axis)
    return Ahead(
        steps,
        tuple(group.label for group in ranking.top()) if learnt else (),
        order,
        data,
        tuple(asked.pairs) if asked.asked else (),
    )


def tuned(trials: Iterable[RunLike], called: Mapping[str, str] | None = None) -> list[Tuned]:
    """Every case's curve and choice, at every budget of steps.

    Args:
        called: `names_of_data` of the page; None: all runs are of one.
    """
    called = called or {}
    tried: dict[tuple[int, str], list[RunLike]] = {}
    for run in trials:
        if run.row.get("status") != "missing":
            tried.setdefault((run.row.get("steps") or 0, run.row["case"]), []).append(run)
    cases = len({case for _, case in tried})
    found = []
    for (steps, case), runs in sorted(tried.items(), key=lambda entry: entry[0][0]):
        choice = choose((tuple((run.row.get("tuned") or {}).items()), _validation(run)) for run in runs)
        means = [mean or 0.0 for _, mean in choice.curve] if choice.values else []  # a failed trial finds nothing
        # all cases' bands hold together, so that those which are apart may be ranked
        after = {n: band(means, n, 1 - 0.05 / cases) for n in _shown(len(means))}
        data = called.get(str(runs[0].row.get("data")), "")
        found.append(Tuned(spoken(case), str(runs[0].row.get("attention")), steps, choice, after, data))
    return found


def _validation(run: RunLike) -> float | None:
    return run.row.get("val_top1_pct") if run.row.get("status") == "done" else None


def _shown(trials: int) -> list[int]:
    """Numbers of trials to look at: all of few, of many the first and then in steps of a half more."""
    numbers = list(range(1, min(trials, _FEW) + 1))
    while numbers and numbers[-1] < trials:
        numbers.append(min(numbers[-1] * 3 // 2, trials))
    return numbers
