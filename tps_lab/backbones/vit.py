"""timm's VisionTransformer as a video model.

Blocks, weights, patch embedding, position embedding and head are timm's own. What is added: frames
(or tubelets) as a batch of images, an optional temporal position embedding, the attention variant's
grouping around every block's attention, and an average over time at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models import checkpoint_seq
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tps_lab.attention import Grid, ScheduledVariant, Variant
from tps_lab.backbones._video import VideoModel, check_clip, check_clip_length, fold_tubelets, inflate, install
from tps_lab.errors import InputError


class VideoViT(VideoModel):
    """A video transformer around an image one; clip (B, 3, T, H, W) to logits (B, num_classes).

    Args:
        image_model: a timm VisionTransformer; it becomes part of this model and is changed.
        variant: how tokens meet.
        frames: T, of the clips that it takes.
        tubelet: frames per token along time.
        temporal_position: add a learned embedding per time step; None asks the variant.

    Raises:
        InputError: the model, the frames or the variant do not fit each other.
    """

    def __init__(
        self,
        image_model: VisionTransformer,
        variant: Variant,
        frames: int,
        tubelet: int = 1,
        temporal_position: bool | None = None,
    ) -> None:
        check_clip_length(variant, frames, tubelet)
        check_convertible(image_model, variant)
        super().__init__(image_model, variant, frames, tubelet)
        embed = image_model.patch_embed
        if tubelet > 1:
            embed.proj = inflate(embed.proj, tubelet)
        self.clip_shape = (embed.proj.in_channels // tubelet, frames, *embed.img_size)
        height, width = embed.grid_size
        self.grid = Grid(frames // tubelet, height, width, image_model.num_prefix_tokens, variant.prefix_of)
        if temporal_position is None:
            temporal_position = variant.temporal_position
        # zeros: a model with image weights computes at first what the image model did
        zeros = embed.proj.weight.new_zeros(1, self.grid.frames, 1, image_model.embed_dim)
        self.temporal_embed = nn.Parameter(zeros) if temporal_position else None
        depth = len(image_model.blocks)
        self.after: Any = variant.after(image_model, self.grid)
        for index, block in enumerate(image_model.blocks):
            image_model.blocks[index] = install(block, variant, self.grid, index, depth)

    # ------------------------------------------------------------------ forward

    def embed(self, clip_BCTHW: Tensor) -> Tensor:
        """Clip → tokens (B, M, C) in the order of `Grid`, with their positions added."""
        check_clip(clip_BCTHW, self.clip_shape)
        vit, t, p = self.image_model, self.grid.frames, self.grid.prefix
        x = vit._pos_embed(vit.patch_embed(fold_tubelets(clip_BCTHW, self.tubelet)))
        x = x.reshape(-1, t, *x.shape[1:])  # (B, T, P + N, C)
        prefix, patches = x[:, :, :p], x[:, :, p:]
        if self.temporal_embed is not None and self.after is None:
            patches = patches + self.temporal_embed
            x = torch.cat([prefix, patches], dim=2) if p else patches
        x = torch.cat([prefix[:, 0], patches.flatten(1, 2)], dim=1) if self.grid.clip_prefix else x.flatten(1, 2)
        return vit.norm_pre(x)

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        """Clip → normed tokens (B, M, C)."""
        vit = self.image_model
        x = self.embed(clip_BCTHW)
        x = checkpoint_seq(vit.blocks, x) if vit.grad_checkpointing and not torch.jit.is_tracing() else vit.blocks(x)
        return vit.norm(x)

    def forward_head(self, x_BMC: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens → logits (B, num_classes), or pooled features (B, C) with `pre_logits`.

        Each frame is pooled as timm pools an image, then the frames are averaged or go through the
        variant's own module; a clip-level class token leaves a single "image" to pool.
        """
        vit, b = self.image_model, x_BMC.shape[0]
        images = 1 if self.grid.clip_prefix else self.grid.frames
        x = vit.pool(x_BMC.reshape(b * images, -1, x_BMC.shape[-1])).reshape(b, images, -1)
        if self.after is None:
            x = vit.fc_norm(x.mean(1))
        else:
            x = vit.fc_norm(x)
            x = self.after(x if self.temporal_embed is None else x + self.temporal_embed[:, :, 0])
        x = vit.head_drop(x)
        return x if pre_logits else vit.head(x)

    # ------------------------------------------------------------------ closed form

    def closed_form_macs(self) -> dict[str, int]:
        """Multiply-adds of one clip's forward pass by part, from the configuration alone.

        Linear layers, convolutions and attention products; norms, activations, sums, softmax and
        gathers are left out, as fvcore and torch leave them out.
        """
        vit, grid, c = self.image_model, self.grid, self.image_model.embed_dim
        embed = vit.patch_embed.proj
        depth = len(vit.blocks)
        blocks: list[Any] = [getattr(block, "block", block) for block in vit.blocks]
        mlp_linears = [part for block in blocks for part in block.mlp.modules() if isinstance(part, nn.Linear)]
        kh, kw = embed.kernel_size
        return {
            "patch embedding": grid.frames * grid.height * grid.width * embed.in_channels * kh * kw * c,
            "attention": self.variant.macs(grid, depth, c),
            "mlp": grid.tokens * sum(linear.in_features * linear.out_features for linear in mlp_linears),
            **({} if self.after is None else {"temporal encoder": self.after.closed_form_macs()}),
            "head": c * vit.num_classes,
        }


def check_convertible(image_model: VisionTransformer, variant: Variant) -> None:
    """Say why a model and a variant do not go together."""
    if getattr(variant, "bias", "moved") != "moved":
        raise InputError(f"bias={variant.bias}: a plain ViT has no relative position bias")  # type: ignore[attr-defined]
    if variant.needs_class_token and image_model.cls_token is None:
        raise InputError(f"{variant.name} needs a class token in every frame, and this image model has none")
    if not isinstance(image_model.patch_drop, nn.Identity):
        raise InputError("patch_drop_rate > 0 removes patches at random, which leaves no grid to shift: set it to 0")
    if not isinstance(image_model.patch_embed, PatchEmbed):  # a hybrid's convolutions know neither T nor tubelets
        kind = type(image_model.patch_embed).__name__
        raise InputError(f"patches must be embedded by a single convolution, this model has {kind}")
    for block in image_model.blocks:
        if not hasattr(block, "attn"):
            raise InputError(f"{type(block).__name__} has no attention of its own to regroup (no .attn)")
    depth = len(image_model.blocks)
    if isinstance(variant, ScheduledVariant) and not any(variant.is_on(i, depth) for i in range(depth)):
        raise InputError(f"{variant} is on in none of {depth} blocks, so it would be spatial: change every or stages")
