"""Rows of a matrix in another order: the one kernel that a patch shift costs.

`index_select` is the reference, and what runs nearly everywhere, on a CPU in shorter rows. Its kernel on CUDA
takes its time by the row, however narrow: on an H100 a shift of 2×16×56×56 tokens of 96 channels took 2.3 times a
plain copy in float32 and 4.2 times in bfloat16. A Triton kernel that moves 16 bytes a load took 1.05 and 1.08
times, but starting it costs 50 µs of Python more. So it runs where rows are narrow and many (`_suits_triton`).
Both were held equal bit for bit on that GPU; TPS_LAB_GATHER=plain or =triton asks for one of them.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from tps_lab.errors import unknown

WAYS = ("auto", "plain", "triton")
_LONGEST_COPY = 2048  # bytes; see `_in_shorter_rows`
_NARROW, _MANY = 512, 2**17  # bytes of a row, rows


def gather_rows(x_RC: Tensor, rows: Tensor) -> Tensor:
    """x[rows]: (R, C) → (…, C), a new tensor; the rows' numbers may stand in any shape.

    An embedding is an `index_select` that takes them so, and a view saved is a tenth of a small gather.

    Raises:
        InputError: TPS_LAB_GATHER names no way that there is.
    """
    if x_RC.is_cuda and ((chosen := way()) == "triton" or (chosen == "auto" and _suits_triton(x_RC, rows))):
        from tps_lab.attention._gather_triton import copy_rows

        return copy_rows(x_RC, rows.view(-1)).view(*rows.shape, -1)
    if x_RC.is_cpu and x_RC.shape[1] * x_RC.element_size() > _LONGEST_COPY:
        return _in_shorter_rows(x_RC, rows)
    return torch.embedding(x_RC, rows)


def _suits_triton(x_RC: Tensor, rows: Tensor) -> bool:
    """Whether its kernel saves more time than its start costs. A compiler shall see a plain gather, which it folds."""
    return (
        rows.numel() >= _MANY
        and x_RC.shape[1] * x_RC.element_size() <= _NARROW
        and type(x_RC) is Tensor  # no stand-in without memory
        and not torch.compiler.is_compiling()
        and _has_triton()
    )


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _in_shorter_rows(x_RC: Tensor, rows: Tensor) -> Tensor:
    """The same, a long row in equal parts.

    index_select copies row by row with memcpy, and from 2 KiB on the C library leaves that to the
    processor's own string copy, which is slow where the target's pages are fresh: for 37 MiB of
    tokens of 3 KiB it took 1.3 times a plain copy, in halves 1.1 times.
    """
    channels = x_RC.shape[1]
    longest = _LONGEST_COPY // x_RC.element_size()
    parts = next((n for n in range(2, 9) if channels % n == 0 and channels // n <= longest), 1)
    if parts == 1 or not x_RC.is_contiguous() or torch.compiler.is_compiling():
        return torch.embedding(x_RC, rows)
    of_parts = rows[..., None] * parts + torch.arange(parts, device=rows.device)
    return torch.embedding(x_RC.view(-1, channels // parts), of_parts).view(*rows.shape, channels)


def way() -> str:
    """What TPS_LAB_GATHER says; "auto" if it says nothing."""
    chosen = os.environ.get("TPS_LAB_GATHER", "auto")
    if chosen not in WAYS:
        raise unknown("TPS_LAB_GATHER", chosen, WAYS)
    return chosen
