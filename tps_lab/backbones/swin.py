"""timm's Swin Transformer, v1 and v2, as a video model.

Sources: Liu et al., arXiv 2103.14030 (v1) and 2111.09883 (v2); over time: Video Swin, arXiv
2106.13230, for windows of several frames, and TPS, arXiv 2207.13259, for everything else. Blocks,
weights, norms, MLPs, patch merging and head are timm's own. What changes is how tokens meet inside
a block's windows (`_windowed.py`), and an average over time at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2, SwinTransformerV2Block
from torch import Tensor, nn

from tps_lab.attention import ScheduledVariant, Variant, variants
from tps_lab.attention._modules import SteppedBlock
from tps_lab.attention._windows import Extent, PositionBias, WindowGrid
from tps_lab.attention.local import Local
from tps_lab.backbones._macs import Attending
from tps_lab.backbones._options import check_patch_embed
from tps_lab.backbones._video_model import VideoModel, check_clip, check_clip_length, fold_tubelets, inflate
from tps_lab.backbones._windowed import ContinuousAttention, TableAttention, WindowedAttention, WindowStep
from tps_lab.errors import InputError, unknown


class VideoSwin(VideoModel):
    """A video transformer around a Swin; clip (B, 3, T, H, W) to logits (B, num_classes).

    Args:
        image_model: a timm SwinTransformer or SwinTransformerV2; it becomes part of this model and
            is changed.
        variant: how tokens meet, inside the windows. `stages` are the model's own, and `every`
            counts in each.
        frames: T, of the clips that it takes.
        tubelet: frames per token along time.
        temporal_position: add a learned embedding per time step to the patches. None: no, for
            where frames meet, the relative position bias tells them apart.
        position_bias: "diagonal", the offsets between tokens that meet (the paper), or "frame0",
            those to where mixed frame 0 has its keys from (the released code, whose index over
            frame × frame is sliced [::16] where attention inside a frame needs [::17]).
        temporal_window: how many successive (mixed) frames of a window attend to each other; 2
            makes the paper's † models, and spatial attention with 8 is Video Swin. Where windows
            are shifted they are shifted in time too, by half, as there (the released TPS code
            cannot run with more than 1).
        bias_over_time: give every block a bias table over (Δt, Δh, Δw), also where no frames
            meet, as the released code does. "frame0" does so anyway.

    Raises:
        InputError: the model, the frames or the variant do not fit each other.
    """

    asks_for_time = False

    def __init__(
        self,
        image_model: SwinTransformer | SwinTransformerV2,
        variant: Variant,
        frames: int,
        tubelet: int = 1,
        temporal_position: bool | None = None,
        *,
        position_bias: PositionBias = "diagonal",
        temporal_window: int = 1,
        bias_over_time: bool = False,
    ) -> None:
        check_clip_length(variant, frames, tubelet)
        check_convertible(image_model, variant)
        if position_bias not in ("diagonal", "frame0"):
            raise unknown("position_bias", str(position_bias), ("diagonal", "frame0"))
        if type(temporal_window) is not int or temporal_window < 1:
            raise InputError(f"temporal_window must be a whole number of frames, 1 or more, got {temporal_window!r}")
        super().__init__(image_model, variant, frames, tubelet)
        self.position_bias: PositionBias = position_bias
        self.temporal_window = temporal_window
        over_time = frames // tubelet if bias_over_time or position_bias == "frame0" else 0
        embed: Any = image_model.patch_embed
        layers: Any = image_model.layers
        if tubelet > 1:
            embed.proj = inflate(embed.proj, tubelet)
        self.clip_shape = (embed.proj.in_channels // tubelet, frames, *embed.img_size)
        zeros = embed.proj.weight.new_zeros(frames // tubelet, 1, 1, embed.proj.out_channels)
        self.temporal_embed = nn.Parameter(zeros) if temporal_position else None
        for stage, layer in enumerate(layers, 1):
            for index, block in enumerate(layer.blocks):
                mixers = variant.placed(index, len(layer.blocks), stage)
                layer.blocks[index] = self._install(block, mixers, over_time)

    def _install(self, block: Any, mixers: Any, over_time: int) -> nn.Module:
        """The block with its attention regrouped, and extra steps before it."""
        *extra, last = mixers
        shifts = any(block.target_shift_size)
        height, width = block.input_resolution
        window = (self.temporal_window, *block.window_size)
        roll = (self.temporal_window // 2 if shifts else 0, *block.shift_size)
        grid = WindowGrid(self.frames // self.tubelet, height, width, window=window, roll=roll)
        second = isinstance(block, SwinTransformerV2Block)
        make: type[WindowedAttention] = ContinuousAttention if second else TableAttention
        extent: Extent = (over_time, *block.window_size)
        steps = [
            WindowStep(block, make(copy.deepcopy(block.attn), mixer, grid, self.position_bias), second)
            for mixer in extra
        ]
        block.attn = make(block.attn, last, grid, self.position_bias, extent)
        block.attn_mask = None
        block.__class__ = _SwinV2Block if second else _SwinBlock
        return SteppedBlock(steps, block) if steps else block  # type: ignore[arg-type]

    # ------------------------------------------------------------------ forward

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        """Clip → normed tokens (B, T, H, W, C) of the last stage."""
        check_clip(clip_BCTHW, self.clip_shape, self.image_model.patch_embed.proj.weight)
        swin, t = self.image_model, self.frames // self.tubelet
        x = swin.patch_embed(fold_tubelets(clip_BCTHW, self.tubelet))  # (B·T, H, W, C)
        if self.temporal_embed is not None:
            x = (x.unflatten(0, (-1, t)) + self.temporal_embed).flatten(0, 1)
        x = swin.norm(swin.layers(x))
        return x.reshape(-1, t, *x.shape[1:])

    def forward_head(self, x_BTHWC: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens → logits (B, num_classes), or pooled features (B, C) with `pre_logits`.

        Each frame is pooled as timm pools an image, then the frames are averaged.
        """
        head, (b, t) = self.image_model.head, x_BTHWC.shape[:2]
        if not getattr(head.global_pool, "pool_type", "avg"):  # global_pool="": all tokens, (B, T, H, W, C)
            x = head.drop(x_BTHWC)
            return x if pre_logits else head.fc(x)
        x = head.global_pool(x_BTHWC.flatten(0, 1))
        x = head.drop(x.reshape(b, t, *x.shape[1:]).mean(1))
        return x if pre_logits else head.fc(x)

    # ------------------------------------------------------------------ closed form

    def closed_form_macs(self) -> dict[str, int]:
        """Multiply-adds of one clip's forward pass by part, from the configuration alone.

        Linear layers, convolutions and attention products, those of padded places included; norms,
        activations, sums, softmax and gathers are left out, as fvcore and torch leave them out.
        """
        swin, embed, t = self.image_model, self.image_model.patch_embed, self.frames // self.tubelet
        attention = mlp = merging = 0
        for layer in swin.layers:
            area = layer.output_resolution[0] * layer.output_resolution[1]
            if not isinstance(layer.downsample, nn.Identity):
                linear = layer.downsample.reduction
                merging += t * area * linear.in_features * linear.out_features
            for stepped in layer.blocks:
                block: Any = getattr(stepped, "block", stepped)
                attention += block.attn.macs()
                for step in getattr(stepped, "steps", ()):
                    attention += step.attn.macs() + t * area * step.out.in_features * step.out.out_features
                linears = [part for part in block.mlp.modules() if isinstance(part, nn.Linear)]
                mlp += t * area * sum(part.in_features * part.out_features for part in linears)
        kh, kw = embed.proj.kernel_size
        patches = t * embed.grid_size[0] * embed.grid_size[1]
        fc = swin.head.fc
        return {
            "patch embedding": patches * embed.proj.in_channels * kh * kw * embed.proj.out_channels,
            "patch merging": merging,
            "attention": attention,
            "mlp": mlp,
            "head": fc.in_features * fc.out_features if isinstance(fc, nn.Linear) else 0,
        }

    def attendings(self) -> Iterator[Attending]:
        for module in self.modules():
            if isinstance(module, WindowedAttention):
                yield module.attending()

    def macs_without_input_gradient(self) -> int:
        offsets = sum(part.offset_macs() for part in self.modules() if isinstance(part, WindowedAttention))
        return super().macs_without_input_gradient() + offsets


