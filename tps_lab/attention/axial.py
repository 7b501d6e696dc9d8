"""Axial attention (T+W+H): along time, along the row, along the column.

Source: "Axial" in Bertasius et al., ICML 2021, arXiv 2102.05095, figure 1, after Ho et al., arXiv
1912.12180. The paper gives no code for it; here the steps along time and along the row have
weights of their own and a zero-initialised output, as the temporal step of divided attention has,
and the last one uses the image model's. Cost O(NT·(T + W + H)).
"""

from dataclasses import dataclass

from tps_lab.attention._core import Mixer, ScheduledVariant
from tps_lab.attention._grid import partition
from tps_lab.attention._look import Look
from tps_lab.attention.divided import along_time


@dataclass(frozen=True)
class Axial(ScheduledVariant):
    """Each patch attends along one axis at a time: to its place in all frames, to its row, to its
    column. The cheapest full mixing, in three small steps.

    The group of token (t, h, w) is (h, w), then (t, h), then (t, w).
    """

    name = "axial"
    title = "Axial (T+W+H)"
    rank, looks = 170, {"": Look("#8c8200", "d", "dashdot")}
    windowed = True
    temporal_position = True
    prefix_of = "clip"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (along_time, along_row, along_column)


along_row = Mixer(lambda grid: partition(grid, lambda t, h, w: t * grid.height + h))
along_column = Mixer(lambda grid: partition(grid, lambda t, h, w: t * grid.width + w))
