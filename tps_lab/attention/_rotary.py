"""Rotary positions over (t, h, w): queries and keys turned by where their patches stand. Torch.

The channels of a head are pairs, shared out over time, rows and columns (time gets what does not divide by three), and
each pair is turned by its coordinate times a frequency, from 1 to 1/10,000. So a score depends on differences of
places only. Source: Su et al. (RoPE), arXiv 2104.09864; in three axes V-JEPA 2, arXiv 2506.09985, and VideoRoPE, arXiv
2502.05173. Class tokens are not turned. It comes on top of the image model's own positions in the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from tps_lab.attention._core import Mixer
from tps_lab.attention._grid import Grid
from tps_lab.errors import InputError


def angles(grid: Grid, head_channels: int) -> np.ndarray:
    """How far each pair of a head's channels is turned, per token: (M, head_channels / 2); 0 for class tokens."""
    pairs = head_channels // 2
    shares = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    turned = [
        axis[:, None] * 10_000.0 ** (-np.arange(share) / max(share, 1))
        for axis, share in zip(grid.coordinates(), shares, strict=True)
    ]
    of_patches = np.where(grid.coordinates()[1][:, None] >= 0, np.concatenate(turned, axis=1), 0)
    return np.concatenate([np.zeros((grid.clip_prefix, pairs)), of_patches])


class Turned(nn.Module):
    """A norm of queries or keys (B·G, heads, S, d), and the turn behind it."""

    cos: Tensor
    sin: Tensor

    def __init__(self, norm: nn.Module, angles_GSD: np.ndarray, like: Tensor) -> None:
        super().__init__()
        self.norm = norm
        for name, values in {"cos": np.cos(angles_GSD), "sin": np.sin(angles_GSD)}.items():
            self.register_buffer(name, torch.from_numpy(values).to(like.device, like.dtype)[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        first, second = x.reshape(-1, self.cos.shape[0], *x.shape[1:]).chunk(2, dim=-1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).reshape(x.shape)


def turn(attention: Any, mixer: Mixer, grid: Grid) -> None:
    """Make an attention that runs in a mixer's groups turn its queries and keys.

    Raises:
        InputError: it is not timm's plain attention, or has an odd number of channels per head.
    """
    if not isinstance(attention, Attention):
        raise InputError(
            f"rotary=true turns the queries of timm's plain Attention (ViT, DeiT, CLIP, DINOv2), this model has "
            f"{type(attention).__name__}"
        )
    if attention.head_dim % 2:
        raise InputError(f"rotary=true turns pairs of channels, and a head of this model has {attention.head_dim}")
    gather, p, turned = mixer.routes(grid).gather, grid.clip_prefix, angles(grid, attention.head_dim)
    own = np.where(gather[..., None] >= 0, turned[p + np.maximum(gather, 0)], 0)
    prefix = np.broadcast_to(turned[None, :p], (len(gather), p, turned.shape[1]))
    both = np.concatenate([prefix, own], axis=1)
    attention.q_norm = Turned(attention.q_norm, both, attention.qkv.weight)
    attention.k_norm = Turned(attention.k_norm, both, attention.qkv.weight)