class _SwinBlock(SwinTransformerBlock):
    """timm's block; windows are cut, rolled and put back by its attention."""

    def _attn(self, x: Tensor) -> Tensor:
        return self.attn(x)


class _SwinV2Block(SwinTransformerV2Block):
    """The same of Swin v2."""

    def _attn(self, x: Tensor) -> Tensor:
        return self.attn(x)


def check_convertible(image_model: SwinTransformer | SwinTransformerV2, variant: Variant) -> None:
    """Say why a model and a variant do not go together."""
    if not variant.windowed:
        defined = ", ".join(name for name, cls in variants().items() if cls.windowed)
        raise InputError(f"{variant.name} is not defined inside windows; these are: {defined}")
    if getattr(variant, "rotary", False):
        raise InputError(f"{variant}: windows have a relative position bias; rotary positions are for ViTs")
    check_patch_embed(image_model)
    layers: Any = image_model.layers
    if isinstance(variant, Local) and variant.window < (own := max(layers[0].blocks[0].window_size)):
        raise InputError(f"{variant} would cut this model's windows of {own}×{own}: give window={own}")
    depths = [len(layer.blocks) for layer in layers]
    blocks = [(index, depth, stage) for stage, depth in enumerate(depths, 1) for index in range(depth)]
    if isinstance(variant, ScheduledVariant) and not any(variant.is_on(*block) for block in blocks):
        raise InputError(
            f"{variant} is used in no block of the stages {depths}, so the model is spatial: change every or stages"
        )
