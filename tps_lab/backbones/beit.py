"""BEiT as a video model: a plain ViT whose attention has a bias for every pair of places.

Source: Bao et al., "BEiT", ICLR 2022, arXiv 2106.08254; timm's `beit_*` and `beitv2_*`. The table
knows (Δh, Δw) and the class token, not time. Patches keep their place when they are shifted, so
the bias of a mixed frame is that of the image, and nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterator

from tps_lab.backbones._framewise import FramewiseModel, Site
from tps_lab.backbones._macs import conv_macs, linear_macs


class VideoBEiT(FramewiseModel):
    """timm's Beit, frame by frame, each with its own class token."""

    def sites(self) -> Iterator[Site]:
        height, width = self.image_model.patch_embed.grid_size
        for block in self.image_model.blocks:
            yield Site(block, "attn", height, width, prefix=1)

    def closed_form_macs(self) -> dict[str, int]:
        model = self.image_model
        height, width = model.patch_embed.grid_size
        n = height * width + 1
        return {
            "patch embedding": self.steps * conv_macs(model.patch_embed.proj, height, width),
            "attention": self.attention_macs(),
            "mlp": self.steps * n * sum(linear_macs(block.mlp) for block in model.blocks),
            "head": linear_macs(self.get_classifier()),
        }
