"""Figures of a run: one entry each, and in which unit people read them.

Grid files may ask for every one; tables and pages have a column for most.

What a run costs, and its accuracies, stand in its row. A metric of answers is worked out from what a run keeps of its
test (`Run.predictions`), whenever its row is read: it needs no new training, and runs from before it have it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tps_lab.errors import InputError
from tps_lab.plugins import refuse_shared, told

Kind = Literal["count", "bytes", "seconds", "ms", "percent", "rate"]
OfAnswers = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """One figure of a run.

    Args:
        name: what tables and files call it.
        key: its dotted name in a row.
        kind: which units it is shown in.
        head: of its column on a page, "\\n" for a new line; "": it has none.
        shared: a heading that it shares with its neighbours.
        of: a run's answers to the test clips, and what is right, int (N,) each → the figure; None: it is in the row.
    """

    name: str
    key: str
    kind: Kind = "percent"
    head: str = ""
    shared: str = ""
    of: OfAnswers | None = None


_OURS = (
    *(Metric(name, name) for name in ("top1_pct", "val_top1_pct", "per_class_pct", "per_pair_pct")),
    Metric("top5_pct", "top5_pct", head="Top-5"),
    Metric("ceiling_pct", "ceiling_pct", head="Blind to\norder"),
    Metric("test_loss", "test_loss", "count"),
    Metric("params", "params", "count", "Params"),
    Metric("macs", "macs", "count", "MACs"),
    Metric("training_memory_bytes", "peak_memory_bytes.training", "bytes", "Training", "Peak memory"),
    Metric("inference_memory_bytes", "peak_memory_bytes.inference", "bytes", "Inference", "Peak memory"),
    Metric("latency_ms", "latency_ms.median", "ms", "Latency"),
    Metric("latency_iqr_ms", "latency_ms.iqr", "ms"),
    Metric("clips_per_second", "clips_per_second", "rate", "Throughput"),
    Metric("train_step_ms", "train_step_ms.median", "ms"),
    Metric("train_seconds", "train_seconds", "seconds", "Training\ntime"),
)
METRICS: dict[str, Metric] = {one.name: one for one in _OURS}


def metric(name: str, head: str, kind: Kind = "percent") -> Callable[[OfAnswers], OfAnswers]:
    """Makes a function of a run's answers a metric: `balanced_pct` of a plugin is then a figure like any other.

    Args:
        name: of letters, digits and _; it ends with its unit, such as _pct.
        head: of its column on a page.

    Raises:
        InputError: the name is none, or taken.

    >>> @metric("mean_answer", "Mean answer", "count")
    ... def mean_answer(answers, labels):
    ...     return answers.mean()
    >>> METRICS.pop("mean_answer").head
    'Mean answer'
    """
    if not name.isidentifier():
        raise InputError(f"a metric's name has letters, digits and _, got {name!r}")
    if name in METRICS and METRICS[name].of is None:
        raise InputError(f"the metric '{name}' is there already, as one of the package's own: take another name")

    def entered(of: OfAnswers) -> OfAnswers:
        if name in METRICS:
            refuse_shared("metric", name, *(str(one.__module__) for one in (METRICS[name].of, of)))
        METRICS[name] = Metric(name, name, kind, head, of=of)
        return of

    return entered


def measures() -> dict[str, Metric]:
    """What grid files may ask for: dotted name in a row → the metric."""
    return {one.key: one for one in METRICS.values()}


def of_answers(answers: Callable[[], tuple[np.ndarray, np.ndarray] | None]) -> dict[str, Any]:
    """Every metric of answers, by its key; nothing where none is kept or wanted.

    Args:
        answers: gives a run's answers and what is right; called only if a metric asks.
    """
    wanted = [one for one in METRICS.values() if one.of is not None]
    kept = answers() if wanted else None
    if kept is None:
        return {}
    found = {}
    for one in wanted:
        assert one.of is not None
        try:
            found[one.key] = float(one.of(*(part.copy() for part in kept)))  # others read these answers, too
        except Exception as error:
            raise InputError(f"the metric '{one.name}' fails on a run's answers: {told(error)}") from error
    return {key: value for key, value in found.items() if math.isfinite(value)}


# ---------------------------------------------------------------------- units

_LADDERS: dict[str, list[tuple[float, str]]] = {
    "count": [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")],
    "bytes": [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")],
    "seconds": [(3600, "h"), (60, "min"), (1, "s")],
    "ms": [(1, "ms")],
    "percent": [(1, "%")],
    "rate": [(1, "clips/s")],
}


@dataclass(frozen=True)
class Unit:
    """What to divide by, what to call it, and how many decimals show three digits of the least."""

    divisor: float
    name: str
    decimals: int

    def number(self, value: float | None) -> str:
        """The value in this unit, without the unit's name; "–" if there is none."""
        return "–" if value is None else f"{value / self.divisor:,.{self.decimals}f}"

    def text(self, value: float | None) -> str:
        """The value with the unit's name.

        >>> unit_for("bytes", [128 * 2**20]).text(128 * 2**20)
        '128 MiB'
        """
        return "–" if value is None else f"{self.number(value)} {self.name}".rstrip()


def unit_for(kind: Kind, values: Iterable[float | None]) -> Unit:
    """The largest unit in which the median value is at least 1, for a whole column at once."""
    known = sorted(abs(v) for v in values if v is not None and math.isfinite(v) and v != 0)
    if not known:
        return Unit(_LADDERS[kind][-1][0], _LADDERS[kind][-1][1], 0)
    middle = known[len(known) // 2]
    divisor, name = next((step for step in _LADDERS[kind] if middle >= step[0]), _LADDERS[kind][-1])
    if kind == "percent":
        return Unit(divisor, name, 1)
    decimals = 2 - math.floor(math.log10(known[0] / divisor))
    return Unit(divisor, name, 0 if divisor == 1 and kind in ("count", "bytes") else min(max(decimals, 0), 2))
