"""How long a step takes: warm-up, synchronised, median and spread; and how many times as long as another.

Several candidates are timed in turn, A B B A A B …, so that a machine that slows down slows down for
all of them, and none always comes after the same other. The first calls are slow: caches are cold, kernels are
chosen or compiled, clocks go up. So warm-up goes on until all are steady (`is_steady`), as fixed numbers of calls
are too few for some and too many for others. On CUDA the GPU's own clock counts, between two events; elsewhere the
wall's.

On a machine that others use too, a minute may be twice as slow as the next. Two calls made right
after one another meet the same minute, so their ratio is looked at, round by round (`paired_ratio`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from tps_lab.errors import InputError
from tps_lab.measure.conditions import moment
from tps_lab.measure.memory import is_out_of_memory
from tps_lab.measure.step import Step, checked, device_of, prepared, synchronise
from tps_lab.results import runs

_FEWEST = 5  # rounds that count, whatever the time
_LONGEST_WARM_UP = 60  # rounds
_WINDOW = 5  # calls whose median is compared with that of as many before
_TOLERANCE = 0.05  # of the median, by which the two may differ


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call.

    Attributes:
        median, iqr: over the calls; iqr is the range of the middle half.
        calls: all of them, in order.
        how: what was timed, where, by which clock.
        warm_up: calls before those that count.
        steady: whether they had stopped changing by then; None if their number was given.
        compile_seconds: what compiling took, before all that; None if nothing was compiled.
    """

    median: float
    iqr: float
    calls: tuple[float, ...]
    how: str
    warm_up: int = 0
    steady: bool | None = None
    compile_seconds: float | None = None

    def row(self) -> dict[str, Any]:
        row = {"median": round(self.median, 4), "iqr": round(self.iqr, 4), "how": self.how}
        row |= {"warm_up": self.warm_up, "steady": self.steady}
        return row if self.compile_seconds is None else row | {"compile_seconds": round(self.compile_seconds, 2)}


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


@dataclass(frozen=True)
class Compared:
    """Timings side by side.

    Attributes:
        timings: name → its timing.
        ratios: name → how many times as long as the baseline, paired by round; the baseline has none.
        baseline: the name that all others are compared with.
        failures: name → why it has no timing (out of memory).
        conditions: versions, machine, threads; load, clocks and temperatures before and after.
    """

    timings: dict[str, Timing]
    ratios: dict[str, Ratio]
    baseline: str
    failures: dict[str, str]
    conditions: dict[str, Any]


def interleaved(
    work: Mapping[str, Callable[[], Any]],
    repeats: int = 20,
    warm_up: int | None = None,
    seconds: float = 30.0,
    how: str = "",
    device: torch.device | str | None = None,
    failures: dict[str, str] | None = None,
) -> dict[str, Timing]:
    """Time every piece of work in turn, `repeats` times around, every second time in reverse.

    Args:
        work: name → what to call; its CUDA work is waited for.
        warm_up: rounds not counted; None goes on until every piece is steady, a third of the time
            is used up, or 60 rounds are done.
        seconds: stop after the round in which this is used up (but never before 5 rounds).
        device: where the work is done; None is a GPU if there is one.
        failures: who runs out of memory drops out, with the reason noted here. With None the error
            is raised.
    """
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    timed = event_ms if on.type == "cuda" else wall_ms
    clock = "CUDA events" if on.type == "cuda" else "wall clock"
    running = dict(work)
    warming: dict[str, list[float]] = {name: [] for name in work}
    calls: dict[str, list[float]] = {name: [] for name in work}

    def round_of(kept: dict[str, list[float]], turn: int) -> None:
        for name in list(running) if turn % 2 == 0 else list(reversed(running)):
            try:
                kept[name].append(timed(running[name], on))
            except RuntimeError as error:
                if failures is None or not is_out_of_memory(error):
                    raise
                failures[name] = why_not(error)
                del running[name]

    def over(share: float) -> bool:
        return time.perf_counter() - started > share * seconds

    started, rounds, steady = time.perf_counter(), 0, None
    while running and (rounds < warm_up if warm_up is not None else not steady):
        round_of(warming, rounds)
        rounds += 1
        if warm_up is None:
            steady = all(is_steady(warming[name]) for name in running)
            if not steady and (rounds >= _LONGEST_WARM_UP or (rounds >= 3 and over(1 / 3))):
                break
    for turn in range(repeats):
        round_of(calls, turn)
        if turn >= _FEWEST - 1 and over(1):
            break
    how = ", ".join(part for part in (how, clock) if part)
    return {name: _timing(calls[name], how, rounds, steady) for name in running}


