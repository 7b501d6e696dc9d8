"""Which storages are alive during a training step, by what they are for, and the order in which they came and went."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from tps_lab.measure.caching_allocator import round_up
from tps_lab.measure.cuda_kernels import Gpu, Sum, as_sum
from tps_lab.measure.memory import LiveBytes

Part = Literal["parameters", "gradients", "optimizer", "activations", "temporary", "overhead"]
PARTS: tuple[str, ...] = get_args(Part)


class LiveParts(LiveBytes):
    """Live bytes by part, the parts at the peak, and every allocation in order.

    Attributes:
        part: what new storages are counted as.
        now, at_peak, most: bytes per part: alive now, alive when all together were the most, and the
            most that each one ever was.
        events: (storage's number, its bytes) when one comes, (its number, None) when it goes.
        sums: number → the sum that passes results through a buffer with that number, maybe of 0 bytes.
        course: `now`, in the order of `PARTS`, after each of the events.

    Args:
        rounding: sizes are rounded up to it in the sums, not in the events.
        gpu: whose kernels take buffers for themselves; None is a CPU.
    """

    def __init__(self, rounding: int, gpu: Gpu | None = None) -> None:
        super().__init__()
        self.rounding, self.gpu = rounding, gpu
        self.part: Part = "parameters"
        self.now: dict[str, int] = dict.fromkeys(PARTS, 0)
        self.at_peak, self.most = dict(self.now), dict(self.now)
        self.events: list[tuple[int, int | None]] = []
        self.sums: dict[int, Sum] = {}
        self.course: list[tuple[int, ...]] = []
        self._about: dict[int, tuple[Part, int]] = {}  # storage → part, number
        self._storages = 0

    def move(self, tensor: Tensor, part: Part) -> None:
        """A tensor turns out to be of another part."""
        key = tensor.untyped_storage()._cdata
        if key in self._about:
            before, number = self._about[key]
            self._about[key] = part, number
            self.now[before] -= self._known[key]
            self._add(part, self._known[key])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if self.gpu is not None and (found := as_sum(func, args, out)):
            before, self.part = self.part, "temporary"
            self.sums[self._storages + 1] = found
            self._came(0, found.buffer(self.gpu))
            self._went(0)
            self.part = before
        return out

    def _came(self, key: int, size: int) -> None:
        rounded, highest = round_up(size, self.rounding), self.peak
        self._storages += 1
        self._about[key] = self.part, self._storages
        self._add(self.part, rounded)
        super()._came(key, rounded)
        if self.peak > highest:
            self.at_peak = dict(self.now)
        if size or self._storages in self.sums:
            self._note(self._storages, size)

    def _went(self, key: int) -> None:
        size, (part, number) = self._known[key], self._about.pop(key)
        super()._went(key)
        self.now[part] -= size
        if size or number in self.sums:
            self._note(number, None)

    def _add(self, part: Part, size: int) -> None:
        self.now[part] += size
        self.most[part] = max(self.most[part], self.now[part])

    def _note(self, number: int, size: int | None) -> None:
        self.events.append((number, size))
        self.course.append(tuple(self.now.values()))
