"""`rhythm`: a digit flashes four times in every sixteen frames. In which rhythm?

::

    even     x···x···x···x···        pairs    xx······xx······
    gallop   x··x····x··x····        burst    xxxx············

All rhythms have as many lit frames, which are one picture, and as many dark ones, which are another:
order-blind models reach 25 % at most, the chance of four classes. The rhythm starts anywhere and
goes on round the end of the clip. How far one must see: the burst and the pairs show in neighbours,
the gallop and the even beat are told apart by flashes three frames apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch

_RHYTHMS = {
    "even": "x...x...x...x...",
    "pairs": "xx......xx......",
    "gallop": "x..x....x..x....",
    "burst": "xxxx............",
}


@dataclass(frozen=True)
class Rhythm(Diagnostic):
    """In which of four rhythms a digit flashes; all have the same frames. Needs a reach of three
    frames; a model that is blind to frame order scores at most 25 %.
    """

    name, title = "rhythm", "Rhythm"
    classes, clips_per_scene, reach = tuple(_RHYTHMS), len(_RHYTHMS), 3

    def check(self) -> None:
        if self.frames % 16:
            near = max(16, 16 * round(self.frames / 16))
            raise InputError(f"rhythm: frames must be a multiple of 16, got {self.frames}; nearest: {near}")

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        beats = torch.tensor([[beat == "x" for beat in rhythm] for rhythm in _RHYTHMS.values()]).long()
        time = (torch.arange(self.frames) - draw.whole(0, 16, n, 1)) % 16
        return Scenes(beats[:, time].movedim(0, 1), draw.empty_and(draw.digits(n, 1)), *draw.places(n, 2))
