"""Space-time areas: the clip in a few large boxes, and joint attention in the last quarter of the blocks.

Source: pull request 121 of facebookresearch/vjepa2 (open, 2026), which has no comparison with pretrained weights.
The number of areas is ours. Cost O(N²T²) divided by the number of areas, plus that of joint attention in a quarter of
the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tps_lab.attention._core import Mixer, Variant
from tps_lab.attention._grid import Grid, partition
from tps_lab.attention._look import Look
from tps_lab.attention.joint import all_at_once
from tps_lab.errors import InputError
from tps_lab.specs import Limits


@dataclass(frozen=True)
class Areas(Variant):
    """Each patch attends to its area of space and time, such as a quarter of the frame in half of the frames, and in
    the last quarter of the blocks to everything.

    The group of token (t, h, w) is (t·P // T, h·Q // H, w·Q // W), then 0.

    Args:
        time: P, into how many parts the frames are cut.
        space: Q, into how many parts each side of the frame is cut.
        full: quarters of the depth with joint attention, 1 to 4.
    """

    name = "areas"
    title = "Areas"
    rank, looks = 190, {"": Look("#b8860b", "h", "sparse")}
    temporal_position = True
    prefix_of = "clip"

    limits: ClassVar[Limits] = {"time": (1, 10_000), "space": (1, 10_000)}

    time: int = 2
    space: int = 2
    full: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        super().__post_init__()
        full = (self.full,) if isinstance(self.full, int) else tuple(self.full)
        if not set(full) <= {1, 2, 3, 4}:
            raise InputError(f"{self}: full must be some of the quarters 1, 2, 3, 4")
        object.__setattr__(self, "full", full)

    def block(self, index: int, depth: int, stage: int | None = None) -> tuple[Mixer, ...]:
        if (stage or 1 + 4 * index // depth) in self.full:
            return (all_at_once,)
        return (Mixer(lambda grid: partition(grid, lambda *place: self.area(grid, *place), pad=True)),)

    def area(self, grid: Grid, t: Any, h: Any, w: Any) -> Any:
        """The number of the area that a patch belongs to."""
        row, column = h * self.space // grid.height, w * self.space // grid.width
        return (t * self.time // grid.frames * self.space + row) * self.space + column
