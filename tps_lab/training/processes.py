"""What of a training is Accelerate's: one process or several that train together, and trackers that are told as well.

Devices, precision and gradients of several processes are Accelerate's. With one process everything
here hands back what it was given.

Metrics also go to TensorBoard, MLflow, W&B, Trackio and others. A tracker that cannot start is an error before anything
is trained. One that fails on the way (its server is gone, its disk is full) is said once and left out: figures are in
the run's folder anyway, and days of training are worth more.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError, one_line, unknown
from tps_lab.lazy import torch
from tps_lab.measure.accuracy import predict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tps_lab.data import Clips, Split
    from tps_lab.training.config import Recipe


_VALUES_AT_A_TIME = 100_000_000  # of clips in evaluation: 20 of 32 frames of 224²


def accelerator_for(**options: Any) -> Any:
    """Accelerate's `Accelerator`; without a GPU, what a launcher started as several processes is several (gloo)."""
    from accelerate import Accelerator

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not several:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state()  # of an earlier run in this process, perhaps of another precision
    return Accelerator(cpu=several and not torch.cuda.is_available(), **options)


class Team:
    """The processes of one training, seen from one of them."""

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.count: int = accelerator.num_processes
        self.index: int = accelerator.process_index
        self.device: torch.device = accelerator.device
        self.is_first: bool = accelerator.is_main_process

    def check(self, recipe: Recipe) -> None:
        """Refuse a batch that cannot be split evenly."""
        parts = self.count * recipe.compute.accumulate
        if self.count > 1 and recipe.batch % parts:
            raise InputError(
                f"recipe.batch = {recipe.batch} clips cannot be split over {self.count} processes in "
                f"{recipe.compute.accumulate} parts each; {max(1, round(recipe.batch / parts)) * parts} can"
            )
        if recipe.compute.accumulate > recipe.batch:
            raise InputError(
                f"recipe.compute.accumulate = {recipe.compute.accumulate} parts of recipe.batch = {recipe.batch} clips"
            )

    def agree(self, flag: bool) -> bool:
        """What the first process says, in all of them."""
        if self.count == 1:
            return flag
        from accelerate.utils import broadcast_object_list

        word = [flag]
        broadcast_object_list(word)
        return word[0]

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in all of them."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def sum(self, value: Tensor) -> Tensor:
        """Added up over the processes."""
        return value if self.count == 1 else self.accelerator.reduce(value, "sum")

    def predict(self, model: nn.Module, clips: Clips, split: Split) -> tuple[Tensor, Tensor]:
        """Logits and labels of a split in its order, each process computing its share."""
        values = math.prod(clips.clip_shape)
        batch = max(1, min(256, _VALUES_AT_A_TIME // values))
        if self.count == 1:
            return predict(model, clips, split, batch)
        size = clips.size(split)
        share: Any = _Share(clips, self.index, self.count)
        shares = self.gather(predict(model, share, split, batch))
        found = []
        for parts in zip(*shares, strict=True):
            whole = torch.empty(size, *parts[0].shape[1:], dtype=parts[0].dtype)
            for index, part in enumerate(parts):
                whole[index :: self.count] = part
            found.append(whole)
        return found[0], found[1]


class _Share:
    """Every so many clips of an opened data set, as one."""

    def __init__(self, clips: Clips, index: int, count: int) -> None:
        self._clips, self._index, self._count = clips, index, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clips, name)

    def size(self, split: Split) -> int:
        return len(range(self._index, self._clips.size(split), self._count))

    def batch(self, split: Split, index: Tensor, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        return self._clips.batch(split, self._index + self._count * index, device)


@dataclasses.dataclass
class NoWriter:
    """Stands in for `results.runs.RunWriter` where another process writes the run's folder."""

    folder: Path
    metrics_bytes: int = 0

    def discard(self) -> None:
        pass

    def start(self, config: dict[str, Any]) -> None:
        pass

    def log(self, **line: Any) -> None:
        pass


# ---------------------------------------------------------------------- trackers


def check_trackers(names: tuple[str, ...]) -> None:
    """Refuse names that Accelerate has no tracker for, and those whose package is not installed."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise unknown("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name not in {str(getattr(found, "value", found)) for found in get_available_trackers()}:
            raise InputError(f"tracker '{name}' is not installed: pip install {name}")


def begin_trackers(accelerator: Any, settings: Mapping[str, Any]) -> None:
    """Start the trackers that the accelerator was made with, and tell them the run's settings.

    Raises:
        InputError: one cannot start, and why.
    """
    plain = {key: value if isinstance(value, int | float) else str(value) for key, value in settings.items()}
    try:
        accelerator.init_trackers("tps_lab", plain)
    except Exception as error:  # each service has its own
        names = ", ".join(str(getattr(name, "value", name)) for name in accelerator.log_with)
        raise InputError(f"the tracker ({names}) cannot start: {one_line(error)}") from error


def track(accelerator: Any, step: int, **figures: float) -> None:
    """Tell the trackers figures of a step. Letters, digits and _ make names that every service takes."""
    for tracker in list(accelerator.trackers):
        try:
            tracker.log(figures, step=step)
        except Exception as error:
            accelerator.trackers.remove(tracker)
            print(f"{tracker.name} failed and is left out from here on: {one_line(error)}", file=sys.stderr)


def end_trackers(accelerator: Any) -> None:
    """Finish with all trackers, whatever they say to it."""
    try:
        accelerator.end_training()
    except Exception as error:
        print(f"a tracker did not end well: {one_line(error)}", file=sys.stderr)
