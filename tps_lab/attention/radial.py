"""Radial attention: the further away a frame, the narrower the view of it.

Source: Li et al., "Radial Attention", arXiv 2506.19852, and its code, mit-han-lab/radial-attention. Frames at a
distance of 0 or 1 are seen whole; from then on the width, counted along the rows of patches one after the other,
halves with every doubling of the distance, and where it falls below one patch, every 2nd, 4th, … frame is
still seen at the same place. O(M log M) pairs are allowed. The code rounds to blocks of 128 tokens, which we do
not; that every frame sees frame 0 (`sink`) is in the code, not in the formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._grid import Grid
from tps_lab.attention.relations import Place, Relation


@dataclass(frozen=True)
class Radial(Relation):
    """Each patch attends to its own frame and the two beside it, and of frames further away to a band around its
    own place, half as wide with every doubling of the distance.

    Args:
        sink: frame 0 is seen whole by all.
    """

    name = "radial"
    title = "Radial"

    sink: bool = True

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        patches = grid.height * grid.width
        apart = np.abs((query.h - key.h) * grid.width + query.w - key.w)
        frames = np.abs(query.t - key.t)
        octave = 2 ** np.floor(np.log2(np.maximum(frames, 1))).astype(int)
        band = (apart + 1) * octave <= patches
        thinned = (apart == 0) & (frames % -(-octave // patches) == 0)
        return band | thinned | (self.sink & (key.t == 0))
