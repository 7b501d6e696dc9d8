"""Which storages are alive during a training step, by what they are for, and the order in which they came and went."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Literal, get_args

from torch import Tensor

from tps_lab.measure.memory import LiveBytes

Part = Literal["parameters", "gradients", "optimizer", "activations", "temporary", "overhead"]
PARTS: tuple[str, ...] = get_args(Part)


class LiveParts(LiveBytes):
    """Live bytes by part, the parts at the peak, and every allocation in order.

    Attributes:
        part: what new storages are counted as.
        now, at_peak, most: bytes per part: alive now, alive when all together were the most, and the
            most that each one ever was.
        events: (storage's number, its bytes) when one comes, (its number, 0) when it goes.
        course: `now`, in the order of `PARTS`, after each of the events.

    Args:
        rounding: sizes are rounded up to it in the sums, not in the events.
    """

    def __init__(self, rounding: int) -> None:
        super().__init__()
        self.rounding = rounding
        self.part: Part = "parameters"
        self.now: dict[str, int] = dict.fromkeys(PARTS, 0)
        self.at_peak, self.most = dict(self.now), dict(self.now)
        self.events: list[tuple[int, int]] = []
        self.course: list[tuple[int, ...]] = []
        self._records: dict[int, list[Any]] = {}  # storage → [bytes, part, number]
        self._storages = 0

    def track(self, tensors: Iterable[Any]) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in self._records:
                continue
            size = -(-storage.nbytes() // self.rounding) * self.rounding
            self._storages += 1
            self._records[key] = [size, self.part, self._storages]
            self.now[self.part] += size
            if size:
                self._note(self._storages, storage.nbytes())
            self.most[self.part] = max(self.most[self.part], self.now[self.part])
            self.live += size
            if self.live > self.peak:
                self.peak, self.at_peak = self.live, dict(self.now)
            weakref.finalize(storage, self._forget, key)

    def move(self, tensor: Tensor, part: Part) -> None:
        """A tensor turns out to be of another part."""
        record = self._records.get(tensor.untyped_storage()._cdata)
        if record is not None:
            self.now[record[1]] -= record[0]
            self.now[part] += record[0]
            self.most[part] = max(self.most[part], self.now[part])
            record[1] = part

    def _forget(self, key: int) -> None:
        size, part, number = self._records.pop(key)
        self.now[part] -= size
        self.live -= size
        if size:
            self._note(number, 0)

    def _note(self, number: int, size: int) -> None:
        self.events.append((number, size))
        self.course.append(tuple(self.now.values()))
