"""Groups compared by the accuracies of their seeds alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tps_lab.results.groups import Group, figure
from tps_lab.results.paired import Pair, baseline_of
from tps_lab.results.statistics import compare_all


def by_seed(groups: Sequence[Group], baseline: str | None = None) -> list[Pair]:
    """Every group against the baseline by the accuracies of their common seeds alone.

    For published figures without answers to single clips. The interval is over seeds (Student's t of
    the paired differences) on these very test clips: other clips would widen it. Where the
    answers are there, `results.paired.paired` covers both.

    Args:
        baseline: a label or case; None is spatial attention.

    Raises:
        InputError: no group has that label or case.
    """
    base = baseline_of(groups, baseline)
    pairs, rights = [], []
    for group in groups:
        if group is base or not group.done:
            continue
        one, other = _accuracies(group), _accuracies(base)
        shared = [seed for seed in one if seed in other]
        pairs.append((group, shared))
        if shared:
            rights.append(tuple(np.array([[found[seed] / 100] for seed in shared]) for found in (one, other)))
    found = iter(compare_all(rights, over_clips=False))  # type: ignore[arg-type]
    return [
        Pair(group, base, next(found)) if shared else Pair(group, base, None, "no seed that both finished")
        for group, shared in pairs
    ]


def _accuracies(group: Group) -> dict[Any, float]:
    """Test accuracy (%) by seed."""
    both = ((run.row.get("seed"), figure(run.row, "top1_pct")) for run in group.done)
    return {seed: top1 for seed, top1 in both if top1 is not None}
