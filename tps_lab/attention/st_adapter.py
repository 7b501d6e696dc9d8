"""ST-Adapter: a frozen image model with small convolutions over time. A control: no attention along time.

Source: Pan et al., NeurIPS 2022, arXiv 2206.13559, and linziyi96/st-adapter. Before the attention of every block a
bottleneck of half the channels with a depthwise convolution over (t, h, w) is added to the patches; its kernel, 3
frames and 1×1 patches, starts at zero. Cost O(N²T) and C² + 3·C/2 multiply-adds per patch. Frozen, it
makes sense only with trained image weights. The code freezes the last norm too; here it learns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class STAdapter(ScheduledVariant):
    """A small convolution mixes each patch with its place in the frames before and after, then it attends to its frame
    with frozen weights. The convolutions, the last norm and the classifier learn; with frozen=false all weights do.
    """

    name, title = "st-adapter", "ST-Adapter"
    rank, looks = 80, {"": Look("#9c6644", "d", "dashed")}
    stated = (
        "A convolution is no partition: who sees whom and multiply-adds are stated. Of training all weights' count."
    )
    frozen: bool = True

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (Convolved(takes_prefix=True), frame_by_frame)


@dataclass(frozen=True, eq=False)
class Convolved(KernelMixer):
    name = "st-adapter"

    def sees(self, grid: Grid) -> np.ndarray:
        token, patch = np.arange(grid.tokens), grid.coordinates()[1] >= 0
        apart = np.abs(token[:, None] - token)
        return (apart == 0) | ((apart == grid.per_frame) & patch)

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        t = grid.coordinates()[0]
        return [t == t[:, None] + 1]

    def macs(self, grid: Grid, channels: int) -> int:
        return grid.frames * grid.height * grid.width * (2 * channels + 3) * (channels // 2)

    step_macs = macs

    def module(self, attention: Any, grid: Grid) -> Any:
        from tps_lab.attention._adapters import ConvolutionAdapter, weight_of

        return ConvolutionAdapter(weight_of(attention, self.name), grid, 2, (3, 1, 1))

    def step(self, block: Any, grid: Grid) -> Any:
        return self.module(block.attn, grid)
