"""The best of so many trials, and the bands around it, against what enumeration and simulation say."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tps_lab.results.trials import band, best_of


def test_best_of_is_the_mean_over_all_ways_to_draw():
    values = [3.0, 9.0, 4.0, 7.0]
    for n in (1, 2, 3, 4):
        ways = [max(way) for way in combinations(values, n)]
        assert best_of(values, n) == pytest.approx(sum(ways) / len(ways))


@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize("power", [1, 5])
def test_bands_hold_the_whole_curve_as_often_as_they_say(count, power):
    # accuracies 100·u^power: the best of n has u's largest of n, so that its mean is 100·n / (n + power)
    rng = np.random.default_rng(3)
    trials = range(1, count + 1)
    whole = 0
    for _ in range(300):
        bands = [band(list(100 * rng.random(count) ** power), n) for n in trials]
        whole += all(found.low <= 100 * n / (n + power) <= found.high for n, found in zip(trials, bands, strict=True))
    assert whole / 300 > 0.92  # 95 % at least; 300 studies are 2.4 standard deviations sure of 0.92


def test_bands_narrow_with_trials_and_hold_their_estimate():
    few, many = (list(np.linspace(20, 90, count)) for count in (4, 12))
    for n in (1, 2, 4):
        found, narrower = band(few, n), band(many, n)
        assert found.mean == best_of(few, n)
        assert found.low < found.mean < found.high <= 100
        assert narrower.high - narrower.low < found.high - found.low
    assert band([70.0], 1).low == pytest.approx(0.025 * 70, abs=0.05)  # a draw is its range's least 2.5 % so often
    assert band([50.0] * 5, 2).low < 50 < band([50.0] * 5, 2).high
