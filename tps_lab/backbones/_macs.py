"""Multiply-adds by formula: of layers, and of attention with how much of it the model needs.

Slots and pairs of an attention are counted in `attention/_meetings.py`; here they are multiplied by what an attention
of timm's costs per slot and per pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import nn

from tps_lab.attention._meetings import Meetings
from tps_lab.attention._modules import KernelAttention, Regrouping
from tps_lab.attention._widths import needed_width, product_width, score_width
from tps_lab.attention.relations import RelationMixer


def linear_macs(module: nn.Module) -> int:
    """Multiply-adds per token of all linear layers inside a module."""
    return sum(part.in_features * part.out_features for part in module.modules() if isinstance(part, nn.Linear))


def conv_macs(conv: nn.Conv2d, height: int, width: int) -> int:
    """Multiply-adds of a convolution whose *output* map is height × width."""
    per_place = conv.out_channels * (conv.in_channels // conv.groups) * math.prod(conv.kernel_size)
    return height * width * per_place


def convs_macs(module: nn.Module, height: int, width: int) -> int:
    """Of all convolutions inside a module, all with an output map of height × width."""
    return sum(conv_macs(part, height, width) for part in module.modules() if isinstance(part, nn.Conv2d))


def strided(size: int, stride: int) -> int:
    """Length of a map after a convolution with that stride and "same" padding."""
    return -(-size // stride)


# ---------------------------------------------------------------------- of attention


@dataclass(frozen=True)
class Attending:
    """The multiply-adds of one attention for one clip.

    Args:
        meetings: its slots and pairs.
        per_slot: of the projections (query, key, value, output), for every slot.
        per_pair: of the products (scores and sums of values), for every pair of slots, all heads.
        scores: how many of `per_pair` the scores take, which a fused backward computes again.
        needed: how many of `per_pair` the formula needs; None is all.
        fused: in one kernel that keeps no scores.
    """

    meetings: Meetings
    per_slot: int
    per_pair: int
    scores: int
    needed: int | None = None
    fused: bool = True

    @property
    def products(self) -> int:
        return self.meetings.pairs[0] * self.per_pair

    @property
    def projections(self) -> int:
        return self.meetings.slots[0] * self.per_slot

    @property
    def total(self) -> int:
        return self.projections + self.products

    def recomputed(self) -> int:
        """The scores, which the backward pass of fused attention computes again."""
        return self.meetings.pairs[0] * self.scores if self.fused else 0

    def idle(self) -> dict[str, int]:
        """Multiply-adds that are run and that the model does not need, by reason."""
        (slots, filled, distinct), (pairs, met, seen) = self.meetings.slots, self.meetings.pairs
        return {
            "padding": (slots - filled) * self.per_slot + (pairs - met) * self.per_pair,
            "masked pairs": (met - seen) * self.per_pair,
            "copies of tokens": (filled - distinct) * self.per_slot,
            "doubled sums": seen * (self.per_pair - (self.per_pair if self.needed is None else self.needed)),
        }


@lru_cache(maxsize=64)  # blocks share their mixer
def _grouped(mixer: Any, grid: Any) -> Meetings:
    return mixer.meetings(grid)


def attending(module: nn.Module, channels: int) -> Attending | None:
    """Of one of our attentions in a model of that width; None for any other module."""
    part: Any = module
    if isinstance(module, Regrouping) and (part.mixer.is_partition or isinstance(part.mixer, RelationMixer)):
        return among(_grouped(part.mixer, part.grid), part.attention, channels)
    if isinstance(module, KernelAttention):
        # Projections grow with the square of the channels, products with the channels.
        once, twice = part.mixer.macs(part.grid, 1), part.mixer.macs(part.grid, 2)
        slots, halves = (twice - 2 * once) // 2, (4 * once - twice) // 2
        # a "pair" here has all channels of a score or of a value: as many are of the one as of the other
        found = part.mixer.meetings(part.grid)
        meetings = Meetings((slots,) * 3, (halves, halves, halves - 2 * (found.executed - found.allowed)))
        return Attending(meetings, channels**2, channels, channels // 2, fused=part.attention.fused_attn)
    return None


def among(meetings: Meetings, attention: Any, channels: int) -> Attending:
    """An attention of timm's ViTs, run on these slots and pairs."""
    return Attending(
        meetings,
        linear_macs(attention),
        product_width(attention, channels),
        score_width(attention, channels),
        needed_width(attention, channels),
        getattr(attention, "fused_attn", True),
    )


def everyone(tokens: int) -> Meetings:
    """Tokens that all see each other."""
    return Meetings((tokens,) * 3, (tokens**2,) * 3)
