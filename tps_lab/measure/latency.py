"""How long a forward pass or a training step takes: warm-up, synchronised, median and spread.

Several candidates are timed in turn, A B B A A B …, so that a machine that slows down slows down for
all of them, and none always comes after the same other. Warm-up goes on until all are steady
(`steady.is_steady`). On CUDA the GPU's own clock counts, between two events; elsewhere the wall's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from tps_lab.errors import InputError, unknown
from tps_lab.measure.conditions import conditions, moment
from tps_lab.measure.memory import is_out_of_memory
from tps_lab.measure.paired import Ratio, paired_ratio
from tps_lab.measure.steady import is_steady
from tps_lab.measure.steps import How, event_ms, prepared, wall_ms

_FEWEST = 5  # rounds that count, whatever the time
_LONGEST_WARM_UP = 60  # rounds


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
    clip_shape: Iterable[int] | None = None,
    how: How | None = None,
    repeats: int = 40,
    seconds: float = 60.0,
    baseline: str | None = None,
) -> Compared:
    """Several models timed in turn, with how many times as long as the baseline each takes.

    Args:
        models: name → model, all on one device.
        clip_shape: (C, T, H, W); None asks the first model.
        how: what is timed; None is inference of one clip.
        repeats: rounds at most.
        seconds: about how long it may take, without compiling.
        baseline: a name; None is the first.

    Raises:
        InputError: no such baseline, or models on several devices.

    >>> compare_latency({name: create_model("vit_micro", name) for name in ("spatial", "tps")})  # doctest: +SKIP
    """
    how = how or How()
    if not models:
        raise InputError("no model to time")
    baseline = next(iter(models)) if baseline is None else baseline
    if baseline not in models:
        raise unknown("baseline", baseline, models)
    devices = {next(model.parameters()).device for model in models.values()}
    if len(devices) > 1:
        raise InputError(f"models on {' and '.join(sorted(map(str, devices)))} cannot be timed in turn")
    (device,) = devices
    shape = tuple(clip_shape or next(iter(models.values())).clip_shape)  # type: ignore[arg-type]
    before, failures = moment(device), dict[str, str]()
    timings = _timed(models, shape, how, repeats, seconds, failures)
    base = timings.get(baseline)
    ratios = {
        name: paired_ratio(timing.calls, base.calls)
        for name, timing in timings.items()
        if base is not None and name != baseline
    }
    around = conditions() | {"before": before, "after": moment(device)}
    return Compared(timings, ratios, baseline, failures, around)


def latencies(
    models: Mapping[str, nn.Module],
    clip_shape: Iterable[int],
    batch: int = 1,
    repeats: int = 30,
    seconds: float = 30.0,
    failures: dict[str, str] | None = None,
) -> dict[str, Timing]:
    """Inference of several models in turn, on their own device; ms per batch of `batch` clips."""
    return _timed(models, tuple(clip_shape), How("inference", batch), repeats, seconds, failures)


def training_steps(
    models: Mapping[str, nn.Module],
    clip_shape: Iterable[int],
    batch: int,
    repeats: int = 20,
    seconds: float = 60.0,
    failures: dict[str, str] | None = None,
) -> dict[str, Timing]:
    """A training step (forward, cross-entropy, backward, AdamW) of copies of several models in turn."""
    return _timed(models, tuple(clip_shape), How("training step", batch), repeats, seconds, failures)


def why_not(error: BaseException) -> str:
    """An out-of-memory error in one line."""
    first = str(error).split(". ")[0].splitlines()
    return f"out of memory: {first[0]}" if first else "out of memory"


def _timed(
    models: Mapping[str, nn.Module],
    shape: tuple[int, ...],
    how: How,
    repeats: int,
    seconds: float,
    failures: dict[str, str] | None,
) -> dict[str, Timing]:
    device = next(next(iter(models.values())).parameters()).device
    work, compiling = {}, {}
    for name, model in models.items():
        try:
            work[name], compiling[name] = prepared(model, shape, how)
        except RuntimeError as error:
            if failures is None or not is_out_of_memory(error):
                raise
            failures[name] = why_not(error)
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    text = f"{how}, {place}" + (f", {len(models)} models in turn" if len(models) > 1 else "")
    timings = interleaved(work, repeats, seconds=seconds, how=text, device=device, failures=failures)
    return {name: replace(timing, compile_seconds=compiling[name]) for name, timing in timings.items()}


def _timing(calls: list[float], how: str, warm_up: int, steady: bool | None) -> Timing:
    low, _, high = statistics.quantiles(calls, n=4)
    how = f"{how}, {len(calls)} calls after {warm_up}" + (" that had not become steady" if steady is False else "")
    return Timing(statistics.median(calls), high - low, tuple(calls), how, warm_up, steady)
