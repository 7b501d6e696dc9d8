"""What every video model shares: checks of the clip, tubelets, and installing an attention variant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tps_lab.attention import Grid, Variant
from tps_lab.attention._modules import SteppedBlock
from tps_lab.errors import InputError


class VideoModel(nn.Module):
    """The base of every video model: clip (B, C, T, H, W) to logits (B, num_classes).

    A family sets `clip_shape` (C, T, H, W) and implements `forward_features`, `forward_head` and
    `closed_form_macs`; classifier and checkpointing are the image model's own, by timm's names.
    """

    clip_shape: tuple[int, int, int, int]

    def __init__(self, image_model: nn.Module, variant: Variant, frames: int, tubelet: int) -> None:
        super().__init__()
        self.image_model: Any = image_model
        self.variant, self.frames, self.tubelet = variant, frames, tubelet

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        raise NotImplementedError

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(clip_BCTHW))

    def closed_form_macs(self) -> dict[str, int]:
        """Multiply-adds of one clip's forward pass by part, from the configuration alone."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        return self.image_model.num_classes

    def get_classifier(self) -> nn.Module:
        return self.image_model.get_classifier()

    def reset_classifier(self, num_classes: int, **kwargs: Any) -> None:
        self.image_model.reset_classifier(num_classes, **kwargs)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.image_model.set_grad_checkpointing(enable)


def check_clip_length(variant: Variant, frames: int, tubelet: int) -> None:
    """Refuse a clip length that tubelets do not divide or a pattern's offsets do not fit in."""
    if frames < 1 or tubelet < 1 or frames % tubelet:
        raise InputError(f"frames must be a multiple of the tubelet's length, got {frames} frames, tubelet {tubelet}")
    pattern = getattr(variant, "pattern", None)
    if pattern is not None:
        pattern.check_fits(frames // tubelet)


def check_clip(clip: Tensor, expected: tuple[int, int, int, int]) -> None:
    """Refuse a clip that is not (B, channels, T, H, W) as expected, showing both shapes."""
    if clip.ndim != 5 or tuple(clip.shape[1:]) != expected:
        want = ", ".join(map(str, expected))
        raise InputError(f"expected a clip batch of shape (B, {want}) = (B, C, T, H, W), got {tuple(clip.shape)}")
    if not clip.is_floating_point():
        raise InputError(f"expected a clip of floats, got {clip.dtype}")


def fold_tubelets(clip_BCTHW: Tensor, tubelet: int) -> Tensor:
    """Frames as a batch of images, the frames of a tubelet stacked as channels.

    (B, C, T, H, W) → (B·T/tubelet, tubelet·C, H, W)
    """
    b, c, t, h, w = clip_BCTHW.shape
    return clip_BCTHW.transpose(1, 2).reshape(b * t // tubelet, tubelet * c, h, w)


def inflate(conv: nn.Conv2d, tubelet: int) -> nn.Conv2d:
    """A patch embedding of images made into one of tubelets: repeated over time, divided by length.

    A tubelet of equal frames embeds as the single frame did (the inflation of I3D, arXiv
    1705.07750, which Video Swin and TPS use for their weights).
    """
    if tubelet == 1:
        return conv
    new = nn.Conv2d(
        conv.in_channels * tubelet,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        new.weight.copy_(conv.weight.repeat(1, tubelet, 1, 1) / tubelet)
        if conv.bias is not None and new.bias is not None:
            new.bias.copy_(conv.bias)
    return new


def start_with_sines(embed: Tensor | None) -> None:
    """Fill a temporal embedding (1, T, 1, C) with sines and cosines (arXiv 1706.03762, section 3.5); None stays.

    At their full amplitude: at half of it joint attention took 1.5 times as many steps to tell
    a motion from its reverse (`opposites`, 700 steps, seed 0, on validation clips).
    """
    if embed is None:
        return
    _, frames, _, channels = embed.shape
    half = (channels + 1) // 2
    t = torch.arange(frames, dtype=torch.float32)[:, None]
    angles = t * 10_000 ** (-torch.arange(half) / half)
    with torch.no_grad():
        embed.copy_(torch.cat([angles.sin(), angles.cos()], dim=1)[None, :, None, :channels])


def install(block: nn.Module, variant: Variant, grid: Grid, index: int, depth: int) -> nn.Module:
    """A backbone's block, its attention regrouped and extra steps put beside it, as the variant says."""
    *extra, last = variant.block(index, depth)
    if grid.prefix and grid.prefix_of != "clip" and not all(mixer.takes_prefix for mixer in extra):
        raise InputError(f"{variant.name} has extra mixing steps, so its class token must belong to the clip")
    before = [mixer.step(block, grid) for mixer in extra if mixer.place == "before"]
    between = [mixer.step(block, grid) for mixer in extra if mixer.place == "after"]
    block.attn = last.module(block.attn, grid)  # type: ignore[arg-type]
    return SteppedBlock(before, block, between) if extra else block
