"""The receptive field of one token: `Variant.influence` for a single row, without products of matrices. NumPy only."""

from __future__ import annotations

import numpy as np

from tps_lab.attention._core import Variant
from tps_lab.attention._grid import Grid


def receptive_field(variant: Variant, grid: Grid, depth: int, token: int) -> list[np.ndarray]:
    """All tokens that can influence one token after 0, 1, … `depth` blocks: bool (M,) each, residuals counted.

    The model grows at its end: after n blocks means after the first n of `depth`.

    Args:
        token: in the order of `Grid`, 0 to M - 1.
    """
    blocks = [variant.mixers_on(grid, index, depth) for index in range(depth)]
    found = []
    for last in range(depth + 1):
        field = np.arange(grid.tokens) == token
        for seen in reversed([seen for block in blocks[:last] for seen in block]):
            field = field | seen[field].any(0)  # and whatever those read in the step before
        found.append(field)
    return found
