"""MaxViT as a video model: block and grid attention, per mixed window.

Source: Tu et al., "MaxViT: Multi-Axis Vision Transformer", ECCV 2022, arXiv 2204.01697; timm's
`maxvit_*`. Each block is a convolution, attention inside windows, then attention over a grid of
patches spread across the whole map. A pattern's tile is laid over the window's places, and over
the grid's places, so in grid attention neighbours in the tile are far apart in the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from tps_lab.backbones._framewise import FramewiseModel, Site
from tps_lab.backbones._macs import conv_macs, convs_macs, linear_macs, strided
from tps_lab.errors import InputError


class VideoMaxViT(FramewiseModel):
    """timm's MaxxVit in its MaxViT form, frame by frame."""

    stem_channels_first = True
    timm_names = r"(test_)?maxvit_(?!tiny_pm)|test_maxvit"

    @property
    def stem(self) -> nn.Module:
        return self.image_model.stem

    def check_convertible(self) -> None:
        from timm.models.maxxvit import MaxxVitBlock, MbConvBlock

        for block in self.blocks():
            if type(block) is not MaxxVitBlock or not isinstance(block.conv, MbConvBlock) or block.nchw_attn:
                parts = " of ".join(dict.fromkeys([type(block).__name__, type(getattr(block, "conv", block)).__name__]))
                raise InputError(
                    f"of the MaxxVit models only MaxViT can be converted (MbConvBlock, then channels-last block "
                    f"and grid attention); this one has {parts}: try one of the timm names maxvit_*"
                )

    def blocks(self) -> Iterator[Any]:
        for stage in self.image_model.stages:
            yield from stage.blocks

    def maps(self) -> Iterator[tuple[Any, int, int]]:
        """Each block with the height and width of its output map."""
        height, width = (strided(side, 2) for side in self.image_size)
        for stage in self.image_model.stages:
            height, width = strided(height, 2), strided(width, 2)
            for block in stage.blocks:
                yield block, height, width

    def partitions(self) -> Iterator[tuple[Any, int, int, int]]:
        """Each partition attention with its window's height and width, and the windows per frame."""
        for block, height, width in self.maps():
            for part in (block.attn_block, block.attn_grid):
                if part is None:
                    continue
                h, w = part.partition_size
                if height % h or width % w:
                    raise InputError(f"windows of {h}×{w} do not divide a map of {height}×{width}: choose another size")
                yield part, h, w, height * width // (h * w)

    def sites(self) -> Iterator[Site]:
        for part, height, width, windows in self.partitions():
            yield Site(part, "attn", height, width, windows)

    def closed_form_macs(self) -> dict[str, int]:
        model = self.image_model
        height, width = before = [strided(side, 2) for side in self.image_size]
        convolutions, mlp, bias = convs_macs(model.stem, height, width), 0, 0
        for block, height, width in self.maps():
            convolutions += _mbconv_macs(block.conv, before, (height, width))
            before = [height, width]
        for part, h, w, windows in self.partitions():
            mlp += windows * h * w * linear_macs(part.mlp)
            bias += sum(_bias_macs(part.attn.attention.rel_pos))
        head = linear_macs(model.head) - linear_macs(self.get_classifier())
        return {
            "convolutions": self.steps * convolutions,
            "attention": self.attention_macs(),
            "mlp": self.steps * mlp,
            "position bias": bias,
            "head": self.steps * head + linear_macs(self.get_classifier()),
        }

    def macs_without_input_gradient(self) -> int:
        biases = (_bias_macs(part.attn.attention.rel_pos) for part, *_ in self.partitions())
        return super().macs_without_input_gradient() + sum(first for first, _ in biases)

    def widths(self, attention: Any) -> tuple[int, int, int]:
        width = attention.num_heads * attention.dim_head
        return linear_macs(attention.qkv) + linear_macs(attention.proj), 2 * width, width


def _bias_macs(rel_pos: Any) -> tuple[int, int]:
    """Of a position bias, worked out once for all windows and frames: whose input wants no gradient, and the rest.

    The `rmlp` models have a network from offsets to biases. The `tf` models look up a table's rows and columns by
    products with matrices of zeros and ones. The others index a table, without a multiply-add.
    """
    if not hasattr(rel_pos, "height_lookup") and not hasattr(rel_pos, "mlp"):
        return 0, 0
    h, w = rel_pos.window_size
    rows, columns = 2 * h - 1, 2 * w - 1
    if hasattr(rel_pos, "mlp"):
        first = rows * columns * linear_macs(rel_pos.mlp.fc1)
        return first, rows * columns * linear_macs(rel_pos.mlp.fc2)
    return rel_pos.num_heads * columns * h**2 * (rows + w**2), 0


def _mbconv_macs(block: Any, before: list[int], after: tuple[int, int]) -> int:
    """One inverted bottleneck, wherever among pooling and its convolutions the stride sits."""
    pooled = not isinstance(block.down, nn.Identity)
    first = after if pooled or block.conv1_1x1.stride[0] > 1 else before
    total = conv_macs(block.conv1_1x1, *first) + conv_macs(block.conv2_kxk, *after)
    total += conv_macs(block.conv3_1x1, *after) + convs_macs(block.shortcut, *after)
    return total + sum(convs_macs(gate, 1, 1) for gate in (block.se, block.se_early) if gate is not None)
