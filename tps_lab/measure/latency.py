"""How long a forward pass or a training step takes: warm-up, synchronised, median and spread.

Several candidates are timed in turn, A B C A B C …, so that a machine that slows down slows down
for all of them.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call: median, interquartile range, and all of them in order."""

    median: float
    iqr: float
    calls: tuple[float, ...]
    how: str

    def row(self) -> dict[str, Any]:
        return {"median": round(self.median, 4), "iqr": round(self.iqr, 4), "how": self.how}


def interleaved(
    work: Mapping[str, Callable[[], Any]], repeats: int = 20, warm_up: int = 3, seconds: float = 30.0, how: str = ""
) -> dict[str, Timing]:
    """Time every piece of work in turn, `repeats` times around.

    Args:
        work: name → what to call; its CUDA work is waited for.
        warm_up: rounds not counted.
        seconds: stop after the round in which this is used up (but never before 5 rounds).
    """
    calls: dict[str, list[float]] = {name: [] for name in work}
    started = time.perf_counter()
    for turn in range(warm_up + repeats):
        for name, call in work.items():
            _synchronise()
            before = time.perf_counter()
            call()
            _synchronise()
            if turn >= warm_up:
                calls[name].append(1e3 * (time.perf_counter() - before))
        if turn >= warm_up + 4 and time.perf_counter() - started > seconds:
            break
    return {name: _timing(values, how) for name, values in calls.items()}


def latencies(
    models: Mapping[str, nn.Module], clip_shape: Iterable[int], batch: int = 1, repeats: int = 30, seconds: float = 30.0
) -> dict[str, Timing]:
    """Inference of several models in turn, on their own device; ms per batch of `batch` clips."""
    shape = tuple(clip_shape)

    def forward(model: nn.Module) -> Callable[[], Any]:
        clips = torch.zeros(batch, *shape, device=next(model.parameters()).device)
        model.eval()

        def call() -> None:
            with torch.no_grad():
                model(clips)

        return call

    how = _how(models, f"inference, batch {batch}", len(models))
    return interleaved({name: forward(model) for name, model in models.items()}, repeats, seconds=seconds, how=how)


def training_steps(
    models: Mapping[str, nn.Module], clip_shape: Iterable[int], batch: int, repeats: int = 20, seconds: float = 60.0
) -> dict[str, Timing]:
    """A training step (forward, cross-entropy, backward, AdamW) of copies of several models in turn."""
    shape = tuple(clip_shape)

    def step(model: nn.Module) -> Callable[[], Any]:
        model = copy.deepcopy(model).train()
        device = next(model.parameters()).device
        clips = torch.randn(batch, *shape, device=device)
        labels = torch.zeros(batch, dtype=torch.long, device=device)
        optimizer = torch.optim.AdamW(model.parameters())

        def call() -> None:
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(clips), labels).backward()
            optimizer.step()

        return call

    how = _how(models, f"training step, batch {batch}", len(models))
    return interleaved({name: step(model) for name, model in models.items()}, repeats, seconds=seconds, how=how)


def _how(models: Mapping[str, nn.Module], what: str, candidates: int) -> str:
    device = next(next(iter(models.values())).parameters()).device
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    turns = f", {candidates} models in turn" if candidates > 1 else ""
    return f"{what}, {place}{turns}"


def _timing(calls: list[float], how: str) -> Timing:
    low, _, high = statistics.quantiles(calls, n=4)
    return Timing(statistics.median(calls), high - low, tuple(calls), f"{how}, {len(calls)} calls")


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
