"""The largest batch whose peak of memory fits into a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache


def largest_batches(peak: Callable[[int], int], sizes: Mapping[int, int], near: tuple[int, int]) -> dict[int, int]:
    """Per size the largest batch whose peak is not above it; 0 where not even one clip fits.

    A peak grows with the batch, along a line or nearly so: the optimizer's step can be the peak for few
    clips and backward for many, and memory comes in blocks. So the line through two known batches says
    where to look, and the batches there are tried.

    Args:
        peak: bytes at a batch.
        sizes: key → bytes.
        near: two batches to begin with.
    """
    known = cache(peak)
    low, high = near
    per_clip = (known(high) - known(low)) / (high - low)

    def guess(size: int) -> int:
        return max(0, int((size - known(low)) / per_clip + low)) if per_clip > 0 else 0

    return {key: _largest(known, size, guess(size)) for key, size in sizes.items()}


def _largest(peak: Callable[[int], int], size: int, guess: int) -> int:
    """The largest batch that fits: looked for around a guess, twice as far each time, then by halves."""
    step, fits, not_fits = 1, 0, guess + 1
    while peak(not_fits) <= size:
        fits, not_fits, step = not_fits, not_fits + step, 2 * step
    step = 1
    while not fits and not_fits > 1:
        below = max(1, not_fits - step)
        if peak(below) <= size:
            fits = below
        else:
            not_fits, step = below, 2 * step
    while not_fits - fits > 1:
        middle = (fits + not_fits) // 2
        fits, not_fits = (middle, not_fits) if peak(middle) <= size else (fits, middle)
    return fits
