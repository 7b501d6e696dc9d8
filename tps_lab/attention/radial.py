"""Radial attention: the further away a frame, the narrower the view of it.

Source: Li et al., "Radial Attention", arXiv 2506.19852, and its code, mit-han-lab/radial-attention, which we
follow: frames at a distance of 0 or 1 are seen whole, and then the band around a patch's own place, counted along
the rows of patches one after the other, halves in width each time the distance doubles. Where it would be
narrower than one patch, the same place is seen in every 2nd, 4th, … frame only. O(M log M) pairs are allowed. The
code rounds frames up to powers of two and bands to blocks of 128 tokens, which we do not. `sink`, which lets all
patches see frame 0, is from the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.relations import Place, Relation


@dataclass(frozen=True)
class Radial(Relation):
    """Each patch attends to its own frame and the two beside it, and in frames further away to a band around its
    own place, which halves in width each time the distance doubles.

    Args:
        sink: all patches see the whole of frame 0.
    """

    name = "radial"
    title = "Radial"
    rank, looks = 220, {"": Look("#c0392b", "o", "dashdot")}

    sink: bool = True

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        patches = grid.height * grid.width
        apart = np.abs((query.h - key.h) * grid.width + query.w - key.w)
        frames = np.abs(query.t - key.t)
        parts = 2 ** np.ceil(np.log2(frames + 1)).astype(int)  # 4 at a distance of 2 or 3, 8 from 4 to 7
        band = (apart * parts <= patches) & (frames % np.maximum(parts // patches, 1) == 0)
        return (frames <= 1) | band | (self.sink & (key.t == 0))
