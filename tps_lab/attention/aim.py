"""AIM: a frozen image model whose own attention is used once more, along time; only adapters learn.

Source: Yang et al., ICLR 2023, arXiv 2302.03024, and taoyang1122/adapt-image-models. In every block the attention, its
weights unchanged, first runs over a patch's place in all frames, with an adapter behind it that starts at zero; then
over the frame, with an adapter behind; and half of an adapter's result is added beside the MLP. Cost O(NT² + N²T).
Frozen, it makes sense only with trained image weights.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid, Routes
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class AIM(ScheduledVariant):
    """Each patch attends to its place in all frames, then to its frame, with the same frozen weights. Small adapters
    behind both and beside the MLP learn, as do the last norm and the classifier; with frozen=false all weights do.
    """

    name, title, temporal_position = "aim", "AIM", True
    rank, looks = 110, {"": Look("#556b2f", "P", "dashed")}
    stated = "Adapters stand beside its two partitions: their multiply-adds are stated. Of training all weights' count."
    frozen: bool = True

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (Again(at_its_place, takes_prefix=True), InFrame(frame_by_frame.routes))


class Again(Mixer):
    def step_macs(self, grid: Grid, channels: int) -> int:
        return self.macs(grid, channels) + 2 * grid.tokens * channels * (channels // 4)

    def step(self, block: Any, grid: Grid) -> Any:
        from tps_lab.attention._adapters import Adapter, AdapterBeside, AttentionAgain, weight_of

        like = weight_of(block.attn, "aim")
        block.mlp = AdapterBeside(block.mlp, Adapter(like, 4))  # counted with the MLP
        return AttentionAgain(block, self, grid, Adapter(like, 4))


class InFrame(Mixer):
    def macs(self, grid: Grid, channels: int) -> int:
        return super().macs(grid, channels) + 2 * grid.tokens * channels * (channels // 4)

    def module(self, attention: Any, grid: Grid) -> Any:
        from tps_lab.attention._adapters import Adapter, AdapterBehind, weight_of

        return AdapterBehind(super().module(attention, grid), Adapter(weight_of(attention, "aim"), 4))


def at_its_place(grid: Grid) -> Routes:
    places = np.arange(grid.tokens).reshape(grid.frames, -1).T  # class tokens of the frames are a place, too
    return Routes(places, np.argsort(places.ravel()))