def compare_latency(
    models: Mapping[str, nn.Module],
    step: Step | None = None,
    clip_shape: Sequence[int] | None = None,
    repeats: int = 40,
    seconds: float = 60.0,
) -> Compared:
    """Several models timed in turn, with how many times as long as the first each takes.

    Args:
        models: name → model, all on one device.
        step: what is timed; None is inference of one clip.
        clip_shape: (C, T, H, W); None asks the first model.
        repeats: rounds at most.
        seconds: about how long it may take, without compiling.

    Raises:
        InputError: no model, or models on several devices.

    >>> compare_latency({name: create_model("vit_micro", name) for name in ("spatial", "tps")})  # doctest: +SKIP
    """
    models, clip_shape = checked(models, step, clip_shape)
    if repeats < 2:
        raise InputError(f"repeats must be 2 or more, got {repeats}")
    baseline = next(iter(models))
    devices = {device_of(model) for model in models.values()}
    if len(devices) > 1:
        raise InputError(f"models on {' and '.join(sorted(map(str, devices)))} cannot be timed in turn")
    (device,) = devices
    before, failures = moment(device), dict[str, str]()
    timings = timings_of(models, step or Step(training=False), clip_shape, repeats, seconds, failures)
    base = timings.get(baseline)
    ratios = {
        name: paired_ratio(timing.calls, base.calls)
        for name, timing in timings.items()
        if base is not None and name != baseline
    }
    around = runs.environment() | {"before": before, "after": moment(device)}
    return Compared(timings, ratios, baseline, failures, around)


def timings_of(
    models: Mapping[str, nn.Module],
    step: Step,
    clip_shape: Sequence[int] | None = None,
    repeats: int = 30,
    seconds: float = 30.0,
    failures: dict[str, str] | None = None,
) -> dict[str, Timing]:
    """A step of several models in turn, on their own device; ms per batch. A training step is that of a copy.

    Args:
        clip_shape: (C, T, H, W); None asks the first model.
        failures: as for `interleaved`.
    """
    first = next(iter(models.values()))
    device, shape = device_of(first), tuple(clip_shape or first.clip_shape)  # type: ignore[arg-type]
    work, compiling = {}, {}
    for name, model in models.items():
        try:
            work[name], compiling[name] = prepared(model, step, shape)
        except RuntimeError as error:
            if failures is None or not is_out_of_memory(error):
                raise
            failures[name] = why_not(error)
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    text = f"{step}, {place}" + (f", {len(models)} models in turn" if len(models) > 1 else "")
    timings = interleaved(work, repeats, seconds=seconds, how=text, device=device, failures=failures)
    return {name: replace(timing, compile_seconds=compiling[name]) for name, timing in timings.items()}


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


def is_steady(calls: Sequence[float]) -> bool:
    """Whether calls have stopped getting faster or slower.

    The median of the last five and that of the five before differ by at most 5 % of the former, or by at most
    half the interquartile range of the ten: where single calls scatter, medians of five differ by chance.

    >>> is_steady([9, 5, 3, 2, 1.5, 1.2, 1.1, 1, 1, 1])
    False
    >>> is_steady([9, 5, 3] + [1] * 10)
    True
    """
    if len(calls) < 2 * _WINDOW:
        return False
    before, last = calls[-2 * _WINDOW : -_WINDOW], calls[-_WINDOW:]
    low, _, high = statistics.quantiles([*before, *last], n=4)
    now = statistics.median(last)
    return abs(statistics.median(before) - now) <= max(_TOLERANCE * now, (high - low) / 2)


def why_not(error: BaseException) -> str:
    """An out-of-memory error in one line."""
    first = str(error).split(". ")[0].splitlines()
    return f"out of memory: {first[0]}" if first else "out of memory"


def wall_ms(call: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Milliseconds of a call by the wall's clock, its work on the device waited for before and after."""
    synchronise(device)
    before = time.perf_counter()
    call()
    synchronise(device)
    return 1e3 * (time.perf_counter() - before)


def event_ms(call: Callable[[], Any], device: torch.device | str = "cuda") -> float:
    """Milliseconds between two CUDA events around a call, on the GPU's own clock."""
    synchronise(device)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    synchronise(device)
    return start.elapsed_time(end)


def _timing(calls: list[float], how: str, warm_up: int, steady: bool | None) -> Timing:
    low, _, high = statistics.quantiles(calls, n=4)
    how = f"{how}, {len(calls)} calls after {warm_up}" + (" that had not become steady" if steady is False else "")
    return Timing(statistics.median(calls), high - low, tuple(calls), how, warm_up, steady)
