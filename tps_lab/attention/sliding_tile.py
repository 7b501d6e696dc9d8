"""Sliding tile attention (STA): a window as in NATTEN, but made of whole tiles instead of patches.

Source: Zhang et al., "Fast Video Generation with Sliding Tile Attention", arXiv 2502.04507. All patches of a tile
see the same tiles, so a mask sorted by tiles has full and empty blocks only, and a block-sparse kernel runs
exactly the pairs that are allowed, where tiles divide the clip and hold as many patches as a block. Here tiles that
an axis does not fill are smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.neighbourhood import near
from tps_lab.attention.relations import Place, Relation
from tps_lab.specs import Limits


@dataclass(frozen=True)
class SlidingTile(Relation):
    """The clip is cut into tiles of a few frames and patches; each patch attends to a window of tiles around its
    own.

    Args:
        tile_frames, tile: frames and patches along each side of a tile.
        window_frames, window: tiles of the window along time and along each side; 0 is about half, 3 at
            least.
    """

    name = "sliding-tile"
    title = "Sliding tile"
    rank, looks = 210, {"": Look("#4fb3bf", "D", "dotted")}

    limits: ClassVar[Limits] = {"tile_frames": (1, 10_000), "tile": (1, 10_000)}

    tile_frames: int = 2
    tile: int = 2
    window_frames: int = 0
    window: int = 0

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        (t, h, w), k, (frames, height, width) = self.tile_at(query), self.tile_at(key), self.tiles(grid)
        rows, columns = near(self, "window", h, k.h, height), near(self, "window", w, k.w, width)
        return near(self, "window_frames", t, k.t, frames) & rows & columns

    def tile_at(self, place: Place) -> Place:
        return Place(place.t // self.tile_frames, place.h // self.tile, place.w // self.tile)

    def tiles(self, grid: Grid) -> tuple[int, int, int]:
        return -(-grid.frames // self.tile_frames), -(-grid.height // self.tile), -(-grid.width // self.tile)

    def block_of(self, grid: Grid, place: Place) -> Any:
        (t, h, w), (_, height, width) = self.tile_at(place), self.tiles(grid)
        return (t * height + h) * width + w
