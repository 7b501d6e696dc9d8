"""The order in which clips are trained on, and who reads them.

Every clip comes once before any comes again. The order is a function of the seed; how many
processes read clips, and how far they read ahead, changes neither it nor a checkpoint.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tps_lab.children import cores
from tps_lab.data import batch_of
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from tps_lab.data import Clips

Batch = tuple["Tensor", "Tensor"]


class ClipOrder:
    """Indices of clips, a batch at a time, for ever; can be put back to where it was.

    Args:
        clips: how many there are.
        batch: indices at a time.
        seed: of the order.
    """

    def __init__(self, clips: int, batch: int, seed: int) -> None:
        self.clips, self.batch = clips, batch
        self.generator = torch.Generator().manual_seed(seed)
        self.waiting = torch.empty(0, dtype=torch.long)
        self.epoch = 0

    def next(self) -> Tensor:
        """(batch,) int64: epoch · clips + clip, epochs counted from 0."""
        while len(self.waiting) < self.batch:  # every clip once before any comes again
            fresh = torch.randperm(self.clips, generator=self.generator) + self.epoch * self.clips
            self.waiting = torch.cat([self.waiting, fresh])
            self.epoch += 1
        index, self.waiting = self.waiting[: self.batch], self.waiting[self.batch :]
        return index

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state(), "waiting": self.waiting.clone(), "epoch": self.epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
        self.waiting, self.epoch = state["waiting"], state["epoch"]


class Feed:
    """Batches of training clips on a device: read here, or by processes ahead of time.

    Args:
        part, parts: which share of every batch this process takes, and of how many.
        workers: processes that read; 0 reads here.
    """

    def __init__(
        self, clips: Clips, order: ClipOrder, device: torch.device, part: int = 0, parts: int = 1, workers: int = 0
    ) -> None:
        self.clips, self.order, self.device = clips, order, device
        self.part, self.parts, self.workers = part, parts, workers
        self._ahead: deque[dict[str, Any]] = deque()  # the order's states after batches not handed out yet
        self._last: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """Batches (x, y), for ever."""
        reader = _Reader(self.clips, self.device)
        if not self.workers:
            for item in self._items():
                yield reader[item][:2]
        for x, y, broken in self._loader():
            self._last = self._ahead.popleft()
            if broken:
                self.clips.broken |= broken  # type: ignore[attr-defined]
            yield x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)

    def state(self) -> dict[str, Any]:
        """The order as after the last batch that was handed out, however far has been read ahead."""
        return self.order.state() if self._last is None else self._last

    def _items(self) -> Iterator[tuple[int, Tensor]]:
        """Epoch and clips of every batch; one that reaches into the next epoch counts to that of its first clip."""
        while True:
            index = self.order.next()
            if self.workers:
                self._ahead.append(self.order.state())
            yield int(index[0]) // self.order.clips, (index % self.order.clips)[self.part :: self.parts]

    def _loader(self) -> Any:
        from torch.utils.data import DataLoader

        return DataLoader(
            _Reader(self.clips, torch.device("cpu")),  # type: ignore[arg-type]
            batch_size=None,
            sampler=self._items(),
            num_workers=self.workers,
            worker_init_fn=_alone,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its seed for the workers must not come out of the training's random numbers
        )


class _Reader:
    """Reads a batch of an epoch, here or in another process."""

    def __init__(self, clips: Clips, device: torch.device) -> None:
        self.clips, self.device = clips, device
        self.known: set[str] = set()

    def __getitem__(self, item: tuple[int, Tensor]) -> tuple[Tensor, Tensor, dict[str, str]]:
        """Clips, labels, and files that turned out broken since the last time."""
        epoch, index = item
        self.clips.set_epoch(epoch)
        x, y = batch_of(self.clips, "train", index, self.device)
        broken = {name: why for name, why in dict(getattr(self.clips, "broken", {})).items() if name not in self.known}
        self.known |= broken.keys()
        return x, y, broken


def _alone(worker: int) -> None:
    """A reading process leaves Ctrl-C and a closed terminal to the one that trains, and reads one clip at a time: there
    are others.
    """
    from torch.utils.data import get_worker_info

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    about: Any = get_worker_info()
    if hasattr(about.dataset.clips, "workers"):
        about.dataset.clips.workers = 1


def how_many_workers(wanted: int | None, clips: Any, processes: int = 1) -> int:
    """Processes that read clips: none for clips that are drawn or kept in memory, else the cores of this share."""
    if wanted is not None:
        return wanted
    return max(1, cores() // processes - 1) if hasattr(clips, "workers") else 0
