"""Who is ahead after how many steps, and what each case was tuned to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from tps_lab.ablate.tuning import Choice, choose
from tps_lab.report.comparisons import Ranking
from tps_lab.report.wording import listed
from tps_lab.results.axes import short
from tps_lab.results.groups import Run, group_runs

TRIALS = (1, 3, 9)


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
class Tuned:
    """What a case was tuned to at a budget.

    Args:
        best_of: number of trials → the validation accuracy that so many of these trials, drawn at random,
            are expected to find (Dodge et al., arXiv 1909.03004, without replacement).
    """

    case: str
    steps: int
    choice: Choice
    best_of: Mapping[int, float]

    @property
    def warning(self) -> str:
        """What must be known of the choice; empty if nothing."""
        if self.choice.values is None:
            return "no trial ended well"
        return f"{listed([short(key) for key in self.choice.at_edge])} at the end of the list" * bool(
            self.choice.at_edge
        )


def largest(runs: Iterable[Run]) -> list[Run]:
    """Of runs that differ in their budget alone those of the largest."""
    kept = list(runs)
    most: dict[Any, int] = {}
    for run in kept:
        most[run.row["case"]] = max(most.get(run.row["case"], 0), run.row.get("steps") or 0)
    return [run for run in kept if (run.row.get("steps") or 0) == most[run.row["case"]]]


def ahead(runs: Iterable[Run]) -> list[Ahead]:
    """Every budget's order; empty where each case has one budget."""
    found: dict[int, list[Run]] = {}
    several: dict[Any, set[int]] = {}
    for run in runs:
        steps = run.row.get("steps") or 0
        found.setdefault(steps, []).append(run)
        several.setdefault(run.row["case"], set()).add(steps)
    if max(map(len, several.values()), default=0) < 2:
        return []
    return [entry for steps in sorted(found) if (entry := _ahead(steps, found[steps]))]


def _ahead(steps: int, runs: Sequence[Run]) -> Ahead | None:
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
        return f"{listed(always)} {verb} ahead, or not told apart from who is, after each of {spans} steps."
    said = listed([f"{listed(budget.first)} after {budget.steps:,} steps" for budget in budgets])
    return f"Who is ahead depends on the budget: {said}."


def briefly(budgets: Sequence[Ahead]) -> str:
    """The same in a few words."""
    if len(budgets) < 2:
        return ""
    same = all(set(budget.first) == set(budgets[-1].first) for budget in budgets)
    return "so at every budget" if same else "the order depends on the budget"


def tuned(trials: Iterable[Run]) -> list[Tuned]:
    """Every case's curve and choice, at every budget."""
    tried: dict[tuple[int, str], list[tuple[Any, float | None]]] = {}
    for run in trials:
        done = run.row.get("status") == "done"
        point = tuple((run.row.get("tuned") or {}).items())
        accuracy = run.row.get("val_top1_pct") if done else None
        tried.setdefault((run.row.get("steps") or 0, run.row["case"]), []).append((point, accuracy))
    found = []
    for (steps, case), entries in sorted(tried.items(), key=lambda entry: entry[0][0]):
        choice = choose(entries)
        means = [mean for _, mean in choice.curve if mean is not None]
        found.append(Tuned(case, steps, choice, {n: best_of(means, n) for n in TRIALS if n <= len(means)}))
    return found


def best_of(accuracies: Sequence[float], trials: int) -> float:
    """The mean of the best of `trials` of these, over all ways to take them.

    >>> best_of([1.0, 2.0, 3.0], 2)  # of (1, 2), (1, 3) and (2, 3)
    2.6666666666666665
    """
    ways = comb(len(accuracies), trials)
    return sum(value * comb(i, trials - 1) for i, value in enumerate(sorted(accuracies))) / ways
