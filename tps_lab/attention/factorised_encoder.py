"""Factorised encoder: frames by themselves, then a transformer over their embeddings (ViViT's model 2).

Source: Arnab et al. (ViViT), ICCV 2021, arXiv 2103.15691, section 3.3, model 2, and its released code
(4 temporal layers in ViViT-B). Blocks are spatial; each frame is normed and pooled as the image
model does, and a transformer of T + 1 tokens (T without a class token) makes one embedding of the
clip. Its layers are like the image model's last block, with weights of their own, Xavier-initialised
as in the released code. Its position embedding stands here, at the frames, not at the patches, and
starts at zero. Cost O(N²T + T²).

Tokens after the blocks are the image model's; logits are not, by definition: new layers follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tps_lab.attention._core import Mixer, Variant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.specs import Limits


@dataclass(frozen=True)
class FactorisedEncoder(Variant):
    """Each patch attends to the patches of its own frame; behind the last block a small transformer
    lets the frames' embeddings attend to each other.

    The group of token (t, h, w) is t.

    Args:
        layers: of the temporal transformer.
    """

    name = "factorised-encoder"
    title = "Factorised encoder"
    rank, looks = 130, {"": Look("#33a02c", "H")}
    temporal_position = True
    stated = (
        "Frames meet behind the blocks only, in a transformer over their embeddings: its multiply-adds are stated, "
        "and who influences whom is derived for the blocks alone."
    )

    limits: ClassVar[Limits] = {"layers": (1, 10_000)}

    layers: int = 4

    def block(self, index: int, depth: int, stage: int | None = None) -> tuple[Mixer, ...]:
        return (frame_by_frame,)

    def after(self, image_model: Any, grid: Grid) -> Any:
        from tps_lab.attention._frame_transformer import FrameTransformer

        return FrameTransformer(image_model, self.layers, grid.frames)
