"""Attention under a relation by FlexAttention, which leaves out the blocks of the mask that are empty.

Asked for with TPS_LAB_RELATIONS=flex. Masked dense attention is the default: on a CPU it is faster (one core, six
heads, a window that allows 8 % of the pairs of 16 frames of 14×14 patches: 152 ms dense, 206 ms in flex, which ran
35 % of the blocks), and FlexAttention has no backward pass there. **On a GPU it has not been measured here.**

Tokens are sorted by `Relation.block_of`, those of the clip last, and the mask is cut into blocks of 128 × 128. A block
in which one pair is allowed is computed as a whole, the last ones to their full size: `executed_pairs`.
Source: Dong et al., "Flex Attention", arXiv 2412.05496.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from tps_lab.attention._grid import Grid, Place
from tps_lab.errors import unknown

Kernel = Literal["dense", "flex"]
BLOCK = 128  # what FlexAttention's kernels are tuned for


def kernel() -> Kernel:
    """What TPS_LAB_RELATIONS says; "dense" if it says nothing."""
    chosen = os.environ.get("TPS_LAB_RELATIONS", "dense")
    if chosen not in ("dense", "flex"):
        raise unknown("TPS_LAB_RELATIONS", chosen, ("dense", "flex"))
    return chosen  # type: ignore[return-value]


def block_order(mixer: Any, grid: Grid) -> np.ndarray:
    """Tokens in the order in which the mask is cut into blocks: int (M,)."""
    label = np.broadcast_to(mixer.block_of(grid, Place(*grid.coordinates())), grid.tokens - grid.clip_prefix)
    patches = grid.clip_prefix + np.argsort(label, kind="stable")
    return np.concatenate([patches, np.arange(grid.clip_prefix)])


@lru_cache(maxsize=64)
def executed_pairs(mixer: Any, grid: Grid) -> int:
    """Pairs in all blocks that are not empty; kinds by their share of the heads."""
    order, starts = block_order(mixer, grid), np.arange(0, grid.tokens, BLOCK)
    blocks = 0
    for start in starts:
        asked = mixer.rows(grid, order[start : start + BLOCK]).any(1)[:, order]  # (kinds, M): a column is asked for
        blocks += int(np.add.reduceat(asked, starts, axis=1).astype(bool).sum())
    return round(blocks * BLOCK**2 / len(mixer.kinds))


def mix(mixer: Any, module: Any, x_BMC: Any) -> Any:
    """Normed tokens (B, M, C) to what is projected out."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as dense

    order, back, allowed, masks = _plan(mixer, module.grid, x_BMC.device)
    q, k, v = (part.index_select(1, order).transpose(1, 2) for part in module.project(x_BMC))  # (B, heads, M, d)
    on_cpu_with_gradient = x_BMC.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad
    found = []
    for kind, qkv in enumerate(zip(*(part.chunk(len(mixer.kinds), dim=1) for part in (q, k, v)), strict=True)):
        if on_cpu_with_gradient:
            found.append(dense(qkv[0], qkv[1], qkv[2], attn_mask=allowed[kind]))
        else:
            found.append(_compiled()(*qkv, block_mask=masks[kind]))
    return torch.cat(found, dim=1).transpose(1, 2).index_select(1, back).flatten(2)


@lru_cache(maxsize=8)  # blocks share it
def _plan(mixer: Any, grid: Grid, device: Any) -> tuple[Any, Any, Any, list[Any]]:
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    order = block_order(mixer, grid)
    # `take` leaves it row by row, as the kernel reads it; for other strides it is compiled anew, if at all
    rows = np.take(mixer.allowed(grid), order, axis=1)
    allowed = torch.from_numpy(np.take(rows, order, axis=2)).to(device)

    def blocks(one: Any) -> Any:
        m = grid.tokens
        return create_block_mask(lambda b, h, q, k: one[q, k], None, None, m, m, device=device, BLOCK_SIZE=BLOCK)

    masks = [blocks(one) for one in allowed]
    return torch.from_numpy(order).to(device), torch.from_numpy(np.argsort(order)).to(device), allowed, masks


@lru_cache(maxsize=1)
def _compiled() -> Any:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
