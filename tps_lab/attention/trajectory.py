"""Trajectory attention: a patch finds its match in every frame, then attends along the path of these matches.

Source: Patrick et al. (Motionformer), NeurIPS 2021, arXiv 2106.05392, section 3 and its released
code. Per query (s, t) a softmax over the patches of each frame t' gives a trajectory ỹ(s, t, t');
then attention along it, over t', with a query projected from ỹ(s, t, t). Cost O(N²T² + T²N·C): that
of joint attention, and projections of every point of every trajectory. The paper's approximation
(Orthoformer) is left out.

The paper projects the values of the second attention; its code, by what it calls a typo, does not.
`values` offers both. The formula is the default, and its projection starts as the identity, so that
equal frames at first give what the image model gives. With a class token they do not: as in the
code, patches do not see it, and it sees the patches as they were, not their trajectories. So in the
last block, a model that reads out its class token makes no use of the added projections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tps_lab.attention._core import KernelMixer, Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class Trajectory(ScheduledVariant):
    """Each patch looks for its match in each frame separately, then attends along the path of these matches.

    Args:
        values: the second attention adds up points of the path "projected" (the paper's formula)
            or as they are, "plain" (the code that made the results).
    """

    name = "trajectory"
    title = "Trajectory"
    rank, looks = 260, {"": Look("#e31a1c", "D", "dashed")}
    temporal_position = True
    prefix_of = "clip"
    stated = (
        "Its two softmaxes are nested, so it is no partition: who sees whom and the multiply-adds are stated, not "
        "derived."
    )

    values: Literal["projected", "plain"] = "projected"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (AlongTrajectories(projected=self.values == "projected"),)


@dataclass(frozen=True, eq=False)
class AlongTrajectories(KernelMixer):
    """Attention within each frame, then over the frames' answers."""

    name = "trajectory"

    projected: bool = True

    def sees(self, grid: Grid) -> np.ndarray:
        seen = np.ones((grid.tokens, grid.tokens), bool)
        seen[grid.clip_prefix :, : grid.clip_prefix] = False
        return seen

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        return [frame_by_frame.sees(grid)]

    def macs(self, grid: Grid, channels: int) -> int:
        m, p, t = grid.tokens, grid.clip_prefix, grid.frames
        patches = m - p
        points = patches * t
        linear = 4 * m + patches + points * (2 if self.projected else 1)
        return linear * channels**2 + 2 * (p * m + patches**2 + points) * channels

    def layers(self, attention: Any) -> dict[str, Any]:
        import torch
        from torch import nn

        def linear() -> nn.Linear:
            weight, bias = attention.qkv.weight, attention.qkv.bias is not None
            layer = nn.Linear(weight.shape[1], weight.shape[1], bias, device=weight.device, dtype=weight.dtype)
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if bias:
                nn.init.zeros_(layer.bias)
            return layer

        layers = {"query": linear(), "key": linear()}
        if self.projected:
            layers["value"] = linear()
            with torch.no_grad():
                nn.init.eye_(layers["value"].weight)
        return layers

    def mix(self, module: Any, x_BMC: Any) -> Any:
        import torch

        grid, p, b = module.grid, module.grid.clip_prefix, x_BMC.shape[0]
        q, k, v = module.project(x_BMC)
        heads = q.shape[2:]
        # Every query in every frame: (B·T', T·S, heads, d) to (B·T', S, heads, d).
        asked = q[:, None, p:].expand(-1, grid.frames, -1, -1, -1).flatten(0, 1)
        k_F, v_F = (part[:, p:].unflatten(1, (grid.frames, -1)).flatten(0, 1) for part in (k, v))
        path = module.attend(asked, k_F, v_F).flatten(2).unflatten(0, (b, -1)).transpose(1, 2)  # (B, T·S, T', C)
        own = path.unflatten(1, (grid.frames, -1)).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).flatten(0, 2)

        points = path.flatten(0, 1)  # (B·T·S, T', C)
        values = module.layers["value"](points) if self.projected else points
        query, key = module.layers["query"](own)[:, None], module.layers["key"](points)
        y = module.attend(*(part.unflatten(-1, heads) for part in (query, key, values)))
        y = y.reshape(b, -1, x_BMC.shape[2])
        if not p:
            return y
        return torch.cat([module.attend(q[:, :p], k, v).flatten(2), y], dim=1)
