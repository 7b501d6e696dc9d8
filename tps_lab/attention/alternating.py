"""Patch shift and channel shift in turn (TPS+TCS): the mixing of the paper's Patch Shift Transformers (PST).

Source: Xiang et al., ECCV 2022, arXiv 2207.13259, section 3.3 and figure 4 (TPS first); the
released code has channel shift in even blocks and patch shift in odd ones, which is
`order="tcs-tps"`. Cost O(N²T), that of spatial attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tps_lab.attention._core import Mixer
from tps_lab.attention._look import Look
from tps_lab.attention.channel_shift import ChannelShift, channels_shifted
from tps_lab.attention.patch_shift import PatchShift


@dataclass(frozen=True)
class Alternating(PatchShift):
    """Patch shift in one block, channel shift in the next: all channels of some patches and some
    channels of all patches take turns in carrying time, at the price of spatial attention.

    Args:
        order: which comes first, "tps-tcs" (the paper's figure) or "tcs-tps" (its code).
        fraction: one n-th of the channels moves each way, as for `tcs`.
        every: 1 alternates the two without spatial blocks in between.
    """

    name = "tps+tcs"
    title = "TPS+TCS"
    rank, looks = 70, {"": Look("#d55e00", "*")}
    stated, limits = ChannelShift.stated, ChannelShift.limits

    every: int = 1
    order: Literal["tps-tcs", "tcs-tps"] = "tps-tcs"
    fraction: int = 8

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        patch_turn = (index // self.every) % 2 == (0 if self.order == "tps-tcs" else 1)
        return (self.patches_shifted() if patch_turn else channels_shifted("tcs", self.fraction),)
