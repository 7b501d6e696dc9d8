"""The values that each case runs with: those of the trial that did best on the validation clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Point = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Choice:
    """The values that a case runs with.

    Args:
        values: what was tuned, and the value that was chosen; None: no trial ended well.
        curve: every point that was tried, in the order of the list, and its mean validation accuracy
            over the tuning's seeds in percent; None where a run of it failed.
        at_edge: what was chosen at an end of its list, so that the best may lie beyond.
    """

    values: Mapping[str, Any] | None
    curve: tuple[tuple[Point, float | None], ...]
    at_edge: tuple[str, ...] = ()


def choose(trials: Iterable[tuple[Point, float | None]]) -> Choice:
    """The best of a case's trials.

    Args:
        trials: of every trial's run: the point, and its validation accuracy in percent; None if it failed.

    Of equally good points the one nearest to the middle of the list is taken: an end is no place to be by chance.
    """
    by_point: dict[Point, list[float | None]] = {}
    for point, accuracy in trials:
        by_point.setdefault(point, []).append(accuracy)
    points = sorted(by_point, key=lambda point: tuple(_rank(value) for _, value in point))
    curve = tuple((point, _mean(by_point[point])) for point in points)
    learnt = [
        (mean, -abs(i - (len(curve) - 1) / 2), point) for i, (point, mean) in enumerate(curve) if mean is not None
    ]
    if not learnt:
        return Choice(None, curve)
    best = max(learnt, key=lambda entry: entry[:2])[2]
    return Choice(dict(best), curve, tuple(key for key, value in best if _at_edge(key, value, points)))


def _mean(accuracies: Sequence[float | None]) -> float | None:
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return fmean(known) if len(known) == len(accuracies) else None


def _rank(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))


def _at_edge(key: str, value: Any, points: Sequence[Point]) -> bool:
    """Whether a number is the least or the greatest that was tried, of three or more."""
    tried = {v for point in points for k, v in point if k == key}
    return len(tried) > 2 and all(isinstance(v, (int, float)) for v in tried) and value in (min(tried), max(tried))
