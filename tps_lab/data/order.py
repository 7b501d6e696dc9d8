"""`order(gap=…)`: two digits light up for one frame each, one of them above and one below. Which first?

::

    gap = 4          frame   0   1   2   3   4   5   6   7
    above first              ·   ·   ³   ·   ·   ·   ₅   ·
    below first              ·   ·   ₅   ·   ·   ·   ³   ·

All other frames are one picture, the empty ground with its noise. The two clips of a scene swap the two lit frames, so
order-blind models reach 50 % at most. Nothing that sees less than `gap` frames at once ever sees
both: a model that treats the clip as a ring then gives both clips exactly the same answer, so the
task needs a reach of `gap`, or of the way round the ring if that is shorter. (If the two ways are
equally long, going round the ring maps one clip onto the other, and no reach is enough.)
"""

from __future__ import annotations

from dataclasses import dataclass

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch


@dataclass(frozen=True)
class Order(Diagnostic):
    """Which of two events came first, `gap` frames apart. Needs a reach of that gap; a model that is
    blind to frame order scores at most 50 %.

    Args:
        gap: frames from the first event to the second.
    """

    name, title = "order", "Order of events"
    classes, clips_per_scene = ("above first", "below first"), 2

    gap: int = 4

    def check(self) -> None:
        if not 1 <= self.gap < self.frames:
            raise InputError(f"gap must be 1 to {self.frames - 1} in a clip of {self.frames} frames, got {self.gap}")

    @property
    def reach(self) -> int | None:
        around = self.frames - self.gap
        return None if around == self.gap else min(self.gap, around)

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        start = draw.whole(0, self.frames - self.gap, n)
        shown = torch.zeros(n, 2, self.frames, dtype=torch.long)
        each = torch.arange(n)
        for nth, (first, second) in enumerate(((1, 2), (2, 1))):
            shown[each, nth, start], shown[each, nth, start + self.gap] = first, second
        digit = draw.empty_and(draw.digits(n, 2))
        x, y, scale = draw.places(n, 3, 0.2)
        return Scenes(shown, digit, x, y + torch.tensor([0.0, -0.4, 0.4]), 0.75 * scale)
