"""`match(gap=…)`: four flashes of two digits, `gap` frames apart. Does the second match the first?

::

    gap = 3      frame   0  1  2  3  4  5  6  7  8  9
    match                3  ·  ·  3  ·  ·  5  ·  ·  5
    no match             3  ·  ·  5  ·  ·  3  ·  ·  5

Both clips hold the same four lit frames, so order-blind models reach 50 % at most; and what sees less
than `gap` frames at once sees one digit at a time in both. So the task needs a reach of `gap` (of
the way round the ring from the last flash to the first it learns nothing: both end on the same digit).
"""

from __future__ import annotations

from dataclasses import dataclass

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch


@dataclass(frozen=True)
class Match(Diagnostic):
    """Whether the same digit flashes again `gap` frames later. Needs a reach of that gap; a model that
    is blind to frame order scores at most 50 %.

    Args:
        gap: frames from one flash to the next.
    """

    name, title = "match", "Long-range match"
    classes, clips_per_scene = ("match", "no match"), 2

    gap: int = 4

    def check(self) -> None:
        most = (self.frames - 1) // 3
        if not 1 <= self.gap <= most:
            raise InputError(f"gap must be 1 to {most} in a clip of {self.frames} frames, got {self.gap}")

    @property
    def reach(self) -> int | None:
        return self.gap

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        when = draw.whole(0, self.frames - 3 * self.gap, n, 1) + self.gap * torch.arange(4)
        shown = torch.zeros(n, 2, self.frames, dtype=torch.long)
        for nth, flashes in enumerate(((1, 1, 2, 2), (1, 2, 1, 2))):
            shown[:, nth].scatter_(1, when, torch.tensor(flashes).expand(n, -1))
        one = draw.digits(n)
        return Scenes(shown, draw.empty_and(torch.stack([one, draw.unlike(one)], 1)), *draw.places(n, 3))
