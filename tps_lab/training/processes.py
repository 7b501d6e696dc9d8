"""One process or several that train together: who speaks, who decides, and how figures are put together.

Devices, precision and gradients of several processes are Accelerate's. With one process everything
here hands back what it was given.
"""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError
from tps_lab.lazy import torch

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
        from tps_lab.measure.accuracy import predict

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
