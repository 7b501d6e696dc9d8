"""Variants compared seed by seed and clip by clip, and what the axes of a grid do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from tps_lab.errors import unknown
from tps_lab.results.axes import level_text, lines
from tps_lab.results.groups import Group, RunLike, figure
from tps_lab.results.statistics import FEWEST_SEEDS, Comparison, compare_all, holm
from tps_lab.text import counted


@dataclass(frozen=True, eq=False)
class Pair:
    """A group against the baseline: their difference, or why there is none."""

    group: Group
    against: Group
    found: Comparison | None
    why_not: str = ""

    @property
    def verdict(self) -> str:
        """What may be said, in a few words."""
        found = self.found
        if found is None:
            return self.why_not
        if found.settled:
            return "better" if found.difference > 0 else "worse"
        if found.seeds < FEWEST_SEEDS:
            return f"open: {counted(found.seeds, 'seed')} settle{'s' * (found.seeds == 1)} nothing"
        return "open"


def baseline_of(groups: Sequence[Group], wanted: str | None = None) -> Group:
    """The group that others are compared with: the wanted one, else spatial attention, else the first finished.

    Raises:
        InputError: no group has that label or case.
    """
    if wanted is not None:
        for group in groups:
            if wanted in names_of(group):
                return group
        raise unknown("baseline", wanted, [group.label for group in groups])
    done = [group for group in groups if group.done] or list(groups)
    return next((group for group in done if group.first.get("variant") == "spatial"), done[0])


def names_of(group: Group) -> tuple[str, ...]:
    """Under what a grid file, a paper's table or a person may know a group."""
    keys = ["case", "name", "attention", "variant"]
    if group.first.get("variant") == "tps":  # a pattern alone means plain patch shift
        keys.append("pattern")
    return (group.label, *(str(group.first[key]) for key in keys if group.first.get(key)))


def paper_number(group: Group, paper: Mapping[str, Mapping[str, float]]) -> str:
    """The paper's top-1 for a group; empty if it gives none."""
    for name in names_of(group):
        if name in paper and "top1_pct" in paper[name]:
            return f"{paper[name]['top1_pct']:.1f}"
    return ""


def paired(groups: Sequence[Group], wanted: str | None = None) -> list[Pair]:
    """Every group against the baseline, on the seeds that both have; p values corrected for all of them."""
    base = baseline_of(groups, wanted)
    others = [group for group in groups if group is not base and group.done]
    return compare_groups([(group, base) for group in others])


def along(groups: Sequence[Group], axis: str) -> list[Pair]:
    """Each group against that with the axis' first value and all else equal; p values corrected for all of them."""
    found = lines(groups, axis)
    # the line whose case with the first value has not run begins with another value
    begins = [next(iter(line.at)) for line in found]
    first = next((level for level in begins if all(level not in list(line.at)[1:] for line in found)), "")
    pairs = [
        (group, line.at[first])
        for line in found
        for level, group in line.at.items()
        if level != first and first in line.at
    ]
    return compare_groups([(group, base) for group, base in pairs if group.done and base.done])


def compare_groups(pairs: Sequence[tuple[Group, Group]], of: int | None = None) -> list[Pair]:
    """First against second of each pair; see `paired`.

    Args:
        of: how many comparisons p values are corrected for, if these were chosen from more.
    """
    rights = [_rights(one, other) for one, other in pairs]
    choices = [one.choice_variance + other.choice_variance for one, other in pairs]
    found = iter(
        compare_all(
            [(a, b) for a, b, _, why in rights if not why],
            [clips_per_scene for *_, clips_per_scene, why in rights if not why],
            of,
            choices=[cost for cost, (*_, why) in zip(choices, rights, strict=True) if not why],
        )
    )
    made = [
        Pair(one, other, None if why else next(found), why)
        for (one, other), (*_, why) in zip(pairs, rights, strict=True)
    ]
    return _by_counts(made, of)


def heaps(group: Group) -> tuple[list[float], list[float]] | None:
    """A group's accuracies where runs succeed all or nothing: the low heap and the high one; None if they do not.

    Two heaps: a gap of 20 points or more between neighbouring accuracies that is wider than both heaps.
    """
    tops = sorted(group.values("top1_pct")) if group.done else []
    if len(tops) < FEWEST_SEEDS:
        return None
    gap, at = max((high - low, i + 1) for i, (low, high) in enumerate(pairwise(tops)))
    low, high = tops[:at], tops[at:]
    return None if gap < 20 or gap < 2 * max(low[-1] - low[0], high[-1] - high[0]) else (low, high)


def _by_counts(pairs: list[Pair], of: int | None) -> list[Pair]:
    """Where some group's runs succeed all or nothing, p values no less than those of how many runs succeed.

    Three seeds of one variant that all succeed and three of another that all fail leave no spread, though a coin
    does that for one pair in 32: simulated, three seeds, seven comparisons of eight equal variants, 16 % of
    studies had a false verdict without this. Barnard's exact test, corrected as the rest (Holm).

    A group whose seeds lie on both sides of the gap without two heaps of their own is none of these: its spread is in
    its interval. Nor is one that was proved unable to pass the gap, before training: that it fails is no chance.
    A gap just under 20 points counts as spread, which three seeds tell badly: with 3,000 clips a tenth of such studies
    still has a false verdict.
    """
    splits = {
        (both[0][-1] + both[1][0]) / 2 for pair in pairs for one in (pair.group, pair.against) if (both := heaps(one))
    }
    counted = [[p for between in splits if (p := _by_count(pair, between)) is not None] for pair in pairs]
    corrected = holm([max(some, default=1.0) for some in counted], of)[1]
    for i, pair in enumerate(pairs):
        if counted[i] and pair.found:
            pairs[i] = replace(pair, found=replace(pair.found, p_holm=max(pair.found.p_holm, corrected[i])))
    return pairs


