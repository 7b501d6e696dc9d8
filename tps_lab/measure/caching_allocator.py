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
"""

from __future__ import annotations

from bisect import bisect_left, insort

MIB = 2**20
WORKSPACE_ON_HOPPER = 32 * MIB  # bytes of cuBLAS's, see `replay.matmul_workspace`
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
