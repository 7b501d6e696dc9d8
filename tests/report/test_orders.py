"""Whether variants stand in the same order at another place of a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau
from test_paired import LABELS, run

from tps_lab import report
from tps_lab.report.answer import carries_over
from tps_lab.results.groups import group_runs
from tps_lab.results.orders import kendall, same_order

AT = {
    "small": {"spatial": 0.3, "joint": 0.5, "axial": 0.7, "tcs": 0.9},
    "large": {"spatial": 0.32, "joint": 0.95, "axial": 0.7, "tcs": 0.9},  # joint attention is first here
}


def runs(seeds: int = 5) -> list:
    return [
        run(
            attention,
            f"{place}, {attention}",
            accuracy,
            seed,
            case=f"{place}, {attention}",
            macs=macs,
            varied={"backbone": place, "attention": attention},
        )
        for (place, them), macs in zip(AT.items(), (1_000, 4_000), strict=True)
        for attention, accuracy in them.items()
        for seed in range(seeds)
    ]


def test_the_order_is_kendalls_and_says_what_turned():
    groups = group_runs(runs())
    (found,) = same_order(groups, "attention", "backbone")
    assert (found.first, found.second) == ("small", "large")
    means = [
        [np.mean([one.row["top1_pct"] for one in g.runs]) for g in groups if g.label.startswith(place)] for place in AT
    ]
    assert found.tau == pytest.approx(kendalltau(*means).statistic)
    assert found.low <= found.tau <= found.high
    assert (found.settled, found.kept, found.cost) == (6, 4, 4.0)
    assert set(found.turned) == {("axial", "joint"), ("tcs", "joint")}
    assert "4 of 6 settled pairs in the same order" in carries_over([found])


def test_it_asks_for_four_variants_two_places_and_three_seeds():
    every = runs()
    assert same_order(group_runs(every), "backbone", "attention") == []  # two values make one pair
    assert (
        same_order(
            group_runs([one for one in every if one.row["varied"]["backbone"] == "small"]), "attention", "backbone"
        )
        == []
    )
    assert same_order(group_runs(runs(seeds=2)), "attention", "backbone") == []
    for one in every:
        one.predictions = None
    assert same_order(group_runs(every), "attention", "backbone") == []
    assert carries_over([]) == ""


def test_a_thin_variant_is_left_out_and_what_is_undefined_is_not_said():
    every = runs()
    thin = [one for one in every if one.row["varied"]["attention"] != "tcs" or one.row["seed"] < 2]
    assert same_order(group_runs(thin), "attention", "backbone") == []  # three variants are left
    for one in every:  # all alike at one place: no order
        if one.row["varied"]["backbone"] == "large":
            one.predictions = (LABELS, LABELS)
    assert same_order(group_runs(every), "attention", "backbone") == []


def test_any_figures_agree_with_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (2, 50, 7))  # with ties
    for one, other, found in zip(first, second, kendall(first, second), strict=True):
        assert found == pytest.approx(kendalltau(one, other).statistic)


def test_a_page_says_it(tmp_path: Path):
    report.build(runs(), tmp_path, compare="attention", across="backbone")
    for page in ("index.html", "report.md"):
        text = (tmp_path / page).read_text()
        assert "Does the order hold elsewhere?" in text
        assert "How the order carries over from small" in text
        assert "Of six pairs settled at small, four point the same way at large." in text
