"""Adapters: small layers that learn beside frozen image weights. Torch.

Every one starts with a last layer of zeros (of its convolution, for ST-Adapter), so that the model begins as what it
would be without it.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from tps_lab.attention._core import Mixer
from tps_lab.attention._grid import Grid
from tps_lab.attention._modules import Regrouping
from tps_lab.errors import InputError


def weight_of(attention: Any, name: str) -> Tensor:
    """Of the queries, keys and values, whose width, type and device an adapter takes.

    Raises:
        InputError: `attention` is not timm's plain one.
    """
    if not isinstance(attention, Attention):
        raise InputError(f"{name} adapts timm's Attention (ViT, DeiT, CLIP, DINOv2); this model has another one")
    weight: Tensor = attention.qkv.weight
    return weight


class Adapter(nn.Module):
    """Down to a few channels, a non-linearity, up again; (…, C) to the same."""

    def __init__(self, like: Tensor, reduction: int) -> None:
        super().__init__()
        channels, made = like.shape[1], {"device": like.device, "dtype": like.dtype}
        self.down = nn.Linear(channels, channels // reduction, **made)  # type: ignore[arg-type]
        self.act = nn.GELU()
        self.up = nn.Linear(channels // reduction, channels, **made)  # type: ignore[arg-type]
        for part in self.up.parameters():
            nn.init.zeros_(part)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.act(self.down(x)))


class ConvolutionAdapter(nn.Module):
    """x + up(conv(down(x))) on the patches of a clip, conv depthwise over (t, h, w); prefix tokens stay as they are."""

    def __init__(self, like: Tensor, grid: Grid, reduction: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid = grid
        channels, inside = like.shape[1], like.shape[1] // reduction
        made: Any = {"device": like.device, "dtype": like.dtype}
        self.down, self.up = nn.Linear(channels, inside, **made), nn.Linear(inside, channels, **made)
        padding = tuple(side // 2 for side in kernel)
        self.conv = nn.Conv3d(inside, inside, kernel, padding=padding, groups=inside, **made)  # type: ignore[arg-type]
        for part in (self.conv.weight, self.conv.bias, self.down.bias, self.up.bias):
            if part is not None:
                nn.init.zeros_(part)

    def forward(self, x_BMC: Tensor, **rotation: Tensor) -> Tensor:
        grid, p = self.grid, self.grid.per_frame - self.grid.height * self.grid.width
        x = x_BMC.unflatten(1, (grid.frames, grid.per_frame))
        prefix, patches = x[:, :, :p], x[:, :, p:].unflatten(2, (grid.height, grid.width))
        mixed = self.conv(self.down(patches).permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return torch.cat([prefix, (patches + self.up(mixed)).flatten(2, 3)], dim=2).flatten(1, 2)


class AttentionAgain(Regrouping):
    """x + adapter(attention(norm(x))) in a mixer's groups, with the block's own norm and attention: no copies."""

    def __init__(self, block: Any, mixer: Mixer, grid: Grid, adapter: Adapter) -> None:
        super().__init__(mixer, grid, mixer.mask(grid), block.attn.qkv.weight.device)
        self.adapter = adapter
        self._of_the_block = [block.norm1, block.attn]  # in a list, so that their weights stand in one place only

    @property
    def attention(self) -> Any:
        return self._of_the_block[1]

    def forward(self, x_BMC: Tensor, **rotation: Tensor) -> Tensor:
        b, m, c = x_BMC.shape
        norm, attention = self._of_the_block
        y = self.rearrange(norm(x_BMC), self.order, self.inverse).reshape(b * self.groups, self.slots, c)
        return x_BMC + self.adapter(self.rearrange(attention(y).reshape(b, m, c), self.inverse, self.order))


class AdapterBehind(nn.Module):
    """y + adapter(y) of what a module gives."""

    def __init__(self, module: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.module, self.adapter = module, adapter

    def forward(self, x: Tensor, **rotation: Tensor) -> Tensor:
        y = self.module(x, **rotation)
        return y + self.adapter(y)


class AdapterBeside(nn.Module):
    """What a module gives, and half of what an adapter makes of the same input."""

    def __init__(self, module: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.module, self.adapter = module, adapter

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x) + 0.5 * self.adapter(x)


def freeze(model: Any) -> None:
    """Leave only adapters, the last norm, the classifier and a temporal embedding to learn."""
    image_model = model.image_model
    image_model.requires_grad_(False)
    ends = [model.get_classifier(), *(getattr(image_model, name, None) for name in ("norm", "fc_norm", "head_dist"))]
    learning = [part for part in model.modules() if isinstance(part, (Adapter, ConvolutionAdapter))]
    for part in [*learning, *(end for end in ends if end is not None)]:
        part.requires_grad_(True)
