"""`direction`: a digit slides in one of eight directions. Which?

::

    frame   0    1    2    3               0    1    2    3
    right   3··· ·3·· ··3· ···3     left   ···3 ··3· ·3·· 3···

The two clips of a scene are each other's exact reversal, so order-blind models reach 50 % at most. Two neighbouring
frames tell the two apart: the task needs a reach of 1. The axis of the motion shows without time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.specs import Limits

if TYPE_CHECKING:
    from torch import Tensor

_NAMES = ("right", "left", "down", "up", "right-down", "left-up", "right-up", "left-down")
_WHOLLY_OUT = 1.65  # from the middle of the picture, in halves of it: where no part of the largest digit is seen
_STEPS = ((1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.7, -0.7))  # of every first of two opposites


@dataclass(frozen=True)
class Direction(Diagnostic):
    """Which of eight directions a digit slides in. Needs a reach of one frame; a model that is blind
    to frame order scores at most 50 %.

    Args:
        step: pixels from one frame to the next; what leaves the picture comes in again on the other side.
            0: from one side of the middle to the other in the time of the clip.
    """

    name, title = "direction", "Direction"
    classes, clips_per_scene, reach = _NAMES, 2, 1

    limits: ClassVar[Limits] = {"step": (0, 4_096)}

    step: float = 0.0

    def check(self) -> None:
        if self.step > self.size:
            raise InputError(f"direction: step must be 0 to size={self.size} pixels, got {self.step}")

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        axis, time = torch.arange(n) % len(_STEPS), torch.arange(self.frames)
        path = torch.linspace(-0.4, 0.4, self.frames)
        x, y, scale = draw.places(n, self.frames, 0.1)
        steps = torch.tensor(_STEPS)[axis]
        if self.step:
            path = 2 * self.step / self.size * (time - draw.uniform(0, self.frames - 1, n, 1))
            x, y = (_again(start + steps[:, i, None] * path) for i, start in enumerate((x, y)))
            steps = torch.zeros_like(steps)
        return Scenes(
            shown=torch.stack([time, time.flip(0)]).expand(n, -1, -1),
            digit=draw.digits(n, 1).expand(n, self.frames),
            x=x + steps[:, :1] * path,
            y=y + steps[:, 1:] * path,
            scale=scale,
            labels=torch.stack([2 * axis, 2 * axis + 1], 1),
        )


def _again(place: Tensor) -> Tensor:
    """What has wholly left the picture on one side comes in on the other."""
    return (place + _WHOLLY_OUT) % (2 * _WHOLLY_OUT) - _WHOLLY_OUT
