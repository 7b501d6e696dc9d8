"""Video models of image models whose attention needs a whole frame: run per frame, shifted in time.

A ViT's attention takes any set of tokens. Others do not: spatial reduction convolves over the map,
windows have a bias for each pair of places, class tokens sit in front. What all of them can do is
attend to a *mixed* frame, one whose tokens stand at their own places but come from other frames:

    shift along time → the image model's own attention, on frames → shift back

So patch shift and channel shift work in every family, spatial attention is the image model itself,
and a variant whose groups are not frames (joint, divided, …) is refused by name. A family states
where its attentions are and what map each one sees (`Site`), and counts its multiply-adds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tps_lab.attention import Grid, Mixer, Routes, Variant, variants
from tps_lab.attention._meetings import Meetings
from tps_lab.attention._modules import rearrange_tokens
from tps_lab.backbones._macs import Attending, linear_macs
from tps_lab.backbones._video_model import (
    VideoModel,
    check_clip,
    check_clip_length,
    check_is_on,
    fold_tubelets,
    inflate,
)
from tps_lab.errors import InputError


@dataclass(frozen=True)
class Site:
    """One attention of an image model.

    Args:
        owner: the module that holds it, under the name `name`.
        height, width: the map of tokens it attends in: a frame's, or one window's.
        windows: how many such maps a frame has; a pattern's tile starts again in each.
        prefix: tokens before the map's (a class token).
    """

    owner: nn.Module
    name: str
    height: int
    width: int
    windows: int = 1
    prefix: int = 0


class FramewiseModel(VideoModel):
    """The base of families that run frame by frame; clip (B, C, T, H, W) to (B, num_classes).

    `forward_features` gives what the image model gives, with (B, T) for its batch. The head pools
    every frame as the image model does, averages over time and classifies.

    A family implements `sites` and `closed_form_macs`, and `widths` where its attention has other parts than a ViT's.

    Attributes:
        stem_channels_first: the stem gives (B, C, H, W) rather than channels last.

    Args:
        image_model: a timm model; it becomes part of this one and is changed.
        temporal_position: add a learned embedding per time step after the stem; None asks the variant.

    Raises:
        InputError: the model, the frames or the variant do not fit each other.
    """

    stem_channels_first: ClassVar[bool] = False

    def __init__(
        self,
        image_model: nn.Module,
        variant: Variant,
        frames: int,
        tubelet: int = 1,
        temporal_position: bool | None = None,
    ) -> None:
        check_clip_length(variant, frames, tubelet)
        super().__init__(image_model, variant, frames, tubelet)
        steps, channels, size = frames // tubelet, *input_size(image_model)
        self.image_size, self.steps = size, steps
        self.check_convertible()
        found = list(self.sites())
        check_is_on(variant, len(found))
        mixers = [fitting_mixer(variant, site, index, len(found), steps, self) for index, site in enumerate(found)]
        for site, mixer in zip(found, mixers, strict=True):  # changed only now that everything fits
            setattr(site.owner, site.name, FrameAttention(getattr(site.owner, site.name), mixer, site, steps))
        if tubelet > 1:
            owner, name = first_conv(image_model)
            setattr(owner, name, inflate(getattr(owner, name), tubelet))
        self.clip_shape = (channels, frames, *size)
        wanted = variant.temporal_position if temporal_position is None else temporal_position
        self.temporal_embed = self._add_temporal_embed() if wanted else None

    def sites(self) -> Iterator[Site]:
        """The image model's attentions, in the order in which tokens pass them."""
        raise NotImplementedError

    def check_convertible(self) -> None:
        """Raise an `InputError` that says why, if this member of the family cannot be converted."""

    @property
    def stem(self) -> nn.Module:
        """The module after which a temporal position is added."""
        return self.image_model.patch_embed

    def _add_temporal_embed(self) -> nn.Parameter:
        *_, last = self.stem.parameters()  # a norm's or a convolution's: one row per channel
        embed = nn.Parameter(last.new_zeros(self.steps, last.shape[0]))  # zeros: at first the image model
        self.stem.register_forward_hook(self._with_time)
        return embed

    def _with_time(self, stem: nn.Module, inputs: Any, x: Tensor) -> Tensor:
        embed = self.temporal_embed
        assert embed is not None
        shape = (self.steps, -1, 1, 1) if self.stem_channels_first else (self.steps, *[1] * (x.ndim - 2), -1)
        return (x.reshape(-1, self.steps, *x.shape[1:]) + embed.view(shape)).reshape(x.shape)

    # ------------------------------------------------------------------ forward

    def images(self, clip_BCTHW: Tensor) -> Tensor:
        check_clip(clip_BCTHW, self.clip_shape, next(self.parameters()))
        return fold_tubelets(clip_BCTHW, self.tubelet)

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        """Clip → the image model's features, (B, T, …)."""
        x = self.image_model.forward_features(self.images(clip_BCTHW))
        return x.reshape(-1, self.steps, *x.shape[1:])

    def forward_head(self, x_BT: Tensor, pre_logits: bool = False) -> Tensor:
        """Features (B, T, …) → logits (B, num_classes), or pooled features (B, C) with `pre_logits`."""
        x = self.image_model.forward_head(x_BT.flatten(0, 1), pre_logits=True)
        if x.ndim > 2:  # global_pool="": what timm gives of an image, for every frame
            if self.num_classes and not pre_logits:
                raise InputError('a classifier needs pooled features: with global_pool="", num_classes is 0')
            return x.reshape(-1, self.steps, *x.shape[1:])
        x = x.reshape(-1, self.steps, x.shape[-1]).mean(1)
        return x if pre_logits else self.get_classifier()(x)

    # ------------------------------------------------------------------ closed form

    def attendings(self) -> Iterator[Attending]:
        for site in self.sites():
            regrouped = getattr(site.owner, site.name)
            routes = in_windows(regrouped.mixer.routes(site_grid(site, self.steps)), self.steps, site.windows)
            order = routes.gather.reshape(self.steps, site.windows, -1)
            held = (order >= 0) & self.places(site)
            filled, all_slots = held.sum(-1), held.shape[-1]
            keys = self.keys(regrouped.attention, site)
            pairs = (filled * (filled if keys is None else keys)).sum()
            meetings = Meetings(
                (held.size, int(filled.sum()), int((np.bincount(order[held]) > 0).sum())),
                (held[..., 0].size * all_slots * (keys or all_slots), int(pairs), int(pairs)),
            )
            per_slot, per_pair, scores = self.widths(regrouped.attention)
            fused = getattr(regrouped.attention, "fused_attn", True)
            yield Attending(meetings, per_slot, per_pair, scores, fused=fused)

    def attention_macs(self) -> int:
        """Multiply-adds of all of them."""
        return sum(one.total for one in self.attendings())

    def places(self, site: Site) -> np.ndarray:
        """Which places of each window lie on the map: bool (windows, places)."""
        return np.ones((site.windows, site.height * site.width + site.prefix), bool)

    def keys(self, attention: Any, site: Site) -> int | None:
        """How many keys every query of a map meets; None: as many as there are queries."""
        return None

    def widths(self, attention: Any) -> tuple[int, int, int]:
        """Multiply-adds per token (projections), per pair (products), and of these the scores'."""
        width = attention.proj.in_features
        return linear_macs(attention), 2 * width, width


