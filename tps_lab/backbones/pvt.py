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
        embedding, attention, mlp = conv_macs(model.patch_embed.proj, height, width), 0, 0
        for stage, height, width in self.stages():
            n = height * width
            if stage.downsample is not None:
                embedding += conv_macs(stage.downsample.proj, height, width)
            for block in stage.blocks:
                attn = block.attn.attention
                kh, kw = height, width
                if attn.pool is not None:
                    kh = kw = 7
                elif attn.sr is not None:
                    kh, kw = height // attn.sr.stride[0], width // attn.sr.stride[1]
                attention += n * (linear_macs(attn.q) + linear_macs(attn.proj)) + kh * kw * linear_macs(attn.kv)
                attention += conv_macs(attn.sr, kh, kw) if attn.sr is not None else 0
                attention += 2 * n * kh * kw * attn.dim
                mlp += n * linear_macs(block.mlp) + conv_macs(block.mlp.dwconv, height, width)
        return {
            "patch embeddings": self.steps * embedding,
            "attention": self.steps * attention,
            "mlp": self.steps * mlp,
            "head": linear_macs(self.get_classifier()),
        }

    def keys(self, attention: Any, site: Site) -> int:
        if attention.pool is not None:
            return 49
        if attention.sr is None:
            return site.height * site.width
        return (site.height // attention.sr.stride[0]) * (site.width // attention.sr.stride[1])

    def widths(self, attention: Any) -> tuple[int, int, int]:
        # keys and values are projected from the reduced map, not for every token
        return linear_macs(attention.q) + linear_macs(attention.proj), 2 * attention.dim, attention.dim
