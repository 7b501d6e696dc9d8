"""ZeroI2V: attention within the frame, with keys and values of some channels from frames nearby.

Source: Li et al., ECCV 2024, arXiv 2310.01324, "spatial-temporal dual-headed attention", and MCG-NJU/ZeroI2V: a twelfth
of the channels, one head of a ViT-B, comes from the frame before, another from the one after, and so on for larger
distances; at the ends a frame keeps its own. So it is X-ViT with smaller and longer shifts and another border. Cost
O(N²T), as spatial attention. Its adapters are left out; it found 3, 5, 6 frames best for clips of 8, 16, 32.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tps_lab.attention._core import Mixer, ScheduledVariant
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.channel_shift import from_offsets
from tps_lab.attention.space_time_mixing import KeysShifted
from tps_lab.errors import InputError
from tps_lab.specs import Limits


@dataclass(frozen=True)
class ZeroI2V(ScheduledVariant):
    """Each patch attends to the patches of its own frame, whose keys and values hold some channels of the frames up
    to `far` before and after.

    Args:
        fraction: one n-th of the channels comes from each of them.
        far: 1 takes from three frames, its own included; 2 from five."""

    name, title, temporal_position = "zeroi2v", "ZeroI2V", True
    rank, looks = 60, {"": Look("#8e6fc1", "p", "dashdot")}
    stated = "Keys and values hold channels of several frames, which is no partition: who sees whom is stated."
    limits: ClassVar[Limits] = {"far": (1, 10_000)}

    fraction: int = 12
    far: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fraction <= 2 * self.far:
            raise InputError(f"{self}: fraction must be more than {2 * self.far}")

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (KeysFromNearby(fraction=self.fraction, far=self.far),)


@dataclass(frozen=True, eq=False)
class KeysFromNearby(KeysShifted):
    name = "zeroi2v"
    far: int = 1

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        t = grid.coordinates()[0]
        return [t - t[:, None] == offset for offset in range(-self.far, self.far + 1)]

    def sees(self, grid: Grid) -> np.ndarray:
        return np.logical_or.reduce(self.made_of(grid))

    def shifted(self, x_BTNHD: Any) -> Any:
        offsets = [offset for distance in range(1, self.far + 1) for offset in (-distance, distance)]
        return from_offsets(x_BTNHD.flatten(3), self.fraction, offsets).reshape(x_BTNHD.shape)
