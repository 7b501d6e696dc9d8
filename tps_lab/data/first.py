"""`first`: two digits are shown one after the other at the same place. What was the first?

::

    frame       0   1   2   3   4   5   6   7   8   9  …
    label 3     ·   3   3   3   5   5   5   ·   ·   ·
    label 5     ·   5   5   5   3   3   3   ·   ·   ·

Both digits are seen by any model, so reading digits is not enough: the clips of a scene swap the two, and
order-blind models reach 50 % at most (chance is 10 %). With no gap the digits follow each other
directly and a reach of 1 is enough; with a gap, `gap` + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch


@dataclass(frozen=True)
class First(Diagnostic):
    """Which of two handwritten digits came first, ten classes. Needs a reach of `gap` + 1; a model
    that is blind to frame order scores at most 50 %, because it sees both but not which was first.

    Args:
        hold: frames that each digit stays.
        gap: empty frames between the two.
    """

    name, title = "first", "First of two digits"
    classes, clips_per_scene = tuple(map(str, range(10))), 2

    hold: int = 3
    gap: int = 0

    def check(self) -> None:
        if self.hold < 1 or self.gap < 0 or self.used > self.frames:
            raise InputError(
                f"two digits of hold={self.hold} frames with gap={self.gap} between them take {self.used} frames, "
                f"the clip has {self.frames}"
            )

    @property
    def used(self) -> int:
        """Frames from the first digit's first to the second's last."""
        return 2 * self.hold + self.gap

    @property
    def reach(self) -> int | None:
        around = self.frames - self.used
        return None if around == self.gap else min(self.gap, around) + 1

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        start = draw.whole(0, self.frames - self.used + 1, n, 1)
        time = torch.arange(self.frames) - start
        one = ((time >= 0) & (time < self.hold)).long()
        two = ((time >= self.hold + self.gap) & (time < self.used)).long()
        digit = draw.digits(n)
        digits = torch.stack([digit, draw.unlike(digit)], 1)
        return Scenes(
            torch.stack([one + 2 * two, 2 * one + two], 1),
            draw.empty_and(digits),
            *draw.places(n, 3),
            labels=draw.kinds[digits],
        )
