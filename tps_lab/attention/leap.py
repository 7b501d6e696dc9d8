"""Leap attention and periodic shift (LAPS): pairs of frames far apart, then nearer, then next to each other.

Source: Zhang et al., ACM Multimedia 2022, arXiv 2207.05526, and VideoNetworks/LAPS-transformer: frames half a clip
apart attend as pairs, in the next block a quarter, and so on; then a quarter of the channels of each head's result
comes from the frame after and a quarter from the one before, zeros at the ends. Cost O(2N²T), twice spatial's.
The code's levels for 8 frames are 1, 2, 3, 1; ours take all in turn. Frames without a partner attend by themselves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, compose
from tps_lab.attention._grid import Grid, Routes, partition
from tps_lab.attention._look import Look
from tps_lab.attention._meetings import Meetings
from tps_lab.attention.channel_shift import channel_shift, channels_shifted


@dataclass(frozen=True)
class Leap(ScheduledVariant):
    """Each patch attends to its own frame and to one at a distance that halves from block to block; then some
    channels of the result come from the frames beside it.

    Before the shift, the group of token (t, h, w) at distance s is (t // 2s)·s + t mod s."""

    name, title, temporal_position = "leap", "Leap (LAPS)", True
    rank, looks = 90, {"": Look("#d9667b", "8", "dashed")}
    stated = "Its pairs of frames are a partition, the shift behind them is none: who sees whom is stated."

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (PairsThenShift(lambda grid: pairs(grid, level=index // self.every)),)


def pairs(grid: Grid, level: int) -> Routes:
    """Frames in pairs: half a clip apart at level 0, next to each other at the last level, then from the beginning."""
    levels = max(1, (grid.frames - 1).bit_length())
    s = -(-grid.frames // 2 ** (1 + level % levels))
    return partition(grid, lambda t, h, w: t // (2 * s) * s + t % s, pad=True)


@dataclass(frozen=True, eq=False)
class PairsThenShift(KernelMixer):
    name, macs = "leap", Mixer.macs

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        return [Mixer.sees(self, grid), *(channels_shifted("tsm").made_of(grid) or [])]

    def sees(self, grid: Grid) -> np.ndarray:
        apart = np.abs(np.arange(grid.tokens)[:, None] - np.arange(grid.tokens))  # the same place in the frame beside
        return compose((apart == 0) | (apart == grid.per_frame), Mixer.sees(self, grid))

    def meetings(self, grid: Grid) -> Meetings:
        return Meetings((grid.tokens,) * 3, Mixer.meetings(self, grid).pairs)

    def mix(self, module: Any, x_BMC: Any) -> Any:
        y = module.attend_in_groups(*module.project(x_BMC))
        frames = y.unflatten(1, (module.grid.frames, -1)).flatten(2, 3)  # (B, T, N·heads, d)
        return channel_shift(frames, "tsm", 4, 1).reshape(x_BMC.shape)
