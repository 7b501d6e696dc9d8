"""Which is slower, the model or what reads its clips? And how many reading processes would do?

The model's speed is that of training steps on clips made of random numbers, with the recipe's precision;
the reader's is that of the same feed that training uses, with nobody computing. A reader keeps up where
it brings 90 % of what the model takes.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from tps_lab import measure
from tps_lab.children import cores
from tps_lab.errors import InputError
from tps_lab.measure.step import prepared
from tps_lab.measure.timing import wall_ms
from tps_lab.training.config import RunConfig
from tps_lab.training.feed import ClipOrder, Feed
from tps_lab.training.forecast import step_of
from tps_lab.training.model import to_train

ENOUGH = 0.9


@dataclass(frozen=True)
class Throughput:
    """Clips per second.

    Args:
        model: training on random numbers.
        model_how: on what, or that it was given.
        reading: processes that read → clips per second; 0 is the training process itself.
        core_seconds: of a processor's time that a clip takes to read, whatever else the machine does.
    """

    model: float
    model_how: str
    reading: dict[int, float]
    core_seconds: float

    @property
    def best(self) -> int:
        """The number of processes that read fastest."""
        return max(self.reading, key=lambda n: self.reading[n])

    @property
    def share(self) -> float:
        """Of the model's speed that reading reaches."""
        return self.reading[self.best] / self.model

    @property
    def needed(self) -> int:
        """Reading processes, each on a core of its own, that would bring 90 %."""
        return max(1, math.ceil(ENOUGH * self.model * self.core_seconds))

    @property
    def limit(self) -> str:
        return "the model" if self.share >= 1 else "the reader"

    def plain(self) -> dict[str, Any]:
        return {
            "model_clips_per_second": round(self.model, 4),
            "model_how": self.model_how,
            "reading_clips_per_second": {str(n): round(speed, 4) for n, speed in self.reading.items()},
            "core_seconds_per_clip": round(self.core_seconds, 5),
            "share_of_model": round(self.share, 4),
            "enough": self.share >= ENOUGH,
            "limit": self.limit,
            "workers_needed": self.needed,
            "cores": cores(),
        }

    def text(self) -> str:
        """For the terminal."""
        lines = [f"model      {self.model:10.3f} clips/s ({self.model_how})"]
        for n, speed in self.reading.items():
            who = f"{n} process{'es' if n > 1 else ''}" if n else "the training process itself"
            lines.append(f"reading    {speed:10.3f} clips/s by {who}")
        lines.append(f"           {self.core_seconds:10.3f} s of a core's time a clip")
        lines.append(f"limit      {self.limit}: reading reaches {100 * self.share:.0f} % of the model's speed")
        if self.share >= ENOUGH:
            lines.append(
                f"enough     {self.needed} of this machine's {cores()} cores would do for {100 * ENOUGH:.0f} %"
            )
        else:
            lines.append(
                f"short by   {100 * (ENOUGH - self.share):.0f} % of the model's speed; {self.needed} processes on "
                f"cores of their own would do, this machine has {cores()}"
            )
        return "\n".join(lines)


def throughput(
    config: RunConfig,
    clips: Any,
    seconds: float = 10.0,
    workers: tuple[int, ...] = (),
    model_speed: float = 0.0,
) -> Throughput:
    """Measure both sides, one after the other.

    Args:
        seconds: about how long each measurement takes.
        workers: numbers of reading processes to try; by default 1 and all cores.
        model_speed: clips per second of the model where it will be trained, if that is not here; 0 measures it.

    Raises:
        InputError: numbers that make no sense.
    """
    if seconds <= 0 or model_speed < 0 or min(workers, default=0) < 0:
        raise InputError("seconds must be more than 0, the model's speed 0 or more, and processes 0 or more")
    if model_speed:
        model, how = model_speed, "as given"
    else:
        model, how = _model(config, clips, seconds)
    tried = workers or tuple(sorted({1, cores()}))
    core_seconds = _core_seconds(config, clips, seconds)
    return Throughput(model, how, {n: _reading(config, clips, n, seconds) for n in tried}, core_seconds)


def _core_seconds(config: RunConfig, clips: Any, seconds: float) -> float:
    """Processor time per clip, read in this process."""
    feed = iter(Feed(clips, ClipOrder(clips.size("train"), 1, config.seed), torch.device("cpu")))
    next(feed)
    started, before, taken = time.perf_counter(), time.process_time(), 0
    while taken < 2 or (time.perf_counter() - started < seconds and taken < 1000):
        next(feed)
        taken += 1
    return (time.process_time() - before) / taken


def _model(config: RunConfig, clips: Any, seconds: float) -> tuple[float, str]:
    recipe, device = config.recipe, measure.best_device()
    part = max(1, recipe.batch // recipe.compute.accumulate)
    if device.type == "cpu":  # a whole batch of a large model would take minutes; per clip it is no faster
        part = min(part, 1 if math.prod(clips.clip_shape) > 1_000_000 else part)
    step = step_of(config, part)
    if device.type == "cpu" and step.precision == "fp16":
        step = replace(step, precision="fp32")
    model = to_train(config.model_copy(update={"weights": ""}), clips).to(device)
    train, _ = prepared(model, step, clips.clip_shape)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - started < seconds and len(times) < 200):
        times.append(wall_ms(train, device))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return 1e3 * part / median(times[1:]), f"training on random clips, {part} at a time, {where}"


def _reading(config: RunConfig, clips: Any, workers: int, seconds: float) -> float:
    """Clips per second of the feed after its first batch; batches small enough that several come in time."""
    batch = min(config.recipe.batch, 4)
    order = ClipOrder(clips.size("train"), batch, config.seed)
    feed = iter(Feed(clips, order, torch.device("cpu"), workers=workers))
    for _ in range(max(1, 3 * workers)):  # what the processes have read ahead while they started
        next(feed)
    started, taken = time.perf_counter(), 0
    for _ in itertools.count():
        taken += len(next(feed)[1])
        if time.perf_counter() - started > seconds:
            break
    return taken / (time.perf_counter() - started)
