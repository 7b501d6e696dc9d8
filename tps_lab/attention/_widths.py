"""What an attention of timm's multiplies per pair of tokens, in all heads together."""

from __future__ import annotations

from typing import Any

from timm.layers.diff_attention import DiffAttention
from timm.models.vision_transformer import DiffParallelScalingBlock


def attentions_in(block: Any) -> list[Any]:
    """The attentions of one of timm's ViT blocks; a block that is attention and MLP in one is its own."""
    if hasattr(block, "attn"):
        return [block.attn]
    return [branch.attn for branch in block.attns] if hasattr(block, "attns") else [block]


def product_width(attention: Any, channels: int) -> int:
    """Multiply-adds of the attention products per pair of tokens: channels of scores plus of values."""
    if _is_differential(attention):
        # two softmaxes over half the channels each; fused, each of the two multiplies all the values
        return (3 if attention.fused_attn else 2) * channels
    if hasattr(attention, "head_dim"):
        return 2 * attention.num_heads * attention.head_dim
    return 2 * channels


def score_width(attention: Any, channels: int) -> int:
    """Of `product_width`, the channels of scores."""
    return channels if _is_differential(attention) else product_width(attention, channels) // 2


def needed_width(attention: Any, channels: int) -> int:
    """Of `product_width`, what the formula needs: two softmaxes can be subtracted before values are summed."""
    return 2 * channels if _is_differential(attention) else product_width(attention, channels)


def _is_differential(attention: Any) -> bool:
    return isinstance(attention, (DiffAttention, DiffParallelScalingBlock))
