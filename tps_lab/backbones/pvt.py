"""Pyramid Vision Transformer v2 as a video model: spatial-reduction attention, per mixed frame.

Source: Wang et al., "PVT v2", arXiv 2106.13797; timm's `pvt_v2_b0` to `b5` and the linear `b2_li`.
Queries are a stage's tokens; keys and values come from a map made smaller by a strided convolution
(or, in the linear form, averaged to 7×7). The mixed frame is shifted before that convolution, so
keys and values summarise patches of several frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tps_lab.backbones._framewise import FramewiseModel, Site
from tps_lab.backbones._macs import conv_macs, linear_macs, strided


class VideoPVT(FramewiseModel):
    """timm's PyramidVisionTransformerV2, frame by frame."""

    def stages(self) -> Iterator[tuple[Any, int, int]]:
        """Each stage with the height and width of its map."""
        height, width = (strided(side, 4) for side in self.image_size)
        for stage in self.image_model.stages:
            if stage.downsample is not None:
                height, width = strided(height, 2), strided(width, 2)
            yield stage, height, width

    def sites(self) -> Iterator[Site]:
        for stage, height, width in self.stages():
            for block in stage.blocks:
                yield Site(block, "attn", height, width)

    def closed_form_macs(self) -> dict[str, int]:
        model = self.image_model
        height, width = (strided(side, 4) for side in self.image_size)
        embedding, reduction, mlp = conv_macs(model.patch_embed.proj, height, width), 0, 0
        for stage, height, width in self.stages():
            n = height * width
            if stage.downsample is not None:
                embedding += conv_macs(stage.downsample.proj, height, width)
            for block in stage.blocks:
                attn = block.attn.attention
                kh, kw = self.keys_map(attn, height, width)
                reduction += kh * kw * linear_macs(attn.kv) + (0 if attn.sr is None else conv_macs(attn.sr, kh, kw))
                mlp += n * linear_macs(block.mlp) + conv_macs(block.mlp.dwconv, height, width)
        return {
            "patch embeddings": self.steps * embedding,
            "attention": self.attention_macs() + self.steps * reduction,
            "mlp": self.steps * mlp,
            "head": linear_macs(self.get_classifier()),
        }

    def keys_map(self, attention: Any, height: int, width: int) -> tuple[int, int]:
        """Height and width of the map that keys and values come from."""
        if attention.pool is not None:
            return 7, 7
        down, right = (1, 1) if attention.sr is None else attention.sr.stride
        return height // down, width // right

    def keys(self, attention: Any, site: Site) -> int:
        height, width = self.keys_map(attention, site.height, site.width)
        return height * width

    def widths(self, attention: Any) -> tuple[int, int, int]:
        # keys and values are projected from the reduced map, not for every token
        return linear_macs(attention.q) + linear_macs(attention.proj), 2 * attention.dim, attention.dim
