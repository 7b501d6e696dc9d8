"""Published results compared by seed."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import study
from scipy import stats

from tps_lab.report import published
from tps_lab.results.groups import group_runs


def test_by_seed_is_a_paired_t_interval() -> None:
    groups = group_runs(study())
    pair = next(pair for pair in published.by_seed(groups) if pair.group.label == "TPS-C")
    one, other = (
        np.array([run.row["top1_pct"] for run in sorted(group.done, key=lambda run: run.row["seed"])])
        for group in (pair.group, pair.against)
    )
    found = stats.ttest_rel(one, other)
    assert pair.against.label == "Spatial"
    assert pair.found is not None
    assert pair.found.p == pytest.approx(found.pvalue, rel=1e-3)
    assert (pair.found.low, pair.found.high) == pytest.approx(tuple(found.confidence_interval()), rel=1e-6)
