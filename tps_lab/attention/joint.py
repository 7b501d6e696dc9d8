"""Joint space-time attention: all patches of all frames at once.

Source: "Joint Space-Time" of Bertasius et al., ICML 2021, arXiv 2102.05095, and model 1 of ViViT,
arXiv 2103.15691. Cost O(N²T²). (The TPS paper's "Joint" row spans all frames but only a 7×7
window; that is local attention with a long window.)

`joint(every=2)` is the alternation of VGGT (Wang et al., CVPR 2025, arXiv 2503.11651): one block within the frames, the
next over all of them. `joint(stages=[3,4])` leaves the early blocks frame-wise, which arXiv 2512.02541 does to VGGT.
"""

from dataclasses import dataclass

import numpy as np

from tps_lab.attention._core import Mixer, PositionedVariant
from tps_lab.attention._grid import partition
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class Joint(PositionedVariant):
    """Each patch attends to every patch of every frame: the strongest mixing, and a cost that
    grows with the square of the number of frames.

    The group of every token is 0.
    """

    name = "joint"
    title = "Joint"
    rank, looks = 270, {"": Look("#cc79a7", "X")}
    windowed = True
    temporal_position = True
    prefix_of = "clip"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return self.turned(all_at_once)


all_at_once = Mixer(lambda grid: partition(grid, lambda t, h, w: np.zeros_like(t)))