class FrameAttention(nn.Module):
    """An image model's attention on frames mixed in time; (B·T·windows, …) to the same shape.

    Tokens are whatever stands between the first axis and the channels; further arguments (a map's
    size, a shared bias) go to the attention as they are.
    """

    order: Tensor
    inverse: Tensor

    def __init__(self, attention: nn.Module, mixer: Mixer, site: Site, steps: int) -> None:
        super().__init__()
        self.attention, self.mixer, self.site_windows, self.steps = attention, mixer, site.windows, steps
        routes = in_windows(mixer.routes(site_grid(site, steps)), steps, site.windows)
        self.in_order, self.permutes = routes.is_identity, routes.is_permutation
        device = next(attention.parameters()).device
        self.register_buffer("order", torch.from_numpy(routes.gather.ravel()).to(device), persistent=False)
        self.register_buffer("inverse", torch.from_numpy(routes.scatter).to(device), persistent=False)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        shape = x.shape
        if self.mixer.before is not None:
            clips = x.reshape(-1, self.steps, x.shape[1:-1].numel() * self.site_windows, shape[-1])
            x = self.mixer.before(clips, getattr(self.attention, "num_heads", 1)).reshape(shape)
        y = self.attention(self.rearrange(x, self.order, self.inverse), *args, **kwargs)
        return self.rearrange(y, self.inverse, self.order)

    def rearrange(self, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        if self.in_order:
            return x
        tokens = x.reshape(-1, len(self.order), x.shape[-1])
        return rearrange_tokens(tokens, index, inverse, self.permutes).reshape(x.shape)


# ---------------------------------------------------------------------- which variants fit


def site_grid(site: Site, steps: int) -> Grid:
    """The tokens of one window (or frame) over time."""
    return Grid(steps, site.height, site.width, site.prefix)


def in_windows(routes: Routes, steps: int, windows: int) -> Routes:
    """Routes of one window, repeated for all windows of tokens ordered (t, window, place)."""
    if windows == 1:
        return routes
    places = routes.scatter.size // steps

    def spread(index: np.ndarray) -> np.ndarray:
        t, place = np.divmod(index.reshape(steps, 1, places), places)
        moved = (t * windows + np.arange(windows)[:, None]) * places + place
        return np.where(index.reshape(steps, 1, places) >= 0, moved, -1)

    return Routes(spread(routes.gather).reshape(steps * windows, places), spread(routes.scatter).ravel())


def fitting_mixer(variant: Variant, site: Site, index: int, depth: int, steps: int, model: Any) -> Mixer:
    """The one mixer of a variant's block, if its groups are frames with every token at its place.

    Raises:
        InputError: they are not; it names the variants that fit.
    """
    mixers = variant.placed(index, depth)
    if changes_head(variant) or len(mixers) != 1 or not is_framewise(mixers[0], site_grid(site, steps)):
        fitting = [name for name, cls in variants().items() if _fits(cls(), steps)]
        raise InputError(
            f"{variant.name} lets tokens of other places or its own extra steps in, but the attention of "
            f"{type(model.image_model).__name__} takes a whole frame or window; variants that fit: {', '.join(fitting)}"
        )
    return mixers[0]


def is_framewise(mixer: Mixer, grid: Grid) -> bool:
    """Whether every group is a frame in which each token stands at its own place."""
    known = {"routes", "before", "content_from"}
    plain = mixer.is_partition and all(
        getattr(mixer, field.name) == field.default for field in dataclasses.fields(mixer) if field.name not in known
    )
    routes = mixer.routes(grid)
    gather = routes.gather
    if not plain or routes.regions is not None or gather.shape != (grid.frames, grid.per_frame):
        return False
    return bool(np.all((gather < 0) | (gather % grid.per_frame == np.arange(grid.per_frame))))


def changes_head(variant: Variant) -> bool:
    """Whether it puts a module of its own behind the blocks, or needs class tokens to move."""
    return type(variant).after is not Variant.after or variant.needs_class_token


def _fits(variant: Variant, steps: int) -> bool:
    # Judged on a clip long enough for every pattern, so that the list does not depend on the frames.
    grid = Grid(max(steps, 32), 2, 3)
    blocks = [variant.block(index, 4) for index in range(4)]
    return not changes_head(variant) and all(len(mixers) == 1 and is_framewise(mixers[0], grid) for mixers in blocks)


# ---------------------------------------------------------------------- reading an image model


def input_size(image_model: Any) -> tuple[int, tuple[int, int]]:
    """(channels, (height, width)) of the images that a timm model is made for."""
    size = getattr(image_model, "img_size", None) or getattr(
        getattr(image_model, "patch_embed", None), "img_size", None
    )
    size = size or image_model.pretrained_cfg["input_size"][1:]
    owner, name = first_conv(image_model)
    height, width = size
    return getattr(owner, name).in_channels, (height, width)


def first_conv(image_model: nn.Module) -> tuple[nn.Module, str]:
    """The convolution that sees pixels: the module that holds it, and its name there."""
    for path, module in image_model.named_modules():
        if isinstance(module, nn.Conv2d):
            owner, _, name = path.rpartition(".")
            return image_model.get_submodule(owner), name
    raise InputError(f"{type(image_model).__name__} has no convolution that sees pixels, so no tubelets either")
