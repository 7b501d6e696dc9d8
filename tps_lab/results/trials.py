"""The best accuracy to expect of so many trials of tuning, and the band that it lies in.

"Show your work" (Dodge et al., arXiv 1909.03004) asks for the expected best of n trials; its estimate
without bias is the mean over all ways to take n of those made (Tang et al., arXiv 2004.13990). Around it
stand the exact bands of Lourie et al. (arXiv 2311.09480, package opda): whatever the distribution of a
trial's accuracy, they hold the whole curve, for every n, with the confidence asked for. They take the
trials for independent draws from one range; values of a list that spans the range are spread more evenly
than draws, so that for them the bands are wide rather than narrow.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import comb

import numpy as np

from tps_lab.results.groups import Interval


def best_of(accuracies: Sequence[float], trials: int) -> float:
    """The mean of the best of `trials` of these, over all ways to take them.

    >>> best_of([1.0, 2.0, 3.0], 2)  # of (1, 2), (1, 3) and (2, 3)
    2.6666666666666665
    """
    ways = comb(len(accuracies), trials)
    return sum(value * comb(i, trials - 1) for i, value in enumerate(sorted(accuracies))) / ways


def band(accuracies: Sequence[float], trials: int, confidence: float = 0.95) -> Interval:
    """The expected best of `trials`, and the least and the most that it may be, in percent.

    Args:
        accuracies: of the trials that were made, in percent.
        confidence: with which the bands for all numbers of trials hold together.

    >>> found = band([50.0, 60.0, 70.0, 80.0], 2)
    >>> found.low < found.mean < found.high
    True
    """
    values = np.array([0.0, *sorted(accuracies), 100.0])
    most, least = _shares(len(accuracies), confidence)  # a distribution that lies low has high accuracies
    low, high = (float(np.sum(values * np.diff(np.cumsum(shares) ** trials, prepend=0))) for shares in (least, most))
    return Interval(best_of(accuracies, trials), low, min(high, 100.0), "trials")


@functools.cache
def _shares(count: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """What the lower and the upper band of the distribution give to 0 %, each of `count` trials, and 100 %.

    Only the order of the trials matters for that, so equal counts share it.
    """
    from opda.nonparametric import EmpiricalDistribution

    ranks = np.arange(1.0, count + 1)
    how = "ld_highest_density" if count > 1 else "ld_equal_tailed"  # one rank has no density that peaks
    lower, _, upper = EmpiricalDistribution.confidence_bands(
        ranks, confidence, a=0.0, b=count + 1.0, generator=np.random.default_rng(0), method=how, n_jobs=1
    )
    places = np.arange(0.0, count + 2)
    return lower.pmf(places), upper.pmf(places)
