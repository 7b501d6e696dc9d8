"""Factorised self-attention: within the frame, then along time, in every block (ViViT's model 3).

Source: Arnab et al. (ViViT), ICCV 2021, arXiv 2103.15691, section 3.3, model 3, and section 3.4: the
temporal attention starts at zero, so that a block with image weights computes at first what the
image model's did. Read word for word, with all of its weights zero, no gradient would ever reach
them; here its output projection is zero and the rest are copies of the spatial ones, which the
released code can load there. That code takes both orders; the paper says that they do equally well.

It differs from divided attention in the order, and in having no linear layer behind the temporal
attention. ViViT's model 3 has no class token; where the image model has one, it joins every group of
both steps and its copies are averaged: sitting out, it would learn nothing of the last step in time.
Cost O(N²T + T²N).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from tps_lab.attention._core import Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._look import Look
from tps_lab.attention.divided import along_time


@dataclass(frozen=True)
class FactorisedSelf(ScheduledVariant):
    """Each patch attends to the patches of its own frame, then, with weights of its own, to the
    patches at its own place in all frames.

    The group of token (t, h, w) is t, then (h, w).

    Args:
        order: "space-time" (the paper's formula) or "time-space" (its code's default).
    """

    name = "factorised-self"
    title = "Factorised self-attention"
    rank, looks = 150, {"": Look("#66a61e", "^", "dotted")}
    temporal_position = True
    prefix_of = "clip"

    order: Literal["space-time", "time-space"] = "space-time"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        place: Literal["before", "after"] = "after" if self.order == "space-time" else "before"
        return (dataclasses.replace(along_time, place=place, output="projection", takes_prefix=True), frame_by_frame)
