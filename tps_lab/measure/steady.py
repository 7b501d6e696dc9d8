"""When is a thing warm? A rule on the times of its calls so far, and nothing else.

The first calls are slow: caches are cold, kernels are chosen or compiled, clocks go up. Fixed numbers
of warm-up calls are too few for some and too many for others.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

WINDOW = 5


def is_steady(calls: Sequence[float], tolerance: float = 0.05) -> bool:
    """Whether calls have stopped getting faster or slower.

    The median of the last five and that of the five before differ by at most `tolerance` of the
    former, or by at most half the interquartile range of the ten: where single calls scatter, medians
    of five differ by chance.

    >>> is_steady([9, 5, 3, 2, 1.5, 1.2, 1.1, 1, 1, 1])
    False
    >>> is_steady([9, 5, 3] + [1] * 10)
    True
    """
    if len(calls) < 2 * WINDOW:
        return False
    before, last = calls[-2 * WINDOW : -WINDOW], calls[-WINDOW:]
    low, _, high = statistics.quantiles([*before, *last], n=4)
    now = statistics.median(last)
    return abs(statistics.median(before) - now) <= max(tolerance * now, (high - low) / 2)
