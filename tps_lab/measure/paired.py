"""How many times as long: the ratio of two things that were timed in turn.

On a machine that others use too, a minute may be twice as slow as the next. Two calls made right
after one another meet the same minute, so their ratio is looked at, round by round.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tps_lab.errors import InputError


@dataclass(frozen=True)
class Ratio:
    """Times as long as the baseline: the median over rounds with its 95 % interval.

    With fewer than 6 rounds no interval has 95 %: low and high are then NaN.
    """

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"

    def row(self) -> dict[str, Any]:
        low, high = (None if value != value else round(value, 4) for value in (self.low, self.high))
        return {"median": round(self.median, 4), "low": low, "high": high, "rounds": self.rounds}


def paired_ratio(calls: Sequence[float], base: Sequence[float]) -> Ratio:
    """The ratio calls / base, round by round.

    The interval is that of the sign test: between the k-th smallest and the k-th largest ratio the
    true median lies with 95 % or more, whatever the ratios' distribution is (Conover, Practical
    Nonparametric Statistics, section 3.2).

    Args:
        calls, base: ms of every round, in the same order.

    Raises:
        InputError: not as many of the one as of the other, or none.
    """
    from scipy.stats import binom

    if len(calls) != len(base) or len(calls) == 0:
        raise InputError(f"rounds must come in pairs, got {len(calls)} and {len(base)}")
    ratios = sorted(a / b for a, b in zip(calls, base, strict=True))
    n = len(ratios)
    outside = int(binom.ppf(0.025, n, 0.5))  # the most ratios on one side that still leave 97.5 % for the rest
    while outside and binom.cdf(outside - 1, n, 0.5) > 0.025:
        outside -= 1
    nan = float("nan")
    low, high = (ratios[outside - 1], ratios[n - outside]) if outside else (nan, nan)
    return Ratio(statistics.median(ratios), low, high, n)
