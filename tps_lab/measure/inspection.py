"""Inspecting a model: what one token attends to, and its receptive field, read from the model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.attention import Grid, Variant, parse
from tps_lab.backbones import create_model
from tps_lab.errors import InputError
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int, int]


def attention_of_token(model: Any, clip_BCTHW: Tensor, block: int, token: Size) -> np.ndarray:
    """The softmax weights with which one patch attends to all patches, averaged over the batch.

    Computed from the model's own queries and keys, in the last mixing step of a block.

    Args:
        model: a video ViT whose attention stands in groups (no kernel variants, no windows).
        clip_BCTHW: what `model` takes.
        block: 0 for the first.
        token: frame (after tubelets), row and column of the patch that asks.

    Returns:
        (heads, T, H, W); what class tokens get is left out, so a head sums to at most 1.

    Raises:
        InputError: there is no such block or patch, or its attention is of another kind.
    """
    from timm.models.vision_transformer import Attention

    from tps_lab.attention._modules import SpaceTimeAttention

    blocks = getattr(getattr(model, "image_model", None), "blocks", [])
    if not 0 <= block < len(blocks):
        raise InputError(f"block must be 0 to {len(blocks) - 1}, got {block}")
    site = getattr(blocks[block], "block", blocks[block]).attn
    if not isinstance(site, SpaceTimeAttention) or not isinstance(site.attention, Attention):
        kind = type(getattr(site, "attention", site)).__name__
        raise InputError(f"attention weights are shown for groups around timm's Attention, block {block} has {kind}")
    kept: list[Tensor] = []
    hook = site.attention.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    try:
        with torch.no_grad():
            model(clip_BCTHW)
    finally:
        hook.remove()
    attention: Any = site.attention
    with torch.no_grad():
        x_GSC = kept[0]
        q, k, _ = attention.qkv(x_GSC).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = attention.q_norm(q), attention.k_norm(k)
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
        if site.mask is not None:
            mask = site.mask(len(clip_BCTHW), attention.num_heads)
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(-1).unflatten(0, (len(clip_BCTHW), site.groups)).mean(0)  # (G, heads, S', S')
    grid, p = site.grid, site.grid.clip_prefix
    at = int(site.inverse[token_index(grid, token) - p])
    if at < 0:  # a border dropped it
        return np.zeros((attention.num_heads, grid.frames, grid.height, grid.width))
    group, slot = divmod(at, site.slots)
    row = weights[group, :, p + slot, p:].cpu().double().numpy()  # (heads, S)
    keys = site.order.reshape(site.groups, site.slots)[group].cpu().numpy()
    whole = np.zeros((attention.num_heads, grid.tokens - p))
    np.add.at(whole.T, keys[keys >= 0], row.T[keys >= 0])
    return whole[:, grid.coordinates()[1] >= 0].reshape(-1, grid.frames, grid.height, grid.width)


def receptive_field_by_gradient(
    variant: Variant | str, grid: Size, depth: int, token: Size, first: int = 0
) -> list[np.ndarray]:
    """The receptive field of one patch after 0 … `depth` blocks, from a model's gradients instead of the partition.

    A small ViT with random weights is run in float64 on random tokens; a patch counts where the
    gradient of the asking patch's features with respect to it is not zero.

    Args:
        grid: frames, rows and columns of patches.
        token: frame, row and column of the patch that asks.
        first: start at this block instead of block 0; the second entry is then what this block alone adds.

    Returns:
        bool (T, H, W) each, after `first`, `first` + 1, … `depth` blocks.
    """
    chosen = parse(variant)
    frames, height, width = grid
    with torch.random.fork_rng():
        torch.manual_seed(0)
        name = "vit_micro_cls" if chosen.needs_class_token else "vit_micro"
        size = (8 * height, 8 * width)
        model: Any = create_model(name, chosen, frames=frames, size=size, num_classes=2, depth=depth).double().eval()
        for weight in model.parameters():  # nothing that starts at zero may hide a path
            torch.nn.init.normal_(weight, std=0.3)
        x = torch.randn(1, model.grid.tokens, model.image_model.embed_dim, dtype=torch.float64)
    index, is_patch = token_index(model.grid, token), is_patches(model.grid)
    found = []
    for blocks in range(first, depth + 1):
        start = x.clone().requires_grad_()
        y = start
        for block in model.image_model.blocks[first:blocks]:
            y = block(y)
        (slope,) = torch.autograd.grad(y[0, index].square().sum(), start)
        found.append((slope[0].abs().sum(-1) > 0).numpy()[is_patch].reshape(grid))
    return found


def token_index(grid: Grid, token: Size) -> int:
    """Where a patch (frame, row, column) stands among all tokens of a clip."""
    size = (grid.frames, grid.height, grid.width)
    if not all(0 <= at < length for at, length in zip(token, size, strict=True)):
        raise InputError(f"token {token} is not in a grid of (frames, rows, columns) = {size}")
    return int(np.flatnonzero(is_patches(grid))[np.ravel_multi_index(token, size)])


def is_patches(grid: Grid) -> np.ndarray:
    """Which of all tokens of a clip are patches, and not class tokens."""
    return np.concatenate([np.zeros(grid.clip_prefix, bool), grid.coordinates()[1] >= 0])