def _by_count(pair: Pair, between: float) -> float | None:
    """Barnard's p for how many runs of each lie above an accuracy; None where that is no question of luck."""
    from scipy.stats import barnard_exact

    sides = pair.group, pair.against
    tops = [group.values("top1_pct") for group in sides]
    above = [sum(top1 > between for top1 in some) for some in tops]
    spread = any(0 < n < len(some) and not heaps(one) for one, some, n in zip(sides, tops, above, strict=True))
    proved = [one.one("proved_ceiling_pct") for one in sides]
    unable = any(ceiling is not None and ceiling < between for ceiling in proved)
    if not pair.found or spread or unable or above[0] * len(tops[1]) == above[1] * len(tops[0]):
        return None
    return float(barnard_exact([above, [len(some) - n for some, n in zip(tops, above, strict=True)]]).pvalue)


def _rights(one: Group, other: Group) -> tuple[np.ndarray, np.ndarray, int, str]:
    """Rights and wrongs (S, N) of two groups on the seeds that both finished, the clips of a scene, or why not."""
    none = np.zeros((0, 0))
    first, second = ({run.row.get("seed"): run for run in group.done} for group in (one, other))
    shared = [seed for seed in first if seed in second]
    if not shared:
        return none, none, 1, "no seed that both finished"
    answers = [[answers_of(run[seed]) for seed in shared] for run in (first, second)]
    if any(answer is None for side in answers for answer in side):
        return none, none, 1, "answers to single clips were not recorded"
    labels = [answer[1] for side in answers for answer in side if answer is not None]
    if any(not np.array_equal(label, labels[0]) for label in labels):
        return none, none, 1, "not tested on the same clips"
    a, b = (np.array([said == right for said, right in side if said is not None]) for side in answers)  # type: ignore[misc]
    return a, b, int(figure(one.first, "twins") or 1), ""


def answers_of(run: RunLike) -> tuple[np.ndarray, np.ndarray] | None:
    """What a run said of each test clip and what was right, (N,) classes each; None if that was not recorded."""
    return getattr(run, "predictions", None)


# ---------------------------------------------------------------------- axes of a grid


@dataclass(frozen=True)
class Effect:
    """What an axis, or two together, do to the accuracy: a line of the analysis of variance.

    Args:
        name: "attention.pattern", or "attention.pattern × data.frames".
        levels: of a single axis, the mean accuracy at each of its values.
        share: of the variance over runs that it explains, 0 to 1.
        p: of its F test, corrected for all lines (Holm).
    """

    name: str
    levels: dict[str, float]
    share: float
    p: float


def effects(groups: Sequence[Group]) -> list[Effect]:
    """Main effects and interactions of two axes, of a grid in which every combination has run.

    Ordinary least squares with the seed as a block; type II sums of squares (statsmodels). Empty if
    there are fewer than two axes, combinations missing, or no seeds to tell chance by.
    """
    runs = [run for group in groups for run in group.done if figure(run.row, "top1_pct") is not None]
    varied: list[Mapping[str, Any]] = [run.row.get("varied") or {} for run in runs]
    keys = sorted({key for values in varied for key in values})
    axes = [key for key in keys if len({level_text(values.get(key)) for values in varied}) > 1]
    levels = {axis: list(dict.fromkeys(level_text(values.get(axis)) for values in varied)) for axis in axes}
    cells = {tuple(level_text(values.get(axis)) for axis in axes) for values in varied}
    whole = int(np.prod([len(values) for values in levels.values()]))
    if not 2 <= len(axes) <= 4 or len(cells) < whole or len(runs) < 2 * whole:
        return []
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    table = pd.DataFrame({f"x{i}": [level_text(values.get(axis)) for values in varied] for i, axis in enumerate(axes)})
    table["seed"] = [str(run.row.get("seed")) for run in runs]
    table["y"] = [figure(run.row, "top1_pct") for run in runs]
    singles = [f"C(x{i})" for i in range(len(axes))]
    twos = [f"{a}:{b}" for i, a in enumerate(singles) for b in singles[i + 1 :]]
    block = ["C(seed)"] if table["seed"].nunique() > 1 else []
    fitted = anova_lm(ols("y ~ " + " + ".join([*singles, *twos, *block]), table).fit(), typ=2)
    lines = [*singles, *twos]
    corrected = holm(fitted.loc[lines, "PR(>F)"].fillna(1.0).tolist())[1]
    total = float(fitted["sum_sq"].sum()) or 1.0

    def named(line: str) -> str:
        return " × ".join(axes[int(part[3:-1])] for part in line.split(":"))

    def means(line: str) -> dict[str, float]:
        if ":" in line:
            return {}
        column, axis = line[2:-1], axes[int(line[3:-1])]
        return {level: float(table.loc[table[column] == level, "y"].mean()) for level in levels[axis]}

    return [
        Effect(named(line), means(line), float(fitted.loc[line, "sum_sq"]) / total, float(p))
        for line, p in zip(lines, corrected, strict=True)
    ]
