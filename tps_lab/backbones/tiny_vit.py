"""TinyViT as a video model: convolutions and window attention, per mixed window.

Source: Wu et al., "TinyViT", arXiv 2207.10666; timm's `tiny_vit_*`. The first stage is of
convolutions only; the others attend in fixed windows (7 or 14 patches wide, maps padded with zeros
where windows do not divide them). As in the released code of TPS for Swin, a pattern's tile starts
again in every window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from timm.models.tiny_vit import Attention
from torch import Tensor, device

from tps_lab.backbones._framewise import FramewiseModel, Site
from tps_lab.backbones._macs import conv_macs, convs_macs, linear_macs, strided


class VideoTinyViT(FramewiseModel):
    """timm's TinyVit, frame by frame."""

    stem_channels_first = True

    def check_convertible(self) -> None:
        for site in self.sites():
            site.owner.attn.__class__ = UncachedAttention

    def stages(self) -> Iterator[tuple[Any, int, int]]:
        """Each stage with attention, with the height and width of its map."""
        height, width = (strided(side, 4) for side in self.image_size)
        for stage in self.image_model.stages[1:]:
            height, width = strided(height, 2), strided(width, 2)
            yield stage, height, width

    def sites(self) -> Iterator[Site]:
        for stage, height, width in self.stages():
            for block in stage.blocks:
                m = block.window_size
                yield Site(block, "attn", m, m, windows=strided(height, m) * strided(width, m))

    def closed_form_macs(self) -> dict[str, int]:
        model = self.image_model
        half = [strided(side, 2) for side in self.image_size]
        quarter = [strided(side, 4) for side in self.image_size]
        stem = conv_macs(model.patch_embed.conv1.conv, *half) + conv_macs(model.patch_embed.conv2.conv, *quarter)
        convolutions, mlp = stem + convs_macs(model.stages[0], *quarter), 0
        before = quarter
        for stage, height, width in self.stages():
            merge = stage.downsample
            convolutions += conv_macs(merge.conv1.conv, *before)
            convolutions += conv_macs(merge.conv2.conv, height, width) + conv_macs(merge.conv3.conv, height, width)
            for block in stage.blocks:
                convolutions += convs_macs(block.local_conv, height, width)
                mlp += height * width * linear_macs(block.mlp)
            before = [height, width]
        return {
            "convolutions": self.steps * convolutions,
            "attention": self.attention_macs(),
            "mlp": self.steps * mlp,
            "head": linear_macs(self.get_classifier()),
        }

    def places(self, site: Site) -> np.ndarray:
        m: int = site.owner.window_size  # type: ignore[assignment]
        height, width = next(size[1:] for size in self.stages() if any(site.owner is block for block in size[0].blocks))
        rows, columns = strided(height, m), strided(width, m)
        on_map = np.zeros((rows * m, columns * m), bool)
        on_map[:height, :width] = True
        return on_map.reshape(rows, m, columns, m).swapaxes(1, 2).reshape(rows * columns, m * m)

    def widths(self, attention: Any) -> tuple[int, int, int]:
        heads, key, value = attention.num_heads, attention.key_dim, attention.val_dim
        return linear_macs(attention), heads * (key + value), heads * key


class UncachedAttention(Attention):
    """timm's attention without its cache of the bias.

    In eval mode timm keeps the gathered bias: a tensor with a gradient, which outlives a
    `load_state_dict` and a backward pass, cannot be copied, and under export would be a fake one.
    """

    def get_attention_biases(self, device: device) -> Tensor:
        index: Any = self.attention_bias_idxs
        return self.attention_biases[:, index]
