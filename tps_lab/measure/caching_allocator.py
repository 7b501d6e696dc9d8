"""torch's CUDA caching allocator, as far as it decides how much memory a program takes; no GPU is needed.

The peaks that `torch.cuda.max_memory_allocated` and `max_memory_reserved` report are not the sum of the
tensors. The rules, with torch's default settings (c10/cuda/CUDACachingAllocator.cpp; the sizes are in
c10/core/AllocatorConfig.h):

* A request is rounded up to 512 bytes.
* It takes the smallest free block that is large enough; of equal ones, that of the lowest address.
* Where there is none, a segment is reserved: 2 MiB for a request of at most 1 MiB, 20 MiB for one below
  10 MiB, else the request rounded up to 2 MiB. Small and large requests never share a segment.
* What is left of a block becomes a free block, if that is at least 512 bytes among the small ones, or
  more than 1 MiB among the large. Otherwise the block is handed out whole, and counts as allocated.
* A freed block joins its free neighbours; its segment stays reserved.

Not followed: several streams, several threads that allocate at once, and what is given back to the
device when its memory runs out.

A step is recorded once, on fake tensors (`predicted_memory`). Played (`play`), it runs twice: the first step makes
the optimizer's state in whatever gaps its tensors leave, the second is as all later ones, and its peaks count.
Besides the model's own tensors a process holds cuBLAS's workspaces, and blocks that are larger than what
was asked of them.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch

from tps_lab.measure.cuda_kernels import Sum, gpu_at_hand

MIB = 2**20
WORKSPACE_ON_HOPPER = 32 * MIB  # bytes of cuBLAS's, see `matmul_workspace`
_ROUNDING = 512
_LARGEST_SMALL, _SMALL_SEGMENT = MIB, 2 * MIB
_SMALLEST_OWN_SEGMENT, _LARGE_SEGMENT, _SEGMENT_ROUNDING = 10 * MIB, 20 * MIB, 2 * MIB


class CachingAllocator:
    """Allocations and frees by name, and the bytes that they come to.

    Attributes:
        allocated, reserved: bytes now.
        peak_allocated, peak_reserved: the most since the start, or since `reset_peaks`.

    >>> allocator = CachingAllocator()
    >>> allocator.allocate("weights", 1)
    >>> allocator.allocated, allocator.reserved
    (512, 2097152)
    """

    def __init__(self) -> None:
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self._blocks: dict[object, _Block] = {}
        self._free: dict[bool, list[tuple[int, int, _Block]]] = {True: [], False: []}  # of small and large segments

    def allocate(self, name: object, size: int) -> None:
        """`size` bytes for whatever `name` is; nothing happens for 0."""
        if size == 0:
            return
        if name in self._blocks:
            raise ValueError(f"{name!r} has memory already")
        size = round_up(size, _ROUNDING)
        small = size <= _LARGEST_SMALL
        block = self._best_fit(size, small) or self._segment(size, small)
        left = block.size - size
        if left >= _ROUNDING if small else left > MIB:
            rest = _Block(left, block.address + size, small, before=block, after=block.after)
            if rest.after is not None:
                rest.after.before = rest
            block.size, block.after = size, rest
            self._offer(rest)
        self._blocks[name] = block
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)

    def free(self, name: object) -> None:
        """Give back what `name` has; nothing happens if that was 0 bytes."""
        block = self._blocks.pop(name, None)
        if block is None:
            return
        self.allocated -= block.size
        if block.before is not None and block.before.is_free:
            block = self._join(block.before, block)
        if block.after is not None and block.after.is_free:
            block = self._join(block, block.after)
        self._offer(block)

    def reset_peaks(self) -> None:
        self.peak_allocated, self.peak_reserved = self.allocated, self.reserved

    def _best_fit(self, size: int, small: bool) -> _Block | None:
        free = self._free[small]
        at = bisect_left(free, (size, -1))
        if at == len(free):
            return None
        block = free.pop(at)[2]
        block.is_free = False
        return block

    def _segment(self, size: int, small: bool) -> _Block:
        if small:
            segment = _SMALL_SEGMENT
        else:
            segment = _LARGE_SEGMENT if size < _SMALLEST_OWN_SEGMENT else round_up(size, _SEGMENT_ROUNDING)
        block = _Block(segment, self.reserved, small)  # one after the other, as good a guess as any
        self.reserved += segment
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return block

    def _offer(self, block: _Block) -> None:
        block.is_free = True
        insort(self._free[block.small], (block.size, block.address, block))

    def _withdraw(self, block: _Block) -> None:
        free = self._free[block.small]
        del free[bisect_left(free, (block.size, block.address))]
        block.is_free = False

    def _join(self, first: _Block, second: _Block) -> _Block:
        for block in (first, second):
            if block.is_free:
                self._withdraw(block)
        first.size, first.after = first.size + second.size, second.after
        if first.after is not None:
            first.after.before = first
        return first


class _Block:
    """A piece of a segment, and its neighbours there."""

    __slots__ = ("address", "after", "before", "is_free", "size", "small")

    def __init__(
        self, size: int, address: int, small: bool, before: _Block | None = None, after: _Block | None = None
    ) -> None:
        self.size, self.address, self.small = size, address, small
        self.before, self.after, self.is_free = before, after, False


def round_up(number: int, step: int) -> int:
    return -(-number // step) * step


# ---------------------------------------------------------------------- a recorded step

# optimizer → (state per weight, in tensors; temporaries of its step on a GPU, in weights' sizes; on a CPU, in sizes
# of the largest weight). AdamW on a GPU takes the square root of all second moments at once ("foreach").
OPTIMIZER_TENSORS = {"adamw": (2, 1, 2), "sgd": (1, 0, 0)}

Event = tuple[int, int | None]


def in_order(events: Sequence[Event]) -> tuple[Event, ...]:
    """What is freed at one moment, by number: autocast empties its cache in the order of addresses."""
    ordered: list[Event] = []
    for is_free, group in groupby(events, lambda event: event[1] is None):
        run = list(group)
        ordered += sorted(run, key=lambda event: event[0]) if is_free else run
    return tuple(ordered)


@dataclass(frozen=True)
class Recording:
    """One step, or one forward pass if it has no optimizer.

    The sequence of allocations does not depend on the batch, and every size is affine in it, but for the buffers of
    sums (`cuda_kernels`), whose sums are kept instead. So two recorded batches give every other one: `at_batch`.

    Args:
        batch: clips.
        held: bytes of what is there before the first step: parameters, buffers, clips and labels.
        events: (number, bytes) for an allocation, (number, None) when it is freed, `in_order`; gradients stay.
        backward_at: the event with which backward begins; None if it never does.
        weights: bytes of the parameters that are trained.
        optimizer: of `OPTIMIZER_TENSORS`.
        sums: number → the sum whose buffer that allocation is.
    """

    batch: int
    held: tuple[int, ...]
    events: tuple[Event, ...]
    backward_at: int | None = None
    weights: tuple[int, ...] = ()
    optimizer: str | None = None
    sums: Mapping[int, Sum] = field(default_factory=dict)

    def at_batch(self, other: Recording, batch: int) -> Recording | None:
        """The same step with another batch, from this one's sizes and another's; None if the two differ in more.

        >>> Recording(2, (8,), ((1, 20), (1, None))).at_batch(Recording(4, (8,), ((1, 40), (1, None))), 8).events
        ((1, 80), (1, None))
        """
        alike = [number for number, _ in self.events] == [number for number, _ in other.events]
        alike = alike and len(self.held) == len(other.held) and self.sums.keys() == other.sums.keys()
        if not alike or self.batch == other.batch:
            return None
        gpu = gpu_at_hand()

        def scaled(one: int, another: int) -> int:
            return one + (another - one) * (batch - self.batch) // (other.batch - self.batch)

        sums = {number: found.between(other.sums[number], scaled) for number, found in self.sums.items()}
        buffers = {number: found.buffer(gpu) for number, found in sums.items()}
        events = tuple(
            (number, None if one is None or another is None else buffers.get(number, scaled(one, another)))
            for (number, one), (_, another) in zip(self.events, other.events, strict=True)
        )
        held = tuple(scaled(one, another) for one, another in zip(self.held, other.held, strict=True))
        return replace(self, batch=batch, held=held, events=events, sums=sums)


@dataclass(frozen=True)
class Played:
    """Bytes that torch's allocator would report: handed out, and taken from the device for it.

    Attributes:
        allocated, reserved: the most of each.
        course: both after every event; a training step ends with the optimizer's temporaries, what is left
            after these, and what is left without gradients.
    """

    allocated: int
    reserved: int
    course: tuple[tuple[int, int], ...]


def play(recording: Recording, workspace: int) -> Played:
    """Play a recording: a forward pass once, a training step twice, of which the second counts.

    Args:
        workspace: bytes of cuBLAS's, see `matmul_workspace`; forward and backward, which run in threads of
            their own, have one each.
    """
    allocator = CachingAllocator()
    course: list[tuple[int, int]] = []

    def played() -> Played:
        return Played(allocator.peak_allocated, allocator.peak_reserved, tuple(course))

    def note() -> None:
        course.append((allocator.allocated, allocator.reserved))

    for place, size in enumerate(recording.held):
        allocator.allocate(("held", place), size)
    allocator.allocate("workspace of forward", workspace)
    if recording.optimizer is None:
        _pass(allocator, recording, 0, note)
        return played()
    state, temporary, _ = OPTIMIZER_TENSORS[recording.optimizer]
    for step in (1, 2):
        allocator.reset_peaks()
        course.clear()
        left = _pass(allocator, recording, workspace if step == 1 else 0, note)
        for place, size in enumerate(recording.weights) if step == 1 else ():
            for tensor in range(state):
                allocator.allocate(("state", place, tensor), size)
        for place, size in enumerate(recording.weights):
            allocator.allocate(("temporary", place), temporary * size)
        note()
        for place in range(len(recording.weights)):
            allocator.free(("temporary", place))
        note()
        for number in left:  # gradients, set to None
            allocator.free(number)
        note()
    return played()


def _pass(
    allocator: CachingAllocator, recording: Recording, workspace_of_backward: int, note: Callable[[], None]
) -> list[int]:
    """Play the events once; the numbers that are still there afterwards."""
    left: dict[int, None] = {}
    for at, (number, size) in enumerate(recording.events):
        if at == recording.backward_at:
            allocator.allocate("workspace of backward", workspace_of_backward)
        if size is not None:
            allocator.allocate(number, size)
            left[number] = None
        else:
            allocator.free(number)
            left.pop(number, None)
        note()
    return list(left)


def matmul_workspace() -> int:
    """Bytes that cuBLAS gets from torch for every thread that multiplies matrices, and keeps.

    What CUBLAS_WORKSPACE_CONFIG says (":SIZE:COUNT" in KiB, several add up); otherwise 32 MiB since Hopper
    and 8.125 MiB before, by the GPU at hand, or as for Hopper without one (aten/src/ATen/cuda/
    CublasHandlePool.cpp, torch 2.11 to 2.14; its later development takes the bytes for each product alone,
    of which this is then an upper bound).
    """
    configured = re.findall(r":(\d+):(\d+)", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""))
    if configured:
        return sum(int(size) * int(count) for size, count in configured) * 1024
    major = torch.cuda.get_device_capability()[0] if torch.cuda.is_available() else 9
    return WORKSPACE_ON_HOPPER if major >= 9 else 2 * 4 * MIB + 8 * 16 * 1024
