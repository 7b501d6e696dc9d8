"""Memory that CUDA kernels take for themselves while they run, as torch's source and an H100's allocator have it.

Sums over many rows, such as the gradient of every bias, are cut into parts for as many blocks of threads as the
GPU runs at once. The parts' results go through a buffer that is larger than the matrix that is summed up: four
numbers for every thread of a block, output and part (aten/src/ATen/native/cuda/Reduce.cuh, `setReduceConfig`
and `global_memory_size`, torch 2.11). For a ViT-S it is 132 MiB at the first bias that backward meets, which is
where memory peaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

_WARP, _MOST_THREADS, _AT_ONCE = 32, 512, 4  # of a block; numbers that a thread loads at once
_FEWEST_VALUES, _MOST_VALUES = 16, 256  # per thread
_ACCUMULATED_IN = {torch.float64: 8}  # bytes; all other numbers are summed in float32
_SUMS = (torch.ops.aten.sum.dim_IntList, torch.ops.aten.mean.dim)


@dataclass(frozen=True)
class Gpu:
    """What of a GPU decides how kernels are cut.

    Args:
        multiprocessors, threads: how many there are, and the threads that one runs at once.
        generation: of its compute capability, 9 for Hopper.
    """

    multiprocessors: int = 132
    threads: int = 2048
    generation: int = 9


def gpu_at_hand() -> Gpu:
    """The first GPU; without one, an H100."""
    if not torch.cuda.is_available():
        return Gpu()
    found = torch.cuda.get_device_properties(0)
    return Gpu(found.multi_processor_count, found.max_threads_per_multi_processor, found.major)


@dataclass(frozen=True)
class Sum:
    """A sum over the axes `over` of a tensor of this shape and strides, added up in numbers of so many bytes."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    over: tuple[int, ...]
    bytes_each: int = 4

    def buffer(self, gpu: Gpu | None = None) -> int:
        """Bytes that its kernel takes besides its result, see `sum_buffer`."""
        return sum_buffer(self.shape, self.strides, self.over, self.bytes_each, gpu)

    def between(self, other: Sum, scaled: Callable[[int, int], int]) -> Sum:
        """The same sum of another batch, each length worked out from this one's and another's."""
        shape, strides = (
            tuple(map(scaled, *both)) for both in ((self.shape, other.shape), (self.strides, other.strides))
        )
        return replace(self, shape=shape, strides=strides)


def as_sum(func: Any, args: Any, out: Any) -> Sum | None:
    """The sum that a call of an operator is; None if it is another."""
    if func not in _SUMS or not isinstance(out, Tensor):
        return None
    x: Tensor = args[0]
    over = args[1] if len(args) > 1 and args[1] else range(x.ndim)
    return Sum(tuple(x.shape), x.stride(), tuple(dim % x.ndim for dim in over), _ACCUMULATED_IN.get(x.dtype, 4))


def sum_buffer(
    shape: Sequence[int], strides: Sequence[int], over: Sequence[int], bytes_each: int = 4, gpu: Gpu | None = None
) -> int:
    """Bytes of the buffer through which a sum over the axes `over` goes; 0 where a block of threads needs no other.

    >>> sum_buffer((12608, 1536), (1536, 1), [0], gpu=Gpu())  # a bias of ViT-S's MLP, 8 clips of 8 frames
    138412032
    """
    gpu = gpu or gpu_at_hand()
    reduced = _merged([(shape[dim], strides[dim]) for dim in over if shape[dim] > 1])
    kept = _merged([(n, stride) for dim, (n, stride) in enumerate(zip(shape, strides, strict=True)) if dim not in over])
    inputs, outputs = (math.prod(size for size, _ in axes) for axes in (reduced, kept))
    if inputs <= 1 or outputs < 1:
        return 0
    along_inputs = not kept or reduced[0][1] < kept[0][1]
    at_once = 1
    if along_inputs:
        wide, high = reduced[0][0], outputs
    else:
        wide, high = kept[0][0], inputs
        if kept[0][1] == 1:
            steps = [wide, *(stride for _, stride in (*kept[1:], *reduced))]
            at_once = next(n for n in (_AT_ONCE, 2, 1) if all(step % n == 0 for step in steps))
            wide //= at_once
    most = _MOST_THREADS // at_once
    width_wanted, height_wanted = min(_power_of_2(wide), most), min(_power_of_2(high), most)
    width = min(width_wanted, _WARP)
    height = min(height_wanted, most // width)
    width = min(width_wanted, most // height)
    step_in, step_out = (width, 1) if along_inputs else (1, width)
    values = -(-inputs // step_in)
    if values >= min(height * _FEWEST_VALUES, _MOST_VALUES):
        step_in *= height
        values = -(-inputs // step_in)
        across_warps = True
    else:
        step_out *= height
        across_warps = False
    blocks = -(-(outputs // at_once) // step_out)
    target = gpu.multiprocessors * (gpu.threads // (width * height))
    if not across_warps or values < _MOST_VALUES or blocks > target:
        return 0
    parts = max(min(-(-target // blocks), -(-values // _FEWEST_VALUES)), -(-values // _MOST_VALUES))
    if parts <= 1:
        return 0
    return bytes_each * outputs * parts * (1 if along_inputs else width * at_once)


def _merged(axes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Axes (size, stride), the fastest first, neighbours in memory as one."""
    found: list[tuple[int, int]] = []
    for size, stride in sorted((axis for axis in axes if axis[0] > 1), key=lambda axis: axis[1]):
        if found and found[-1][0] * found[-1][1] == stride:
            found[-1] = found[-1][0] * size, found[-1][1]
        else:
            found.append((size, stride))
    return found


def _power_of_2(number: int) -> int:
    """The largest that is not above."""
    return 1 << (number.bit_length() - 1)
