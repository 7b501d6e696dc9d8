"""Rotary positions of regrouped tokens: a rotation belongs to a patch's (h, w) and goes where it goes.

Image models rotate queries and keys by an angle per place in the frame (RoPE, Su et al., arXiv
2104.09864; for images EVA-02, arXiv 2303.11331). Time has no angle: tokens of different frames at
one place are rotated alike. A patch shift therefore changes nothing, because a mixed frame has every
patch at its own place; groups across places (joint, a row, a patch over time) get the rotations of
the tokens that they hold.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tps_lab.attention._core import Mixer
from tps_lab.attention._grid import Grid
from tps_lab.errors import InputError


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
        raise InputError("rotary attention needs a frame's class token in front of its group; this grouping has not")
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
