"""timm's several kinds of ViT blocks and attentions: where to regroup tokens, and what they cost."""

from __future__ import annotations

from typing import Any

from torch import nn

from tps_lab.attention import Grid, Mixer, Variant
from tps_lab.attention._core import KernelMixer
from tps_lab.attention._modules import SpaceTimeAttention
from tps_lab.attention._widths import product_width
from tps_lab.backbones._macs import linear_macs
from tps_lab.backbones._video_model import install
from tps_lab.errors import InputError


def install_in(block: Any, variant: Variant, grid: Grid, index: int, depth: int) -> nn.Module:
    """`install` for every kind of timm's blocks.

    * Several attentions side by side ("Three things", arXiv 2203.09795): each is regrouped.
    * Attention and MLP in one (ViT-22B's, arXiv 2302.05442): the block is regrouped as a whole. All
      but its attention works on each token alone, so that is the same wherever tokens are only
      moved to their groups and back.
    """
    if hasattr(block, "attn"):
        return install(block, variant, grid, index, depth)
    mixers: tuple[Mixer, ...] = variant.placed(index, depth)
    kind = type(block).__name__
    if len(mixers) > 1:
        raise InputError(f"{variant.name} needs a norm and an attention to copy for its extra steps; {kind} has none")
    if hasattr(block, "attns"):
        for branch in block.attns:
            branch.attn = mixers[0].module(branch.attn, grid)
        return block
    if isinstance(mixers[0], KernelMixer) or mixers[0].before is not None or not mixers[0].routes(grid).is_permutation:
        raise InputError(
            f"{variant} changes tokens before the attention or loses some, but {kind} has attention and MLP in one"
        )
    return SpaceTimeAttention(block, mixers[0], grid)


def other_macs(site: SpaceTimeAttention, channels: int) -> int:
    """How many multiply-adds more than 4·C² a token and 2·C a pair an attention needs."""
    slots = site.slots + site.grid.clip_prefix
    per_token = linear_macs(site.attention) - 4 * channels**2
    return site.groups * slots * (per_token + slots * (product_width(site.attention, channels) - 2 * channels))
