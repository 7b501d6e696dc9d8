"""TokShift: some channels of every frame's class token come from its neighbours'; patches stay.

Source: Zhang et al., ACM Multimedia 2021, arXiv 2108.02432, and its released code: a quarter of the
class token's channels from the frame after and a quarter from the frame before, zeros at the ends
of the clip, before the attention and again before the MLP of every block. Unlike the channel shifts
of TSM and TCS it moves the residual stream itself. Then every frame attends by itself, and patches
learn about other frames from their class token. Cost O(N²T), that of spatial attention, without
an extra multiply-add.

Image weights are not kept, even for equal frames, because of the zeros at the ends; away from them
equal frames give what the image model does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.channel_shift import ChannelShift, channel_shift, channels_shifted
from tps_lab.errors import InputError


@dataclass(frozen=True)
class TokShift(ScheduledVariant):
    """A quarter of the class token's channels comes from the frame after and a quarter from the
    frame before, twice in a block; each frame attends by itself. Needs a class token per frame.

    Args:
        fraction: one n-th of the channels comes from each neighbour.
    """

    name = "tokshift"
    title = "TokShift"
    rank, looks = 40, {"": Look("#a50f5f", ">", "long")}
    needs_class_token = True
    stated = "It moves channels of class tokens, which is no partition: who sees whom is stated, not derived."

    limits = ChannelShift.limits

    fraction: int = 4

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        shift = ClassTokensShifted(takes_prefix=True, fraction=self.fraction)
        return (shift, dataclasses.replace(shift, place="after"), frame_by_frame)


@dataclass(frozen=True, eq=False)
class ClassTokensShifted(KernelMixer):
    """A step without attention: channels of the class tokens move along time, in the residual stream."""

    name = "tokshift"

    fraction: int = 4

    def sees(self, grid: Grid) -> np.ndarray:
        check_prefix(grid)
        token = np.arange(grid.tokens)
        apart = np.abs(token[:, None] - token)
        is_class = token % grid.per_frame == 0
        return (apart == 0) | ((apart == grid.per_frame) & is_class)

    def made_of(self, grid: Grid) -> list[np.ndarray] | None:
        return channels_shifted("tsm").made_of(grid)

    def macs(self, grid: Grid, channels: int) -> int:
        return 0

    def step_macs(self, grid: Grid, channels: int) -> int:
        return 0

    def module(self, attention: Any, grid: Grid) -> Any:
        from tps_lab.attention._modules import WithoutWeights

        check_prefix(grid)
        return WithoutWeights(partial(self.shifted, grid=grid))

    def step(self, block: Any, grid: Grid) -> Any:
        return self.module(None, grid)

    def shifted(self, x_BMC: Any, grid: Grid) -> Any:
        """Tokens (B, M, C) with their frames' class tokens shifted."""
        import torch

        x = x_BMC.unflatten(1, (grid.frames, -1))
        moved = channel_shift(x[:, :, :1], "tsm", self.fraction, 1)
        return torch.cat([moved, x[:, :, 1:]], dim=2).flatten(1, 2)


def check_prefix(grid: Grid) -> None:
    if grid.prefix_of != "frame" or not grid.prefix:
        raise InputError(f"tokshift shifts the class tokens of the frames, and there are none in {grid}")
