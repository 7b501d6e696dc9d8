"""MEM: values pass along time first, then within the frame, with one set of queries and keys.

Source: the video encoder of MEM, arXiv 2603.03596. In every fourth block a patch's value becomes a mean of the values
at its place in its own and all earlier frames, and these are what the frame's patches then attend to; both
softmaxes have the block's own queries and keys, so there is no new parameter. Its fixed embedding of time is left out.
Cost O(NT² + N²T). One frame, or equal frames, give exactly what the image model gives.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention._meetings import Meetings


@dataclass(frozen=True)
class Mem(ScheduledVariant):
    """Each patch first takes in the values at its place in earlier frames, then attends to the patches of its own
    frame; never to a later one. A model of fewer than `every` blocks does so in its last.
    """

    name, title = "mem", "MEM"
    rank, looks = 100, {"": Look("#2e8b57", "X", "dotted")}
    stated = "Two softmaxes one after the other are no partition: who sees whom and the multiply-adds are stated."

    every: int = 4

    def is_on(self, index: int, depth: int, stage: int | None = None) -> bool:
        return super().is_on(index, depth, stage) or index == depth - 1 < self.every - 1

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (ValuesPassedOn(),)


@dataclass(frozen=True, eq=False)
class ValuesPassedOn(KernelMixer):
    name, macs = "mem", Mixer.macs

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        t, place = np.divmod(np.arange(grid.tokens), grid.per_frame)
        return [(place[:, None] == place) & (t <= t[:, None]), t[:, None] == t]

    def sees(self, grid: Grid) -> np.ndarray:
        return grid.coordinates()[0] <= grid.coordinates()[0][:, None]

    def meetings(self, grid: Grid) -> Meetings:
        t, n = grid.frames, grid.per_frame
        return Meetings((t * n,) * 3, (n * t * t + t * n * n,) * 2 + (n * t * (t + 1) // 2 + t * n * n,))

    def mix(self, module: Any, x_BMC: Any) -> Any:
        frames, (b, _, c) = module.grid.frames, x_BMC.shape
        q, k, v = (part.unflatten(1, (frames, -1)) for part in module.project(x_BMC))  # (B, T, N, heads, d)
        v = module.attend(*(part.transpose(1, 2).flatten(0, 1) for part in (q, k, v)), causal=True)
        v = v.unflatten(0, (b, -1)).transpose(1, 2)
        return module.attend(*(part.flatten(0, 1) for part in (q, k, v))).reshape(b, -1, c)
