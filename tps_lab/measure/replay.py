"""A recorded step played through CUDA's caching allocator: the peaks that its counters would show.

A step is recorded once, on fake tensors (`live_parts`). Played, it runs twice: the first step makes the
optimizer's state in whatever gaps its tensors leave, the second is as all later ones, and its peaks count.
Besides the model's own tensors a process holds cuBLAS's workspaces, and blocks that are larger than what
was asked of them.

The sequence of allocations does not depend on the batch, and every size is affine in it, but for the buffers of
sums (`cuda_kernels`), whose sums are kept instead. So two recorded batches give every other one:
`Recording.at_batch`.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tps_lab.measure.caching_allocator import MIB, WORKSPACE_ON_HOPPER, CachingAllocator
from tps_lab.measure.cuda_kernels import Sum, gpu_at_hand

# optimizer → (state per weight, in tensors; temporaries of its step on a GPU, in weights' sizes; on a CPU, in sizes
# of the largest weight). AdamW on a GPU takes the square root of all second moments at once ("foreach").
OPTIMIZERS = {"adamw": (2, 1, 2), "sgd": (1, 0, 0)}


Event = tuple[int, int | None]


def in_order(events: Sequence[Event]) -> tuple[Event, ...]:
    """What is freed at one moment, by number: autocast empties its cache in the order of addresses."""
    ordered: list[Event] = []
    for is_free, group in itertools.groupby(events, lambda event: event[1] is None):
        run = list(group)
        ordered += sorted(run, key=lambda event: event[0]) if is_free else run
    return tuple(ordered)


@dataclass(frozen=True)
class Recording:
    """One step, or one forward pass if it has no optimizer.

    Args:
        batch: clips.
        held: bytes of what is there before the first step: parameters, buffers, clips and labels.
        events: (number, bytes) for an allocation, (number, None) when it is freed, `in_order`; gradients stay.
        backward_at: the event with which backward begins; None if it never does.
        weights: bytes of the parameters that are trained.
        optimizer: of `OPTIMIZERS`.
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
    state, temporary, _ = OPTIMIZERS[recording.optimizer]
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
    import torch

    configured = re.findall(r":(\d+):(\d+)", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""))
    if configured:
        return sum(int(size) * int(count) for size, count in configured) * 1024
    major = torch.cuda.get_device_capability()[0] if torch.cuda.is_available() else 9
    return WORKSPACE_ON_HOPPER if major >= 9 else 2 * 4 * MIB + 8 * 16 * 1024
