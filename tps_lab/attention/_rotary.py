"""Rotary positions of regrouped tokens: the image model's own, and further ones over (t, h, w). Torch.

Image models rotate queries and keys by an angle per place in the frame (RoPE, Su et al., arXiv 2104.09864; for images
EVA-02, arXiv 2303.11331). Time has no angle: tokens of different frames at one place are rotated alike, and a rotation
goes where its patch goes. A patch shift therefore changes nothing, because a mixed frame has every patch at its own
place; groups across places (joint, a row, a patch over time) get the rotations of the tokens that they hold.

`rotary=true` of a variant turns queries and keys by where their patches stand in time, too, on top of that. The
channels of a head are pairs, shared out over time, rows and columns (time gets what does not divide by three), and
each pair is turned by its coordinate times a frequency, from 1 to 1/10,000. So a score depends on differences of
places only. Source: RoPE in three axes, V-JEPA 2, arXiv 2506.09985, and VideoRoPE, arXiv 2502.05173. Class tokens are
not turned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from tps_lab.attention._grid import Grid
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from tps_lab.attention._core import Mixer


def group_places(mixer: Mixer, grid: Grid) -> Tensor | None:
    """Place h·W + w of the patch in each slot: (G, S), or (1, S) if all groups hold the same places.

    None if every group is a frame in its own order: rotations then need no rearranging.

    Raises:
        InputError: prefix tokens do not stand in front of their group, where rotary attention skips them.
    """
    gather = mixer.routes(grid).gather
    _, h, w = grid.coordinates()
    # An empty slot (a zero from beyond the border) stands for the patch whose place it holds.
    token = np.where(gather >= 0, gather, np.arange(gather.shape[1]) % grid.per_frame)
    place = np.where(h < 0, -1, h * grid.width + w)[token]
    prefix = grid.prefix - grid.clip_prefix
    if (place[:, prefix:] < 0).any() or (place[:, :prefix] >= 0).any():
        raise InputError("rotary attention needs a frame's class token in front of its group; this grouping has none")
    place = place[:, prefix:]
    if (place == place[0]).all():
        place = place[:1]
    return None if np.array_equal(place, np.arange(grid.height * grid.width)[None]) else torch.from_numpy(place)


def grouped_rope(rope: Tensor, places_GS: Tensor, clips: int) -> Tensor:
    """Rotations for the tokens of every group.

    Args:
        rope: (H·W, D) for all heads, or (heads, H·W, D).
        places_GS: from `group_places`.
        clips: B, by which groups are repeated.

    Returns:
        (…, S, D) where all groups hold the same places, else (B·G, 1 or heads, S, D); prefix tokens,
        which are not rotated, left out.
    """
    rotated = rope[..., places_GS, :]  # (…, G, S, D)
    if len(places_GS) == 1:
        return rotated.squeeze(-3)
    rotated = rotated.unsqueeze(1) if rope.ndim == 2 else rotated.transpose(0, 1)  # (G, heads, S, D)
    return rotated.repeat(clips, 1, 1, 1)


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
