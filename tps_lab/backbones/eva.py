"""timm's Eva as a video model: ViTs with rotary positions (EVA-02, DINOv3, RoPE-ViT, PE).

Sources: Fang et al., "EVA-02", arXiv 2303.11331; Heo et al., "Rotary Position Embedding for Vision
Transformer", arXiv 2403.13298 (mixed and axial RoPE). A rotation is per place in the frame and says
nothing of time; `attention/_rotary.py` brings each token's along to where it attends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from timm.models._manipulate import checkpoint
from torch import Tensor

from tps_lab.backbones._video_model import check_clip, fold_tubelets
from tps_lab.backbones.vit import VideoViT


class VideoEva(VideoViT):
    """A video transformer around timm's Eva; all else as for `VideoViT`."""

    timm_modules = ()

    def embed(self, clip_BCTHW: Tensor) -> Tensor:
        eva = self.image_model
        check_clip(clip_BCTHW, self.clip_shape, eva.patch_embed.proj.weight)
        x, _ = eva._pos_embed(eva.patch_embed(fold_tubelets(clip_BCTHW, self.tubelet)))
        return eva.norm_pre(self.frames_to_clips(x))

    def rotations(self) -> list[Any]:
        """The rotary embedding for each block: (H·W, D), (heads, H·W, D) where learned, or None."""
        eva = self.image_model
        if eva.rope is None:
            return [None] * len(eva.blocks)
        cached = getattr(eva.rope, "feat_shape", None) is not None
        rope = eva.rope.get_embed() if cached else eva.rope.get_embed(shape=[self.grid.height, self.grid.width])
        return list(rope) if eva.rope_mixed else [rope] * len(eva.blocks)

    def after_blocks(self, x: Tensor) -> Iterator[Tensor]:
        eva = self.image_model
        for block, rope in zip(eva.blocks, self.rotations(), strict=True):
            if eva.grad_checkpointing and not torch.jit.is_tracing():
                x = checkpoint(block, x, rope=rope)
            else:
                x = block(x, rope=rope)
            yield x

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        x = self.embed(clip_BCTHW)
        for y in self.after_blocks(x):
            x = y
        return self.image_model.norm(x)
