"""Sparse VideoGen (SVG): some heads look at nearby frames, the others along time.

Source: Xi et al., "Sparse VideoGen", ICML 2025, arXiv 2502.01776; mask in meta-pytorch/attention-gym. Both kinds of
heads have a band of equal area: tokens that are less than `width` frames of tokens apart, counted frame after
frame, or places that are less than `width`/T of a frame apart (in whole patches), in all T frames. The original
chooses the kind of each head anew, by sampling its attention; here the first half of the heads is spatial, the second
temporal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.relations import Allows, Place, Relation
from tps_lab.specs import Limits


@dataclass(frozen=True)
class SparseVideoGen(Relation):
    """In half of the heads each patch attends to what is less than `width` frames away, in the others to patches
    near its own place in all frames.

    Args:
        width: of the bands, in frames of patches.
    """

    name = "svg"
    title = "SVG"
    rank, looks = 230, {"": Look("#f08a5d", "v", "sparse")}

    limits: ClassVar[Limits] = {"width": (1, 10_000)}

    width: int = 2

    def kinds(self) -> tuple[Allows, ...]:
        return (self.nearby_frames, self.same_place)

    def nearby_frames(self, grid: Grid, query: Place, key: Place) -> Any:
        patches = grid.height * grid.width
        apart = (query.t - key.t) * patches + (query.h - key.h) * grid.width + query.w - key.w
        return abs(apart) < self.width * patches

    def same_place(self, grid: Grid, query: Place, key: Place) -> Any:
        apart = (query.h - key.h) * grid.width + query.w - key.w
        return abs(apart) < max(1, self.width * grid.height * grid.width // grid.frames)
