"""ZeroI2V: attention within the frame, with keys and values of some channels from frames nearby.

Source: Li et al. (ZeroI2V), ECCV 2024, arXiv 2310.01324, "spatial-temporal dual-headed attention", and its code
(MCG-NJU/ZeroI2V): a twelfth of the channels, one head of a ViT-B, comes from the frame before, another from the one
after, and so on for larger distances. Queries stay; at the ends of the clip a frame keeps its own. So it is X-ViT
with smaller and longer shifts and another border. Cost O(N²T), that of spatial attention. The paper's adapters are
left out. It found 3, 5 and 6 frames best for clips of 8, 16 and 32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.errors import InputError


@dataclass(frozen=True)
class ZeroI2V(ScheduledVariant):
    """Each patch attends to the patches of its own frame, whose keys and values hold some channels of the frames up to
    `far` before and after.

    Args:
        fraction: one n-th of the channels comes from each of them.
        far: 1 takes from three frames with its own, 2 from five.
    """

    name = "zeroi2v"
    title = "ZeroI2V"
    temporal_position = True
    stated = "Keys and values hold channels of several frames, which is no partition: who sees whom is stated."

    fraction: int = 12
    far: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.far < 1 or self.fraction <= 2 * self.far:
            raise InputError(f"{self}: far is 1 or more, and fraction more than {2 * self.far}, for its own to stay")

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        offsets = tuple(sign * distance for distance in range(1, self.far + 1) for sign in (-1, 1))
        return (KeysFromNearby(fraction=self.fraction, offsets=offsets),)


@dataclass(frozen=True, eq=False)
class KeysFromNearby(KernelMixer):
    """Attention within the frame, after channels of keys and values came from the frames at `offsets`."""

    name = "zeroi2v"

    fraction: int = 12
    offsets: tuple[int, ...] = (-1, 1)

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        t = grid.coordinates()[0]
        return [t == t[:, None] + offset for offset in (0, *self.offsets)]

    def sees(self, grid: Grid) -> np.ndarray:
        seen: np.ndarray = np.any(self.made_of(grid), axis=0)
        return seen

    def macs(self, grid: Grid, channels: int) -> int:
        return frame_by_frame.macs(grid, channels)

    def mix(self, module: Any, x_BMC: Any) -> Any:
        frames = module.grid.frames
        q, k, v = (part.unflatten(1, (frames, -1)) for part in module.project(x_BMC))
        y = module.attend(*(part.flatten(0, 1) for part in (q, self.moved(k), self.moved(v))))
        return y.reshape(x_BMC.shape)

    def moved(self, x_BTNHD: Any) -> Any:
        """Keys or values of all heads, a share of their channels from each offset, as far as the clip goes."""
        x, frames = x_BTNHD.flatten(3), x_BTNHD.shape[1]
        fold, y = x.shape[-1] // self.fraction, x.clone()
        if not fold:
            raise InputError(f"{x.shape[-1]} channels cannot give 1/{self.fraction} to a frame: none would move")
        for number, offset in enumerate(self.offsets):
            to = slice(max(-offset, 0), max(frames - max(offset, 0), 0))
            source, part = slice(to.start + offset, to.stop + offset), slice(number * fold, (number + 1) * fold)
            if to.start < to.stop:
                y[:, to, :, part] = x[:, source, :, part]
        return y.reshape(x_BTNHD.shape)
