"""Factorised dot-product attention: half of the heads look along time, half within the frame.

Source: Arnab et al. (ViViT), ICCV 2021, arXiv 2103.15691, section 3.3, model 4. That the first half
of the heads looks along time is the released code's choice. Parameters are those of the image
model; queries, keys and values are projected once. Cost O(N²T/2 + T²N/2).

ViViT's model 4 has no class token; where the image model has one, it joins every group, in time and
in space, and its copies are averaged. Image weights are not kept, not even for one frame: half of
the heads stop looking around in the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.divided import along_time
from tps_lab.errors import InputError


@dataclass(frozen=True)
class FactorisedDot(ScheduledVariant):
    """In half of the heads each patch attends to the patches at its own place in all frames, in the
    other half to the patches of its own frame, both at once.

    The group of token (t, h, w) is (h, w) in the first half of the heads, t in the second.
    """

    name = "factorised-dot"
    title = "Factorised dot-product"
    rank, looks = 140, {"": Look("#1f6f54", "v", "long")}
    temporal_position = True
    prefix_of = "clip"
    stated = (
        "It is two partitions at once, one for each half of the heads: who sees whom and the multiply-adds are "
        "stated, not derived."
    )

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (HeadsDivided(),)


@dataclass(frozen=True, eq=False)
class HeadsDivided(KernelMixer):
    """Half of the heads along time, half within the frame."""

    name = "factorised-dot"

    def sees(self, grid: Grid) -> np.ndarray:
        return along_time.sees(grid) | frame_by_frame.sees(grid)

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        return [along_time.sees(grid), frame_by_frame.sees(grid)]

    def macs(self, grid: Grid, channels: int) -> int:
        p, t, n = grid.clip_prefix, grid.frames, grid.height * grid.width
        return 4 * grid.tokens * channels**2 + (n * (p + t) ** 2 + t * (p + n) ** 2) * channels

    def check(self, attention: Any) -> None:
        if attention.num_heads % 2:
            raise InputError(f"factorised-dot halves the heads, and this model has {attention.num_heads}")

    def mix(self, module: Any, x_BMC: Any) -> Any:
        import torch

        projected = module.project(x_BMC)
        half = projected[0].shape[2] // 2
        time = self.attend_along(module, 2, [part[:, :, :half] for part in projected])
        space = self.attend_along(module, 1, [part[:, :, half:] for part in projected])
        return torch.cat([time, space], dim=2).flatten(2)

    def attend_along(self, module: Any, dim: int, qkv_BMHD: list[Any]) -> Any:
        """Attention within each entry of `dim`, 1 for frames and 2 for places; (B, M, heads, d) to the same."""
        import torch

        grid, p = module.grid, module.grid.clip_prefix

        def grouped(x_BMHD: Any) -> Any:
            prefix, x = x_BMHD[:, None, :p], x_BMHD[:, p:].unflatten(1, (grid.frames, -1))
            x = x if dim == 1 else x.transpose(1, 2)  # (B, groups, slots, heads, d)
            return torch.cat([prefix.expand(-1, x.shape[1], -1, -1, -1), x], dim=2).flatten(0, 1)

        y = module.attend(*map(grouped, qkv_BMHD)).unflatten(0, (qkv_BMHD[0].shape[0], -1))
        prefix, y = y[:, :, :p].mean(1), y[:, :, p:]
        return torch.cat([prefix, (y if dim == 1 else y.transpose(1, 2)).flatten(1, 2)], dim=1)
