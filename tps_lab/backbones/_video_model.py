"""What every video model shares: checks of the clip, tubelets, and what an image model of timm's offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tps_lab.attention import ScheduledVariant, Variant
from tps_lab.backbones._hub import HubModel
from tps_lab.backbones._macs import Attending, conv_macs, strided
from tps_lab.errors import InputError
from tps_lab.text import counted


class VideoModel(nn.Module, HubModel):
    """The base of every video model: clip (B, C, T, H, W) to logits (B, num_classes).

    `save_pretrained`, `push_to_hub` and `from_pretrained` are huggingface_hub's; see `_hub.py`.

    A family sets `clip_shape` (C, T, H, W) and implements `forward_features`, `forward_head`,
    `closed_form_macs` and `attendings`; classifier, checkpointing, layer groups and features of single layers are the
    image model's own, by timm's names.

    Attributes:
        timm_modules: modules of `timm.models` whose names `backbones()` lists, next to the one that
            holds the image model's class.
        timm_names: regular expression that a name of theirs must begin with.
        version: raised when the same configuration computes something else; see `ablate.identity`.
        asks_for_time: whether the variant decides about an embedding of time that nobody asked for.
    """

    clip_shape: tuple[int, int, int, int]
    timm_modules: ClassVar[tuple[str, ...]] = ()
    timm_names: ClassVar[str] = ""
    version: ClassVar[int] = 1
    asks_for_time: ClassVar[bool] = True

    def __init__(self, image_model: nn.Module, variant: Variant, frames: int, tubelet: int) -> None:
        super().__init__()
        self.image_model: Any = image_model
        self.variant, self.frames, self.tubelet = variant, frames, tubelet

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        raise NotImplementedError

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        # no clips, as timm's models take no images; what is no tensor is refused further down
        if isinstance(clip_BCTHW, Tensor) and clip_BCTHW.ndim == 5 and not clip_BCTHW.shape[0]:
            return self.forward(clip_BCTHW.new_zeros(1, *clip_BCTHW.shape[1:]))[:0]
        return self.forward_head(self.forward_features(clip_BCTHW))

    def closed_form_macs(self) -> dict[str, int]:
        """Multiply-adds of one clip's forward pass by part, from the configuration alone."""
        raise NotImplementedError

    def attendings(self) -> Iterator[Attending]:
        """Every attention's multiply-adds for one clip; all of them are in `closed_form_macs` too."""
        raise NotImplementedError

    def macs_without_input_gradient(self) -> int:
        """Forward multiply-adds of layers whose input wants no gradient: the convolution that sees pixels."""
        conv = next(part for part in self.image_model.modules() if isinstance(part, nn.Conv2d))
        _, frames, *size = self.clip_shape
        places = [strided(side, stride) for side, stride in zip(size, conv.stride, strict=True)]
        return frames // self.tubelet * conv_macs(conv, places[0], places[1])

    def forward_intermediates(
        self,
        clip_BCTHW: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        intermediates_only: bool = False,
    ) -> Any:
        """Feature maps from inside, as timm's `forward_intermediates` gives them for an image.

        Args:
            indices: the last n layers, or which ones; None for all. What counts as a layer is the
                image model's (`feature_info`): a ViT's blocks, a pyramid's stages.
            norm: apply the final norm to them where the image model offers it.
            intermediates_only: leave the final features out.

        Returns:
            (final features, list of (B, C, T', H', W')), or only the list; T' is frames / tubelet.
        """
        check_clip(clip_BCTHW, self.clip_shape, next(self.parameters()))
        images = fold_tubelets(clip_BCTHW, self.tubelet)
        x, maps = self.image_model.forward_intermediates(images, indices=indices, norm=norm)
        steps = self.frames // self.tubelet
        maps = [y.reshape(-1, steps, *y.shape[1:]).transpose(1, 2) for y in maps]
        return maps if intermediates_only else (x.reshape(-1, steps, *x.shape[1:]), maps)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any] | Callable[[str], Any]:
        """Which layer a parameter belongs to, for `timm.optim.param_groups_layer_decay`.

        The image model's own groups; an extra step counts as its block, a temporal position as stem.
        """
        given = self.image_model.group_matcher(coarse=coarse)
        if callable(given):
            return lambda name: 0 if name == "temporal_embed" else given(name.removeprefix("image_model."))
        groups = {key: _inside_image_model(pattern) for key, pattern in given.items()}
        if isinstance(groups.get("stem"), str):
            groups["stem"] += "|temporal_embed"
        return groups

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should leave alone: the image model's, and time's."""
        own: set[str] = getattr(self.image_model, "no_weight_decay", set)()
        return {f"image_model.{name}" for name in own} | {"temporal_embed"}

    @property
    def num_features(self) -> int:
        """C, of the pooled features that the classifier takes."""
        return getattr(self.image_model, "head_hidden_size", self.image_model.num_features)

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


def _inside_image_model(pattern: Any) -> Any:
    """A group's regular expression, or tuples and lists with some inside, for names one level up."""
    if isinstance(pattern, str):
        return rf"^image_model\.(?:{pattern.replace('^', '')})"
    if isinstance(pattern, (list, tuple)):
        return type(pattern)(_inside_image_model(part) for part in pattern)
    return pattern


def check_is_on(variant: Variant, depth: int) -> None:
    """Refuse a schedule that leaves every block spatial."""
    if isinstance(variant, ScheduledVariant) and not any(variant.is_on(i, depth) for i in range(depth)):
        raise InputError(
            f"{variant} is not used in any of {counted(depth, 'block')}, so the model would be spatial: "
            "change every or stages"
        )


def check_clip(clip: Tensor, expected: tuple[int, int, int, int], weight: Tensor | None = None) -> None:
    """Refuse a clip that is not (B, channels, T, H, W) as expected, or not of the weights' type."""
    if not isinstance(clip, Tensor):
        raise InputError(f"expected a clip batch of shape (B, C, T, H, W), got {type(clip).__name__}")
    if clip.ndim != 5 or tuple(clip.shape[1:]) != expected:
        want = ", ".join(map(str, expected))
        raise InputError(f"expected a clip batch of shape (B, {want}) = (B, C, T, H, W), got {tuple(clip.shape)}")
    if not clip.is_floating_point():
        raise InputError(f"expected a clip of floats, got {clip.dtype}")
    if weight is None or clip.dtype == weight.dtype or torch.is_autocast_enabled(clip.device.type):
        return
    raise InputError(
        f"expected a clip of the model's type {weight.dtype}, got {clip.dtype} {tuple(clip.shape)}: "
        f"convert one of them, or run under torch.autocast"
    )


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
    """Fill a temporal embedding of T × C values with sines and cosines (arXiv 1706.03762, section 3.5); None stays.

    At their full amplitude: at half of it joint attention took 1.5 times as many steps to tell
    a motion from its reverse (`opposites`, 700 steps, seed 0, on validation clips).
    """
    if embed is None:
        return
    channels = embed.shape[-1]
    frames = embed.numel() // channels  # (1, T, 1, C) of a ViT, (T, 1, 1, C) of a Swin
    half = (channels + 1) // 2
    t = torch.arange(frames, dtype=torch.float32)[:, None]
    angles = t * 10_000 ** (-torch.arange(half) / half)
    with torch.no_grad():
        embed.copy_(torch.cat([angles.sin(), angles.cos()], dim=1)[:, :channels].reshape(embed.shape))
