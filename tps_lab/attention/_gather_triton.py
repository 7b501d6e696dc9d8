"""`_gather.gather_rows` as a Triton kernel. Imported only where it is asked for."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _MOST_COLUMNS = 4, 512  # of a program: some 2,000 elements in flight


@triton.jit  # type: ignore[untyped-decorator]
def _copy_rows(source, rows, target, count, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < count
    origin = tl.load(rows + row, mask=inside, other=0).to(tl.int64)
    for start in range(0, channels, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        mask = inside[:, None] & (column < channels)[None, :]
        values = tl.load(source + origin[:, None] * channels + column[None, :], mask=mask)
        tl.store(target + row.to(tl.int64)[:, None] * channels + column[None, :], values, mask=mask)


def copy_rows(x_RC: Tensor, rows_K: Tensor) -> Tensor:
    """x[rows]: (R, C) → (K, C)."""
    x, (count,), channels = x_RC.contiguous(), rows_K.shape, x_RC.shape[1]
    out = torch.empty(count, channels, dtype=x.dtype, device=x.device)
    kernel: Any = _copy_rows
    columns = min(_MOST_COLUMNS, triton.next_power_of_2(channels))
    kernel[(triton.cdiv(count, _ROWS),)](x, rows_K, out, count, channels, ROWS=_ROWS, COLUMNS=columns)
    return out
