"""Published results read back: the same groups and figures as the runs they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up import study
from scipy import stats

from tps_lab.errors import InputError
from tps_lab.report import published, tables
from tps_lab.results.groups import group_runs


def test_a_table_survives_being_written_and_read(tmp_path: Path) -> None:
    runs = study()
    tables.write_csv(runs, tmp_path / "results.csv")
    back = published.load(tmp_path)
    before, after = tables.table(runs), tables.table(back)
    for column in ("label", "attention", "seeds", "top1_pct", "top1_low_pct", "macs"):
        assert before[column].tolist() == pytest.approx(after[column].tolist(), nan_ok=True), column
    assert [run.row.get("per_pair_pct") for run in back] == [run.row.get("per_pair_pct") for run in runs]


def test_by_seed_is_a_paired_t_interval(tmp_path: Path) -> None:
    tables.write_csv(study(), tmp_path / "results.csv")
    groups = group_runs(published.load(tmp_path))
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


def test_nothing_published_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no published results"):
        published.load(tmp_path)
