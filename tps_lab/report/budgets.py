"""Who is ahead after how many steps, and what each case was tuned to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tps_lab.ablate.tuning import Choice, choose
from tps_lab.report.comparisons import Ranking
from tps_lab.report.wording import listed
from tps_lab.results.axes import axis_name, level_text, phrase, spoken
from tps_lab.results.groups import RunLike, group_runs
from tps_lab.results.trials import band, best_of

_FEW = 6  # of so many trials every number is shown


@dataclass(frozen=True)
class Ahead:
    """Who is ahead at a budget.

    Args:
        first: the best, and those that the paired comparison does not tell apart from it.
        order: every case with its mean test accuracy and interval, the best first.
    """

    steps: int
    first: tuple[str, ...]
    order: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Best:
    """What so many trials are expected to find, and between what it lies (`results.trials.band`)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Tuned:
    """What a case was tuned to at a budget.

    Args:
        best_of: number of trials → the validation accuracy that so many are expected to find.
    """

    case: str
    attention: str
    steps: int
    choice: Choice
    best_of: Mapping[int, Best]

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


def ahead(runs: Iterable[RunLike]) -> list[Ahead]:
    """Every budget's order; empty where each case has one budget."""
    found: dict[int, list[RunLike]] = {}
    kept = list(runs)
    for run in kept:
        found.setdefault(_steps(run), []).append(run)
    if max(map(len, _ladders(kept).values()), default=0) < 2:
        return []
    return [entry for steps in sorted(found) if (entry := _ahead(steps, found[steps]))]


def _ahead(steps: int, runs: Sequence[RunLike]) -> Ahead | None:
    ranking = Ranking(group_runs(runs))
    if not ranking.scored:
        return None
    order = tuple((group.label, f"{top1} %") for group, top1 in ranking.scored)
    return Ahead(steps, tuple(group.label for group in ranking.top()), order)


def answer(budgets: Sequence[Ahead]) -> str:
    """Whether the order depends on the budget, in a sentence; empty with fewer than two budgets."""
    if len(budgets) < 2:
        return ""
    always = [name for name in budgets[-1].first if all(name in budget.first for budget in budgets)]
    spans = listed([f"{budget.steps:,}" for budget in budgets])
    if always:
        verb = "is" if len(always) == 1 else "are"
        return f"{_capital(listed(always))} {verb} ahead, or not told apart from who is, after each of {spans} steps."
    said = listed([f"{listed(budget.first)} after {budget.steps:,} steps" for budget in budgets])
    return f"Who is ahead depends on the budget: {said}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def briefly(budgets: Sequence[Ahead]) -> str:
    """The same in a few words."""
    if len(budgets) < 2:
        return ""
    same = all(set(budget.first) == set(budgets[-1].first) for budget in budgets)
    return "so at every budget" if same else "the order depends on the budget"


def tuned(trials: Iterable[RunLike]) -> list[Tuned]:
    """Every case's curve and choice, at every budget of steps."""
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
        after = {n: Best(best_of(means, n), *band(means, n, 1 - 0.05 / cases)) for n in _shown(len(means))}
        found.append(Tuned(spoken(case), str(runs[0].row.get("attention")), steps, choice, after))
    return found


def _validation(run: RunLike) -> float | None:
    return run.row.get("val_top1_pct") if run.row.get("status") == "done" else None


def _shown(trials: int) -> list[int]:
    """Numbers of trials to look at: all of few, of many the first and then in steps of a half more."""
    numbers = list(range(1, min(trials, _FEW) + 1))
    while numbers and numbers[-1] < trials:
        numbers.append(min(numbers[-1] * 3 // 2, trials))
    return numbers


@dataclass(frozen=True)
class AfterTrials:
    """The order of the cases after so many trials each.

    Args:
        order: case and its best of so many trials, the best first.
        apart: whether the first one's band lies above that of any other.
    """

    steps: int
    trials: int
    order: tuple[tuple[str, Best], ...]
    apart: bool


def after_trials(found: Sequence[Tuned]) -> list[AfterTrials]:
    """How the order changes with the number of trials, at every budget of steps."""
    made = []
    for steps in dict.fromkeys(one.steps for one in found):
        at = [one for one in found if one.steps == steps]
        for n in dict.fromkeys(n for one in at for n in one.best_of):
            order = sorted(((one.case, one.best_of[n]) for one in at if n in one.best_of), key=lambda o: -o[1].mean)
            apart = any(order[0][1].low > best.high for _, best in order[1:])
            made.append(AfterTrials(steps, n, tuple(order), apart))
    return made


def order_said(after: Sequence[AfterTrials]) -> str:
    """Whether the number of trials decides who is ahead, in sentences; empty with one trial or one case."""
    if len({entry.trials for entry in after}) < 2 or max(len(entry.order) for entry in after) < 2:
        return ""
    said = []
    for steps in dict.fromkeys(entry.steps for entry in after):
        at = [entry for entry in after if entry.steps == steps]
        firsts: dict[str, list[int]] = {}
        for entry in at:
            firsts.setdefault(entry.order[0][0], []).append(entry.trials)
        if len(firsts) == 1:
            leads = f"{next(iter(firsts))} leads after any number of trials"
        else:
            first, *others = [(case, listed(list(map(str, trials)))) for case, trials in firsts.items()]
            plural = "" if first[1] == "1" else "s"
            leads = f"{first[0]} leads after {first[1]} trial{plural}"
            leads += "".join(f", {case} after {trials}" for case, trials in others)
        whole = [case for case, _ in at[0].order] == [case for case, _ in at[-1].order]
        rest = ", and the order stays" if whole and len(firsts) == 1 else ""
        said.append(f"After {steps:,} steps {leads}{rest}.")
    if not any(entry.apart for entry in after):
        said.append("So few trials rank nobody for certain: all bands overlap with the leader’s.")
    return " ".join(said)
