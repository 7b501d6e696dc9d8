"""timm's VisionTransformer as a video model: ViT, DeiT, AugReg, CLIP, DINOv2, SigLIP, AIMv2, ….

Blocks, weights, patch embedding, position embedding and head are timm's own. What is added: frames
(or tubelets) as a batch of images, an optional temporal position embedding, the attention variant's
grouping around every block's attention, and an average over time at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tps_lab.attention import Grid, Mixer, Variant
from tps_lab.attention._adapters import freeze
from tps_lab.attention._core import KernelMixer
from tps_lab.attention._meetings import Meetings
from tps_lab.attention._modules import SpaceTimeAttention, SteppedBlock, share_masks
from tps_lab.attention._widths import attentions_in, product_width
from tps_lab.backbones._macs import Attending, among, attending, conv_macs, everyone, linear_macs
from tps_lab.backbones._options import check_patch_embed
from tps_lab.backbones._video_model import (
    VideoModel,
    check_clip,
    check_clip_length,
    check_is_on,
    fold_tubelets,
    inflate,
)
from tps_lab.errors import InputError


class VideoViT(VideoModel):
    """A video transformer around an image one; clip (B, 3, T, H, W) to logits (B, num_classes).

    `forward_features` gives normed tokens (B, M, C) in the order of `Grid`.

    Args:
        image_model: a timm VisionTransformer; it becomes part of this model and is changed.
        variant: how tokens meet.
        frames: T, of the clips that it takes.
        tubelet: frames per token along time.
        temporal_position: add a learned embedding per time step; None asks the variant.

    Raises:
        InputError: the model, the frames or the variant do not fit each other.
    """

    timm_modules: ClassVar[tuple[str, ...]] = ("deit",)

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
        height, width = embed.dynamic_feat_size(embed.img_size)  # grid_size leaves out padding
        self.grid = Grid(frames // tubelet, height, width, image_model.num_prefix_tokens, variant.prefix_of)
        if temporal_position is None:
            temporal_position = variant.temporal_position
        # zeros: a model with image weights computes at first what the image model did
        zeros = embed.proj.weight.new_zeros(1, self.grid.frames, 1, image_model.embed_dim)
        self.temporal_embed = nn.Parameter(zeros) if temporal_position else None
        depth = len(image_model.blocks)
        self.after: Any = variant.after(image_model, self.grid)
        for index, block in enumerate(image_model.blocks):
            image_model.blocks[index] = install_in(block, variant, self.grid, index, depth)
        share_masks(image_model.blocks)
        if getattr(variant, "frozen", False):
            freeze(self)

    # ------------------------------------------------------------------ forward

    def embed(self, clip_BCTHW: Tensor) -> Tensor:
        """Clip → tokens (B, M, C) in the order of `Grid`, with their positions added."""
        vit = self.image_model
        check_clip(clip_BCTHW, self.clip_shape, vit.patch_embed.proj.weight)
        x = vit._pos_embed(vit.patch_embed(fold_tubelets(clip_BCTHW, self.tubelet)))
        return vit.norm_pre(self.frames_to_clips(x))

    def frames_to_clips(self, x: Tensor) -> Tensor:
        """Tokens of the frames (B·T, P + N, C) → tokens of the clips (B, M, C), with the time's position."""
        t, p = self.grid.frames, self.grid.prefix
        x = x.reshape(-1, t, *x.shape[1:])  # (B, T, P + N, C)
        prefix, patches = x[:, :, :p], x[:, :, p:]
        if self.temporal_embed is not None and self.after is None:
            patches = patches + self.temporal_embed
            x = torch.cat([prefix, patches], dim=2) if p else patches
        return torch.cat([prefix[:, 0], patches.flatten(1, 2)], dim=1) if self.grid.clip_prefix else x.flatten(1, 2)

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        """Clip → normed tokens (B, M, C)."""
        vit = self.image_model
        x = self.embed(clip_BCTHW)
        x = checkpoint_seq(vit.blocks, x) if vit.grad_checkpointing and not torch.jit.is_tracing() else vit.blocks(x)
        return vit.norm(x)

    def forward_head(self, x_BMC: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens → logits (B, num_classes), or pooled features (B, C) with `pre_logits`.

        Without pooling (`global_pool=""`) (B, M, C) or (B, M, num_classes), for each token of the clip.
        Else each frame is pooled as timm pools an image, then the frames are averaged or go through the
        variant's own module; a clip-level class token leaves a single "image" to pool.
        """
        vit, (b, m, c) = self.image_model, x_BMC.shape
        x = x_BMC.reshape(b * self.images, m // self.images, c)
        if hasattr(vit, "head_dist"):  # DeiT's second class token, with a head of its own
            tokens = x[:, :2].reshape(b, self.images, 2, c)
            both = vit.head_drop(torch.stack([self.over_time(tokens[:, :, i]) for i in range(2)], dim=1))
            return both.mean(1) if pre_logits else (vit.head(both[:, 0]) + vit.head_dist(both[:, 1])) / 2
        if not vit.global_pool:  # timm's way to ask for all tokens
            x = vit.head_drop(vit.fc_norm(x_BMC))
            return x if pre_logits else vit.head(x)
        x = vit.pool(x).reshape(b, self.images, -1)
        x = vit.fc_norm(self.over_time(x)) if self.after is None else self.over_time(vit.fc_norm(x))
        x = vit.head_drop(x)
        return x if pre_logits else vit.head(x)

    def over_time(self, x_BTC: Tensor) -> Tensor:
        """The frames' embeddings made into one: their mean, or what the variant's own module makes of them."""
        if self.after is None:
            return x_BTC.mean(1)
        return self.after(x_BTC if self.temporal_embed is None else x_BTC + self.temporal_embed[:, :, 0])

    @property
    def readouts(self) -> int:
        """How many embeddings a frame has: DeiT's distilled models read out two class tokens."""
        return 2 if hasattr(self.image_model, "head_dist") else 1

    @property
    def images(self) -> int:
        """Into how many token sets the head pools a clip."""
        return 1 if self.grid.clip_prefix else self.grid.frames

    def forward_intermediates(
        self,
        clip_BCTHW: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        intermediates_only: bool = False,
    ) -> Any:
        """Patch maps (B, C, T, H, W) after each block; see `VideoModel.forward_intermediates`."""
        vit, grid = self.image_model, self.grid
        take, _ = feature_take_indices(len(vit.blocks), indices)
        x, maps, p = self.embed(clip_BCTHW), [], grid.clip_prefix
        for index, y in enumerate(self.after_blocks(x)):
            if index in take:
                z = (vit.norm(y) if norm else y)[:, p:].reshape(len(x), grid.frames, grid.per_frame, -1)
                z = z[:, :, grid.per_frame - grid.height * grid.width :]
                maps.append(z.unflatten(2, (grid.height, grid.width)).permute(0, 4, 1, 2, 3))
        return maps if intermediates_only else (vit.norm(y), maps)

    def after_blocks(self, x: Tensor) -> Iterator[Tensor]:
        """The tokens after each block in turn."""
        for block in self.image_model.blocks:
            x = block(x)
            yield x

    # ------------------------------------------------------------------ closed form

    def closed_form_macs(self) -> dict[str, int]:
        """Multiply-adds of one clip's forward pass by part, from the configuration alone.

        Linear layers, convolutions and attention products; norms, activations, sums, softmax and
        gathers are left out, as fvcore and torch leave them out.
        """
        vit, grid, c = self.image_model, self.grid, self.image_model.embed_dim
        blocks: list[Any] = [getattr(block, "block", block) for block in vit.blocks]
        mlps = [mlp for block in blocks for mlp in getattr(block, "ffns", [getattr(block, "mlp", None)]) if mlp]
        # The variant counts standard attention; what timm's other kinds have more or less of is added.
        sites = [part for part in vit.blocks.modules() if isinstance(part, SpaceTimeAttention)]
        parallel = max((len(getattr(block, "attns", ())) for block in blocks), default=0) or 1
        attention = parallel * self.variant.macs(grid, len(blocks), c) + sum(other_macs(site, c) for site in sites)
        return {
            "patch embedding": grid.frames * conv_macs(vit.patch_embed.proj, grid.height, grid.width),
            "attention": attention,
            "mlp": grid.tokens * sum(linear_macs(mlp) for mlp in mlps),
            **({} if self.after is None else {"temporal encoder": self.readouts * self.after.closed_form_macs()}),
            "head": self.head_macs(),
        }

    def attendings(self) -> Iterator[Attending]:
        vit, c = self.image_model, self.image_model.embed_dim
        for module in vit.blocks.modules():
            if (one := attending(module, c)) is not None:
                yield one
        if self.after is not None:
            for block in [*self.after.blocks] * self.readouts:
                for attention in attentions_in(block):
                    yield among(everyone(self.after.tokens), attention, c)
        if vit.attn_pool is not None:
            for _ in range(self.images):
                yield self._pooling()

    def _pooling(self) -> Attending:
        """Attention pooling of one set of tokens."""
        pool, left_out = self.image_model.attn_pool, 0
        if not getattr(self.image_model, "pool_include_prefix", True):
            left_out = self.grid.prefix
        tokens = self.grid.tokens // self.images - left_out
        width, fused = self.image_model.embed_dim, getattr(pool, "fused_attn", True)
        if not hasattr(pool, "latent"):  # PRR: parameter-free attention among the tokens
            return Attending(Meetings((0, 0, 0), (tokens**2,) * 3), 0, 2 * width, width, fused=fused)
        pairs = pool.latent_len * tokens
        return Attending(Meetings((tokens,) * 3, (pairs,) * 3), linear_macs(pool.kv), 2 * width, width, fused=fused)

    def head_macs(self) -> int:
        """Attention pooling, per pooled set of tokens, and the classifier."""
        vit = self.image_model
        total = linear_macs(vit.head) + linear_macs(getattr(vit, "head_dist", nn.Identity()))
        pool = vit.attn_pool
        if pool is None:
            return total
        one = self._pooling()
        per_latent = linear_macs(pool) - linear_macs(pool.kv) if hasattr(pool, "latent") else 0
        latents = pool.latent_len if hasattr(pool, "latent") else 0
        return total + self.images * (latents * per_latent + one.projections + one.products)


def check_convertible(image_model: VisionTransformer, variant: Variant) -> None:
    """Say why a model and a variant do not go together."""
    if getattr(variant, "bias", "moved") != "moved":
        raise InputError(f"bias={variant.bias}: a plain ViT has no relative position bias")  # type: ignore[attr-defined]
    if variant.needs_class_token and image_model.cls_token is None:
        raise InputError(f"{variant.name} needs a class token in every frame, and this image model has none")
    if not isinstance(image_model.patch_drop, (nn.Identity, type(None))):
        raise InputError("patch_drop_rate > 0 removes patches at random, which leaves no grid to shift: set it to 0")
    check_patch_embed(image_model)
    check_is_on(variant, len(image_model.blocks))


# ---------------------------------------------------------------------- timm's several kinds of blocks


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


def install(block: nn.Module, variant: Variant, grid: Grid, index: int, depth: int) -> nn.Module:
    """A backbone's block, its attention regrouped and extra steps put beside it, as the variant says."""
    *extra, last = variant.placed(index, depth)
    if grid.prefix and grid.prefix_of != "clip" and not all(mixer.takes_prefix for mixer in extra):
        raise InputError(f"{variant.name} has extra mixing steps, so its class token must belong to the clip")
    before = [mixer.step(block, grid) for mixer in extra if mixer.place == "before"]
    between = [mixer.step(block, grid) for mixer in extra if mixer.place == "after"]
    block.attn = last.module(block.attn, grid)  # type: ignore[arg-type]
    return SteppedBlock(before, block, between) if extra else block


def other_macs(site: SpaceTimeAttention, channels: int) -> int:
    """How many multiply-adds more than 4·C² a token and 2·C a pair an attention needs."""
    slots = site.slots + site.grid.clip_prefix
    per_token = linear_macs(site.attention) - 4 * channels**2
    return site.groups * slots * (per_token + slots * (product_width(site.attention, channels) - 2 * channels))
