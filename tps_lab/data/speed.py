"""`speed`: a digit goes round a ring of T places. How many places per frame?

::

    place of the digit in frame   0  1  2  3  4  5  6  7
    speed 1                       0  1  2  3  4  5  6  7
    speed 3                       0  3  6  1  4  7  2  5

A speed that has no divisor in common with T visits every place exactly once, so all speeds show the
same T frames and only their order differs: order-blind models reach 1/K at most, with K speeds. Half
of the scenes go round the other way. Neighbouring frames show the step: the task needs a reach of 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch


@dataclass(frozen=True)
class Speed(Diagnostic):
    """How fast a digit goes round a ring, of up to four speeds that show the same frames. Needs a
    reach of one frame; a model that is blind to frame order scores at most 1 in the number of speeds.
    """

    name, title, reach = "speed", "Speed", 1

    @property
    def speeds(self) -> tuple[int, ...]:
        """Places per frame, slow ones first; past half the ring a speed would look like going back."""
        return tuple(v for v in range(1, (self.frames + 1) // 2) if math.gcd(v, self.frames) == 1)[:4]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"speed {v}" for v in self.speeds)

    @property
    def clips_per_scene(self) -> int:
        return len(self.speeds)

    def check(self) -> None:
        if len(self.speeds) < 2:
            raise InputError(
                f"speed: on a ring of frames={self.frames} places no two speeds visit all; nearest that works: "
                f"{5 if self.frames < 6 else 7}"
            )

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        place = torch.arange(self.frames)
        start, way = draw.whole(0, self.frames, n, 1, 1), 2 * draw.whole(0, 2, n, 1, 1) - 1
        angle = 2 * math.pi * place / self.frames
        x, y, scale = draw.places(n, self.frames, 0.1)
        return Scenes(
            shown=(start + way * torch.tensor(self.speeds)[:, None] * place) % self.frames,
            digit=draw.digits(n, 1).expand(n, self.frames),
            x=x + 0.5 * angle.cos(),
            y=y + 0.5 * angle.sin(),
            scale=0.7 * scale,
        )
