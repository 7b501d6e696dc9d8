"""Divided space-time attention (T+S): first along time, then within the frame.

Source: Bertasius et al. (TimeSformer), ICML 2021, arXiv 2102.05095, section 3 and the released
code, from which comes the zero-initialised layer after the temporal attention (so that image
weights are undisturbed at the start). Cost O(T²N + N²T).

In the paper's formula the class token takes part in both steps; in its code it sits out the
temporal one, and is copied to every frame and averaged in the spatial one. `class_token` has both.
The code is the default: it made the published results.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from tps_lab.attention._core import Mixer, PositionedVariant, frame_by_frame
from tps_lab.attention._grid import partition
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class Divided(PositionedVariant):
    """Each patch first attends to the patches at its own place in all frames, with weights of its
    own, then to the patches of its own frame.

    The group of token (t, h, w) is (h, w), then t.

    Args:
        class_token: takes part in the step in "space" (the code) or in "both" steps (the formula); along time it then
            joins every group, and its copies are averaged.
    """

    name = "divided"
    title = "Divided (T+S)"
    rank, looks = 160, {"": Look("#7b3f98", "p", "dashed")}
    windowed = True
    temporal_position = True
    prefix_of = "clip"

    class_token: Literal["space", "both"] = "space"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        over_time = dataclasses.replace(along_time, takes_prefix=self.class_token == "both")
        return self.turned(over_time, frame_by_frame)


along_time = Mixer(lambda grid: partition(grid, lambda t, h, w: h * grid.width + w))
