"""`_gather.gather_rows` as a Triton kernel. Imported only where it runs."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

PIECES = 512  # of a program; one is what a thread moves at once
_WIDEST = 16  # bytes, of one load


@triton.jit  # type: ignore[untyped-decorator]
def kernel(source, rows, target, count, IN_A_ROW: tl.constexpr, WIDTH: tl.constexpr, PIECES: tl.constexpr):  # type: ignore[no-untyped-def]
    # The target's elements in their order, in pieces of WIDTH neighbours, whatever rows they are of: no lane is idle
    # where the channels are no power of two. Each piece looks its row up once.
    piece = tl.program_id(0) * PIECES + tl.arange(0, PIECES)
    inside = piece < count
    origin = tl.load(rows + piece // IN_A_ROW, mask=inside, other=0).to(tl.int64) * IN_A_ROW + piece % IN_A_ROW
    element = tl.arange(0, WIDTH)[None, :]
    values = tl.load(source + origin[:, None] * WIDTH + element, mask=inside[:, None])
    tl.store(target + piece.to(tl.int64)[:, None] * WIDTH + element, values, mask=inside[:, None])


def width(channels: int, bytes_each: int) -> int:
    """Elements that are moved at once: 16 bytes, or less where a row does not divide into such pieces."""
    return math.gcd(channels, max(1, _WIDEST // bytes_each))


def copy_rows(x_RC: Tensor, rows_K: Tensor) -> Tensor:
    """x[rows]: (R, C) → (K, C)."""
    x, (rows,), channels = x_RC.contiguous(), rows_K.shape, x_RC.shape[1]
    at_once = width(channels, x.element_size())
    pieces, launch = rows * channels // at_once, kernel
    if not 0 < pieces < 2**31 - PIECES:  # the kernel numbers them in 32 bits
        return x.index_select(0, rows_K)
    out = torch.empty(rows, channels, dtype=x.dtype, device=x.device)
    start: Any = launch[(triton.cdiv(pieces, PIECES),)]  # type: ignore[index]
    start(x, rows_K, out, pieces, channels // at_once, at_once, PIECES)
    return out
