"""Rows of a matrix in another order: the one kernel that a patch shift costs.

`index_select` is the reference, and what runs everywhere. On CUDA there is a Triton kernel besides,
asked for with TPS_LAB_GATHER=triton: whole rows in wide loads, where index_select works out every
element's place by divisions. **It has never run on a GPU here**: Triton's interpreter and the tests
hold it equal to index_select bit for bit; whether it is faster, `make benchmark` says on a GPU.
"""

from __future__ import annotations

import os

from torch import Tensor

from tps_lab.errors import unknown

WAYS = ("plain", "triton")


def gather_rows(x_RC: Tensor, rows_K: Tensor) -> Tensor:
    """x[rows]: (R, C) → (K, C), a new tensor.

    Raises:
        InputError: TPS_LAB_GATHER names no way that there is.
    """
    if x_RC.is_cuda and way() == "triton":
        from tps_lab.attention._gather_triton import copy_rows

        return copy_rows(x_RC, rows_K)
    return x_RC.index_select(0, rows_K)


def way() -> str:
    """What TPS_LAB_GATHER says; "plain" if it says nothing."""
    chosen = os.environ.get("TPS_LAB_GATHER", "plain")
    if chosen not in WAYS:
        raise unknown("TPS_LAB_GATHER", chosen, WAYS)
    return chosen
