"""Leap attention and periodic shift (LAPS): pairs of frames far apart, then nearer, then next to each other.

Source: Zhang et al., "Long-term Leap Attention, Short-term Periodic Shift", ACM Multimedia 2022, arXiv 2207.05526, and
its code (VideoNetworks/LAPS-transformer): frames at a distance of half the clip attend to each other as pairs,
in the next block at a quarter, and so on; then a quarter of the channels of every head's result comes from the frame
after and a quarter from the frame before, zeros at the ends. Cost O(2N²T), twice that of spatial attention.

The code's levels for 8 frames are 1, 2, 3, 1; ours go round all of them. Where the clip is no power of two, frames
without a partner attend by themselves. Image weights are not kept because of the zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant
from tps_lab.attention._grid import Grid, Routes, partition
from tps_lab.attention._meetings import meetings_of
from tps_lab.attention.channel_shift import channel_shift, check_fraction


@dataclass(frozen=True)
class Leap(ScheduledVariant):
    """Each patch attends to the patches of its own frame and of one at a distance that halves from block to block, down
    to 1; then some channels of what it found come from the frames beside it.

    Before the shift, the group of token (t, h, w) at distance s is (t // 2s)·s + t mod s.

    Args:
        fraction: one n-th of the channels comes from each neighbour.
    """

    name = "leap"
    title = "Leap (LAPS)"
    temporal_position = True
    stated = "Its pairs of frames are a partition, the shift behind them is none: who sees whom is stated."

    fraction: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.fraction)

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (PairsThenShift(level=index // self.every, fraction=self.fraction),)


@dataclass(frozen=True, eq=False)
class PairsThenShift(KernelMixer):
    """Attention in pairs of frames at one distance, then a channel shift of the results."""

    name = "leap"

    level: int = 0
    fraction: int = 4

    def pairs(self, grid: Grid) -> Routes:
        levels = max(1, int(np.ceil(np.log2(grid.frames))))
        s = -(-grid.frames // 2 ** (1 + self.level % levels))
        return partition(grid, lambda t, h, w: t // (2 * s) * s + t % s, pad=True)

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        t = grid.coordinates()[0]
        return [Mixer(self.pairs).sees(grid), t == t[:, None] + 1]

    def sees(self, grid: Grid) -> np.ndarray:
        t, place = np.divmod(np.arange(grid.tokens), grid.per_frame)
        brings = (place[:, None] == place) & (np.abs(t[:, None] - t) <= 1)
        seen: np.ndarray = (brings.astype(np.float32) @ Mixer(self.pairs).sees(grid)) > 0
        return seen

    def macs(self, grid: Grid, channels: int) -> int:
        return 4 * grid.tokens * channels**2 + 2 * meetings_of(self.pairs(grid)).executed * channels

    def masked_pairs(self, grid: Grid) -> int:
        found = meetings_of(self.pairs(grid))
        return found.executed - found.allowed

    def mix(self, module: Any, x_BMC: Any) -> Any:
        import torch

        from tps_lab.attention._modules import Mask, rearrange_tokens

        routes, clips, frames = self.pairs(module.grid), len(x_BMC), module.grid.frames
        order, back = (torch.from_numpy(index).to(x_BMC.device) for index in (routes.gather.ravel(), routes.scatter))
        projected = module.project(x_BMC)
        q, k, v = (
            rearrange_tokens(part.flatten(2), order, back, routes.is_permutation).reshape(
                -1, routes.gather.shape[1], *part.shape[2:]
            )
            for part in projected
        )  # (B·groups, slots, heads, d)
        allowed = routes.may_see()
        mask = None if allowed is None else Mask(torch.from_numpy(allowed[:, None]).to(x_BMC.device))(clips, 1)
        y = module.attend(q, k, v, mask=mask).reshape(clips, order.numel(), -1)
        y = rearrange_tokens(y, back, order, routes.is_permutation).reshape(clips, frames, -1, projected[0].shape[-1])
        return channel_shift(y, "tsm", self.fraction, 1).reshape(x_BMC.shape)
