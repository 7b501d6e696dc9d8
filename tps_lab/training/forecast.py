"""What a run will take on this device: multiply-adds, memory and time, before anything is trained.

One forecast serves both who ask: a grid's dry run (`ablate --dry-run`), and the look before a long training
(`train --preflight`). Multiply-adds are the closed form's. Memory is predicted without using any. Time is that of a
few real steps, reading the clips among them; where those would take too long, of a part of one, or of a matrix
product of as many multiply-adds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch

from tps_lab import children, data, measure
from tps_lab.errors import InputError
from tps_lab.measure.fake import fake, fake_mode, weightless
from tps_lab.measure.memory import PARTS
from tps_lab.measure.predicted_memory import predict, training_step
from tps_lab.measure.step import Step, configured, optimizer_for, run, synchronise
from tps_lab.measure.timing import wall_ms
from tps_lab.training.config import Recipe, RunConfig
from tps_lab.training.model import to_train

TRAINING = 3  # a training step does the multiply-adds of the forward pass and twice that backwards
FULL = 0.95  # of a device's memory; more is not counted on
_TRIED_MACS = 1e11  # of a training step; on a CPU no larger one is tried as a whole
_START_SECONDS = 2.0  # of a run, besides its steps and evaluations


@dataclass(frozen=True)
class Forecast:
    """What a run takes.

    Args:
        macs: multiply-adds of the forward pass of a clip.
        training_macs: of the whole training.
        part: clips that go through the model at once, in each process.
        memory: peak bytes of a training step.
        memory_here: bytes that the device has for it.
        weight_bytes: of the model, as it is kept.
        seconds: of the whole run.
        step_seconds, reading_seconds: of a step, and what of it goes into reading clips (0 where none was read).
        how: where the seconds come from.
        first_loss: of a step that was tried.
        notes: what is missing.
    """

    macs: int
    training_macs: int
    part: int
    memory: int
    memory_here: int
    weight_bytes: int
    seconds: float
    step_seconds: float
    reading_seconds: float
    how: str
    first_loss: float | None = None
    notes: str = ""

    @property
    def fits(self) -> bool:
        """Whether this device holds it."""
        return self.memory < FULL * self.memory_here


def forecast(
    config: RunConfig,
    clips: Any = None,
    jobs: int = 1,
    processes: int = 1,
    earlier_seconds: float | None = None,
    tries: Literal["nothing", "small", "all"] = "small",
) -> Forecast:
    """What one run takes.

    Args:
        clips: the opened data, if it is at hand.
        jobs: runs at a time that share this machine's memory, or that of its GPUs.
        processes: that train this run together.
        earlier_seconds: how long such a run trained here before; then nothing is tried.
        tries: what may be tried, if it fits: a step that takes this device seconds at most, or of any other one clip.

    Raises:
        InputError: the model cannot be built.
    """
    notes = ""
    if clips is None:
        try:
            clips = data.opened(config.data)
        except InputError as error:  # it is not on this machine; the shape of its clips is in its options
            clips, notes = _AbsentClips(config.data), f"no data: {error}"
    if clips.size("train"):
        config = config.resolved(clips.size("train"))
    recipe, device = config.recipe, measure.best_device()
    part = _part(config, processes)
    memory = _peak_memory(config, clips, part)
    gpus = max(1, torch.cuda.device_count())
    memory_here = device_bytes() // math.ceil(jobs / gpus)
    model: Any = to_train(config, clips)
    weight_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
    macs = macs_of(model)
    passes = passes_of(recipe)
    step_macs = passes * macs * recipe.batch
    large = step_macs > _TRIED_MACS and device.type == "cpu"
    tried = _Tried(0.0, 0.0)
    if earlier_seconds is not None:
        how = "earlier runs"
    elif notes or tries == "nothing" or (large and tries == "small") or memory >= FULL * memory_here:
        tried, how = _Tried(0.0, passes * macs / _macs_per_second()), "from multiply-adds"
    elif large:
        tried, how = _try(config, clips, model, 1, turns=2), "steps of one clip, timed"
    else:
        tried, how = _try(config, clips, model, part, turns=4), "timed steps"
    clips_each = part * recipe.compute.accumulate  # in a step, by each process
    step_seconds = (tried.reading + tried.computing) * clips_each
    validations = -(-recipe.steps // recipe.validate_every) + 1
    evaluated = validations * clips.size("val") + clips.size("test")
    evaluating = evaluated * (tried.reading + tried.computing / passes)
    return Forecast(
        macs,
        step_macs * recipe.steps,
        part,
        memory,
        memory_here,
        weight_bytes,
        _START_SECONDS + (recipe.steps * step_seconds + evaluating if earlier_seconds is None else earlier_seconds),
        step_seconds,
        tried.reading * clips_each,
        how,
        tried.loss,
        notes,
    )


def check_memory(config: RunConfig, clips: Any, processes: int = 1) -> None:
    """Refuse a training step that this machine's memory cannot hold: the system would end it without a word.

    It is predicted where the clips of a step alone take a hundredth of the memory; a GPU refuses by itself.

    Raises:
        InputError: it cannot be held.
    """
    part = _part(config, processes)
    if measure.best_device().type != "cpu" or 100 * 4 * part * math.prod(clips.clip_shape) < device_bytes():
        return
    instead = "a smaller batch, or a larger recipe.compute.accumulate"
    check_held(_peak_memory(config, clips, part), part, f"recipe.batch={config.recipe.batch}", instead)


def check_held(needed: int, clips: int, asked: str, instead: str) -> None:
    """Refuse a training step of so many bytes and clips if they are not there: what was asked for, what to choose."""
    if needed > (there := device_bytes()):
        raise InputError(
            f"{asked}: a training step of {clips:,} clips takes about {needed / 2**30:,.1f} GiB, of "
            f"{there / 2**30:.1f} GiB that there are; choose {instead}"
        )


def _part(config: RunConfig, processes: int) -> int:
    """Clips that go through the model at once, in each process."""
    return math.ceil(config.recipe.batch / processes / config.recipe.compute.accumulate)


def passes_of(recipe: Recipe) -> int:
    """How many forward passes a training step is worth; next to nothing goes back where the classifier trains alone."""
    return TRAINING if recipe.rates.backbone else 1


def macs_of(model: Any) -> int:
    """Multiply-adds of the forward pass of a clip, by the closed form."""
    return sum(model.closed_form_macs().values())


def weightless_macs(config: RunConfig, clips: Any) -> int:
    """The same of a run's model, which is not given any memory."""
    return macs_of(weightless(_bare(config, clips), fake_mode()))


