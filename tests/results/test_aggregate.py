"""Aggregates over tasks against naive references: sorted lists, double loops, a bootstrap draw by draw."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tps_lab.results.aggregate import aggregates, improvement, interquartile_mean
from tps_lab.results.groups import group_runs

scores = st.lists(st.floats(-20, 100), min_size=4, max_size=7)


@given(st.lists(scores, min_size=1, max_size=4))
def test_interquartile_mean_drops_a_quarter_at_each_end(tasks):
    pooled = sorted(value for task in tasks for value in task)
    cut = len(pooled) // 4
    middle = pooled[cut : len(pooled) - cut]
    found = interquartile_mean({str(i): np.array(task) for i, task in enumerate(tasks)})
    assert float(found) == pytest.approx(sum(middle) / len(middle), abs=1e-9)


@given(scores, scores)
def test_improvement_is_a_mann_whitney_u(one, other):
    u = stats.mannwhitneyu(one, other).statistic / (len(one) * len(other))
    assert float(improvement({"a": np.array(one)}, {"a": np.array(other)})) == pytest.approx(u)


def run(task, attention, seed, top1):
    row = {"status": "done", "data": task, "attention": attention, "case": f"{task}, {attention}", "seed": seed}
    row |= {"varied": {"data": task, "attention": attention}, "top1_pct": top1, "chance_pct": 20.0}
    return SimpleNamespace(row=row, metrics=[], environment={}, config={}, path=None)


def study(tasks=("order", "speed", "match"), seeds=5):
    rng = random.Random(1)
    base = {"spatial": 30, "joint": 60, "tps": 80}
    return [
        run(task, name, seed, base[name] + 5 * i + rng.gauss(0, 3))
        for i, task in enumerate(tasks)
        for name in base
        for seed in range(seeds)
    ]


def test_variants_are_matched_over_tasks_and_scored_above_chance():
    found = {one.name: one for one in aggregates(group_runs(study()))}
    assert set(found) == {"spatial", "joint", "tps"}
    assert {one.tasks for one in found.values()} == {3}
    tops = sorted((r.row["top1_pct"] - 20) / 0.8 for r in study() if r.row["attention"] == "joint")
    assert found["joint"].iqm.mean == pytest.approx(sum(tops[3:12]) / 9)
    assert found["spatial"].better is None
    assert found["tps"].better.mean == 1.0
    # the share of runs above 40 % of what there is above chance, each task alike
    assert found["joint"].profile[0, 40] == pytest.approx(sum(top > 40 for top in tops) / 15)
    assert (found["joint"].profile[1] <= found["joint"].profile[0]).all()


def test_the_interval_is_that_of_a_naive_stratified_bootstrap():
    one = next(one for one in aggregates(group_runs(study())) if one.name == "joint")
    rng, drawn = random.Random(2), []
    by_task = {}
    for r in study():
        if r.row["attention"] == "joint":
            by_task.setdefault(r.row["data"], []).append((r.row["top1_pct"] - 20) / 0.8)
    for _ in range(4000):
        pooled = sorted(value for tops in by_task.values() for value in rng.choices(tops, k=5))
        drawn.append(sum(pooled[3:12]) / 9)
    drawn.sort()
    assert one.iqm.low == pytest.approx(drawn[100], abs=0.35)
    assert one.iqm.high == pytest.approx(drawn[3900], abs=0.35)


def test_a_variant_that_misses_a_task_and_a_single_task_are_left_out():
    some = [r for r in study() if (r.row["data"], r.row["attention"]) != ("match", "tps")]
    assert {one.name for one in aggregates(group_runs(some))} == {"spatial", "joint"}
    assert aggregates(group_runs(study(tasks=("order",)))) == []
