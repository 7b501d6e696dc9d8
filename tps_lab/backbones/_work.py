"""What attention computes, and how much of that the model needs: the closed forms' bookkeeping.

Attention runs on *slots*. Some hold no token (padding at the edge of a map, zeros from beyond the ends of a
clip), some a copy of a token that another slot holds too (a clip's class token joins every group). Of all pairs
of slots some may not see each other (the parts of a rolled window). Kernels compute all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import nn

from tps_lab.attention import Routes
from tps_lab.attention._modules import KernelAttention, SpaceTimeAttention
from tps_lab.attention._widths import needed_width, product_width, score_width
from tps_lab.backbones._macs import linear_macs


@dataclass(frozen=True)
class Meetings:
    """Slots: all, those that hold a token, distinct tokens. Pairs of slots: all, of two tokens, that see each other."""

    slots: tuple[int, int, int]
    pairs: tuple[int, int, int]


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


def meetings_of(routes: Routes, prefix: int = 0) -> Meetings:
    """Counted from routes, `prefix` tokens of the clip in front of every group."""
    groups, slots = routes.gather.shape
    held = routes.gather >= 0
    filled = held.sum(1)
    if routes.regions is None:
        seen = int((filled**2).sum())
    else:  # equal labels of one group, empty slots left out
        row = np.repeat(np.arange(groups), slots).reshape(held.shape)
        labels = np.stack([row[held], routes.regions[held]])
        seen = int((np.unique(labels, axis=1, return_counts=True)[1] ** 2).sum())
    tokens = int(filled.sum())
    among = groups * prefix**2 + 2 * prefix * tokens  # a prefix token and every token see each other
    return Meetings(
        (groups * (slots + prefix), tokens + groups * prefix, len(np.unique(routes.gather[held])) + prefix),
        (groups * (slots + prefix) ** 2, int(((filled + prefix) ** 2).sum()), seen + among),
    )


@lru_cache(maxsize=64)  # blocks share their mixer
def _grouped(mixer: Any, grid: Any) -> Meetings:
    return meetings_of(grid.route(mixer.routes), grid.clip_prefix)


def attending(module: nn.Module, channels: int) -> Attending | None:
    """Of one of our attentions in a model of that width; None for any other module."""
    part: Any = module
    if isinstance(module, SpaceTimeAttention):
        return among(_grouped(part.mixer, part.grid), part.attention, channels)
    if isinstance(module, KernelAttention):
        # Projections grow with the square of the channels, products with the channels.
        once, twice = part.mixer.macs(part.grid, 1), part.mixer.macs(part.grid, 2)
        slots, halves = (twice - 2 * once) // 2, (4 * once - twice) // 2
        # a "pair" here has all channels of a score or of a value: as many are of the one as of the other
        meetings = Meetings((slots,) * 3, (halves,) * 3)
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
