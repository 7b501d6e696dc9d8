"""Rows of a matrix in another order: the one kernel that a patch shift costs.

`index_select` is the reference, and what runs everywhere, on a CPU in shorter rows. On CUDA there
is a Triton kernel besides, asked for with TPS_LAB_GATHER=triton: 16 bytes to a load, and one division
for each of them. **It has never run on a GPU here**: in Triton's interpreter the tests hold it equal to
index_select bit for bit, and they compile it for GPUs and look at its loads; whether it is faster,
`make benchmark` says on a GPU.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from tps_lab.errors import unknown

WAYS = ("wide", "plain", "triton")
_LONGEST_COPY = 2048  # bytes; see `_in_shorter_rows`


def gather_rows(x_RC: Tensor, rows_K: Tensor) -> Tensor:
    """x[rows]: (R, C) → (K, C), a new tensor.

    Raises:
        InputError: TPS_LAB_GATHER names no way that there is.
    """
    if x_RC.is_cuda:
        return _on_cuda(x_RC, rows_K)
    if x_RC.device.type == "cpu" and x_RC.shape[1] * x_RC.element_size() > _LONGEST_COPY:
        return _in_shorter_rows(x_RC, rows_K)
    return x_RC.index_select(0, rows_K)


def _on_cuda(x_RC: Tensor, rows_K: Tensor) -> Tensor:
    chosen = way()
    if chosen == "triton":
        from tps_lab.attention._gather_triton import copy_rows

        return copy_rows(x_RC, rows_K)
    if chosen == "plain" or torch.compiler.is_compiling() or not _in_pieces_of_16_bytes(x_RC):
        return x_RC.index_select(0, rows_K)
    return x_RC.view(torch.complex128).index_select(0, rows_K).view(x_RC.dtype)


def _in_pieces_of_16_bytes(x_RC: Tensor) -> bool:
    each = x_RC.element_size()
    return x_RC.is_contiguous() and not (x_RC.shape[1] * each % 16 or x_RC.storage_offset() * each % 16)


def _in_shorter_rows(x_RC: Tensor, rows_K: Tensor) -> Tensor:
    """The same, a long row in equal parts.

    index_select copies row by row with memcpy, and from 2 KiB on the C library leaves that to the
    processor's own string copy, which is slow where the target's pages are fresh: for 37 MiB of
    tokens of 3 KiB it took 1.3 times a plain copy, in halves 1.1 times.
    """
    k, channels = rows_K.shape[0], x_RC.shape[1]
    longest = _LONGEST_COPY // x_RC.element_size()
    parts = next((n for n in range(2, 9) if channels % n == 0 and channels // n <= longest), 1)
    if parts == 1 or not x_RC.is_contiguous() or torch.compiler.is_compiling():
        return x_RC.index_select(0, rows_K)
    rows_KP = rows_K[:, None] * parts + torch.arange(parts, device=rows_K.device)
    return x_RC.view(-1, channels // parts).index_select(0, rows_KP.reshape(-1)).view(k, channels)


def way() -> str:
    """What TPS_LAB_GATHER says; "plain" if it says nothing."""
    chosen = os.environ.get("TPS_LAB_GATHER", "wide")
    if chosen not in WAYS:
        raise unknown("TPS_LAB_GATHER", chosen, WAYS)
    return chosen
