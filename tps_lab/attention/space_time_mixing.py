"""Space-time mixing (X-ViT): attention within the frame, with keys and values from three frames.

Source: Bulat et al. (X-ViT), NeurIPS 2021, arXiv 2106.05968, section 3. Of the channels of every key
and value a quarter comes from the frame after and a quarter from the frame before; queries stay.
At the ends of the clip zeros enter, as in the released code. Cost O(N²T), that of spatial
attention, and no multiply-add more.

The paper's formula takes the quarters of each head; its code takes them of all channels in a row,
so that whole heads look at another frame. `channels` has both; the formula is the default. Left out
are the paper's temporal attention over class tokens behind the blocks and its summary token.

Image weights are not kept, even for equal frames, because of the zeros at the ends; away from them
equal frames give what the image model does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.channel_shift import ChannelShift, channel_shift, channels_shifted


@dataclass(frozen=True)
class SpaceTimeMixing(ScheduledVariant):
    """Each patch attends to the patches of its own frame, whose keys and values hold some channels
    of the frames before and after. One frame of reach per block, at the price of spatial attention.

    Args:
        fraction: one n-th of the channels comes from each neighbour.
        channels: count that n-th in each "head" (the paper's formula) or over "all" (its code).
    """

    name = "xvit"
    title = "X-ViT"
    rank, looks = 50, {"": Look("#6a51a3", "<", "dashdot")}
    temporal_position = True
    stated = (
        "Keys and values hold channels of three frames, which is no partition: who sees whom is stated, not derived."
    )

    limits = ChannelShift.limits

    fraction: int = 4
    channels: Literal["head", "all"] = "head"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (KeysShifted(fraction=self.fraction, channels=self.channels),)


@dataclass(frozen=True, eq=False)
class KeysShifted(KernelMixer):
    """Attention within the frame, after a channel shift of keys and values."""

    name = "xvit"

    fraction: int = 4
    channels: Literal["head", "all"] = "head"

    def sees(self, grid: Grid) -> np.ndarray:
        return channels_shifted("tsm").sees(grid)

    def made_of(self, grid: Grid) -> list[np.ndarray] | None:
        return channels_shifted("tsm").made_of(grid)

    def macs(self, grid: Grid, channels: int) -> int:
        return frame_by_frame.macs(grid, channels)

    def mix(self, module: Any, x_BMC: Any) -> Any:
        q, k, v = (part.unflatten(1, (module.grid.frames, -1)) for part in module.project(x_BMC))
        y = module.attend(*(part.flatten(0, 1) for part in (q, self.shifted(k), self.shifted(v))))
        return y.reshape(x_BMC.shape)

    def shifted(self, x_BTNHD: Any) -> Any:
        """Keys or values of all heads, some of their channels from other frames."""
        # the shift counts along its last axis: the channels of one head, or of all
        rows = x_BTNHD.flatten(2, 3) if self.channels == "head" else x_BTNHD.flatten(3)
        return channel_shift(rows, "tsm", self.fraction, 1).reshape(x_BTNHD.shape)
