"""Rows of a matrix in another order: the one kernel that a patch shift costs.

`index_select` is the reference, and what runs nearly everywhere; a large one on a CPU is a sum of one row each
(`_prefetched`). Its kernel on CUDA takes its time by the row, however narrow: on an H100 a shift of 2×16×56×56 tokens
of 96 channels took 2.3 times a plain copy in float32 and 4.2 times in bfloat16. A Triton kernel that moves 16 bytes a
load took 1.05 and 1.08 times, but starting it costs 50 µs of Python more. So it runs where rows are narrow and many
(`_suits_triton`). Both were held equal bit for bit on that GPU; TPS_LAB_GATHER=plain or =triton asks for one of them.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from tps_lab.errors import unknown

WAYS = ("auto", "plain", "triton")
_FRESH = 2**25  # bytes; see `_prefetched`
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
    if x_RC.is_cpu and _suits_prefetching(x_RC, rows):
        return _prefetched(x_RC, rows)
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


def _suits_prefetching(x_RC: Tensor, rows: Tensor) -> bool:
    return (
        rows.numel() * x_RC.shape[1] * x_RC.element_size() >= _FRESH
        and x_RC.dtype == torch.float32
        and x_RC.is_contiguous()
        and type(x_RC) is Tensor  # no stand-in without memory
        and not torch.compiler.is_compiling()
        and way() != "plain"
        and "fbgemm" in torch.backends.quantized.supported_engines
    )


def _prefetched(x_RC: Tensor, rows: Tensor) -> Tensor:
    """The same as bags of one row, summed: FBGEMM's kernel for them asks for the rows ahead of time; -0 becomes 0.

    From 32 MiB on, the C library takes memory from the system anew each time. On an AMD EPYC copying row by row into
    such fresh pages took 1.3 to 1.4 times a plain copy of 37 MiB, and this 1.0 to 1.15 times; where the memory is used
    again it is no faster.
    """
    return F.embedding_bag(rows.view(-1, 1), x_RC, mode="sum").view(*rows.shape, -1)


def way() -> str:
    """What TPS_LAB_GATHER says; "auto" if it says nothing."""
    chosen = os.environ.get("TPS_LAB_GATHER", "auto")
    if chosen not in WAYS:
        raise unknown("TPS_LAB_GATHER", chosen, WAYS)
    return chosen