def _bare(config: RunConfig, clips: Any) -> Callable[[], Any]:
    """What makes a run's model, with no weights to begin with."""
    bare = config.model_copy(update={"weights": ""})
    return lambda: to_train(bare, clips)


class _AbsentClips:
    """Stands for clips that are not here."""

    def __init__(self, spec: Any) -> None:
        if not hasattr(spec, "frames") or not hasattr(spec, "size"):
            raise InputError(f"{spec} is not on this machine, and its options do not say how large a clip is")
        self.clip_shape = (3, spec.frames, spec.size, spec.size)
        self.classes = tuple(map(str, range(100)))  # how many hardly matters
        self.spec = spec

    def size(self, split: str) -> int:
        # of a collection that is taken whole, what its owners list; `val` is a small part of that
        official = {"train": "train", "test": getattr(self.spec, "evaluated", "")}.get(split, "")
        return int(getattr(self.spec, split, 0) or getattr(self.spec, "official", {}).get(official, 0))


def _peak_memory(config: RunConfig, clips: Any, part: int) -> int:
    """Bytes of a training step on this kind of device: the one place that asks for them.

    While a part of a batch is computed, the gradients of the parts before it are there, and the clips of all.
    """
    target: Any = measure.best_device().type
    faked, step, recipe = fake(_bare(config, clips)), step_of(config, part), config.recipe
    peak = predict(faked, step, target).training
    if recipe.compute.accumulate > 1:
        course = np.array(training_step(faked, step, target).course)
        gradients = course[:-3, PARTS.index("gradients")]  # the last three are the optimizer's
        total = course.sum(1)
        alone = total.max()
        total[:-3] += course[-2, PARTS.index("gradients")] - gradients
        waiting = (recipe.compute.accumulate - 1) * part
        peak += int(total.max() - alone) + waiting * 4 * math.prod(clips.clip_shape)
    if recipe.ema:
        peak += sum(tensor.nbytes for tensor in (*faked.model.parameters(), *faked.model.buffers()))
    return peak


def step_of(config: RunConfig, clips: int) -> Step:
    """The step that a run's recipe makes of so many clips."""
    return Step(clips, precision=config.recipe.precision, checkpointing=config.recipe.compute.checkpointing)


@dataclass(frozen=True)
class _Tried:
    """Seconds a clip in training, and the loss of the last step."""

    reading: float
    computing: float
    loss: float | None = None


def _try(config: RunConfig, clips: Any, model: Any, count: int, turns: int) -> _Tried:
    """Real steps of `count` clips, one after the other; the first warms up, of the others the fastest counts."""
    device, step = measure.best_device(), step_of(config, count)
    model = configured(model.to(device), step)
    optimizer = optimizer_for(model.parameters(), step)
    found = []
    for turn in range(turns):
        started = time.perf_counter()
        x, y = clips.batch("train", torch.arange(turn * count, (turn + 1) * count) % clips.size("train"), device)
        read = time.perf_counter()
        loss = run(model, x, y, step, optimizer)
        synchronise(device)
        found.append((read - started, time.perf_counter() - read))
    reading, computing = min(found[1:], key=sum)
    return _Tried(reading / count, computing / count, loss.item())


@cache
def _macs_per_second() -> float:
    """Multiply-adds a second in a matrix product on this device; a model reaches perhaps half of it."""
    device = measure.best_device()
    a = torch.randn(1024, 1024, device=device)
    best = min(wall_ms(lambda: a @ a, device) for _ in range(4))
    return 0.5 * 1024**3 / (1e-3 * best)


def device_bytes() -> int:
    """The memory of the GPU, or of the machine where there is none."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return children.memory_bytes()
