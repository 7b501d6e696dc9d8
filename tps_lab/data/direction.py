"""`direction`: a digit slides in one of eight directions. Which?

::

    frame   0    1    2    3               0    1    2    3
    right   3··· ·3·· ··3· ···3     left   ···3 ··3· ·3·· 3···

Twins are a clip and its exact reversal, so order-blind models reach 50 % at most. Two neighbouring
frames tell the two apart: the task needs a reach of 1. The axis of the motion shows without time.
"""

from __future__ import annotations

from dataclasses import dataclass

from tps_lab.data._probe import Drawn, Probe, Told

_NAMES = ("right", "left", "down", "up", "right-down", "left-up", "right-up", "left-down")
_STEPS = ((1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.7, -0.7))  # of every first of two opposites


@dataclass(frozen=True)
class Direction(Probe):
    """Which of eight directions a digit slides in. Needs a reach of one frame; a model that is blind
    to frame order scores at most 50 %.
    """

    name, title = "direction", "Direction"
    classes, twins, reach = _NAMES, 2, 1

    def tell(self, n: int, draw: Drawn) -> Told:
        import torch

        axis, time = torch.arange(n) % len(_STEPS), torch.arange(self.frames)
        path = torch.linspace(-0.4, 0.4, self.frames)
        x, y, scale = draw.places(n, self.frames, 0.1)
        steps = torch.tensor(_STEPS)[axis]
        return Told(
            story=torch.stack([time, time.flip(0)]).expand(n, -1, -1),
            digit=draw.digits(n, 1).expand(n, self.frames),
            x=x + steps[:, :1] * path,
            y=y + steps[:, 1:] * path,
            scale=scale,
            labels=torch.stack([2 * axis, 2 * axis + 1], 1),
        )
