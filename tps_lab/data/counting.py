"""`counting`: how many times does a digit light up, one to four times?

::

    1    · · x x x x x x · · · ·         3    · x x · x · · x x x · ·
    2    · x x x · · x x x · · ·         4    · x · x · x x · · x x ·

Every clip is lit for as many frames, only in fewer or more pieces, so the number of lit
frames says nothing: the clips of a scene show the same frames, and order-blind models reach 25 % at most. To count
one must see a dark frame beside a lit one: a reach of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.errors import InputError
from tps_lab.lazy import torch

_MOST = 4


@dataclass(frozen=True)
class Counting(Diagnostic):
    """How many times a digit lights up, one to four. Needs a reach of one frame; a model that is blind
    to frame order scores at most 25 %, because every count is lit for as many frames.
    """

    name, title, reach = "counting", "Counting", 1
    classes = tuple(map(str, range(1, _MOST + 1)))
    clips_per_scene = _MOST

    def check(self) -> None:
        if self.frames < 2 * _MOST + 2:
            raise InputError(f"counting to {_MOST} needs frames ≥ {2 * _MOST + 2}, got {self.frames}")

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        shown = torch.zeros(n, _MOST, self.frames, dtype=torch.long)
        lit = max(_MOST, self.frames * 3 // 8)
        for count in range(1, _MOST + 1):
            # bright pieces of 1 frame or more, with dark ones of 1 or more around and between them
            bright = _pieces(draw, n, lit, count)
            dark = _pieces(draw, n, self.frames - lit, count + 1)
            lengths = torch.zeros(n, 2 * count + 1, dtype=torch.long)
            lengths[:, 0::2], lengths[:, 1::2] = dark, bright
            piece = (torch.arange(self.frames) >= lengths.cumsum(1)[:, :, None]).sum(1)
            shown[:, count - 1] = piece % 2
        return Scenes(shown, draw.empty_and(draw.digits(n, 1)), *draw.places(n, 2))


def _pieces(draw: Drawn, n: int, total: int, pieces: int) -> Any:
    """`total` frames cut into pieces of at least one, every way as likely: (n, pieces)."""
    inner = draw.uniform(0, 1, n, total - 1).argsort(1)[:, : pieces - 1] + 1
    ends = torch.full((n, 1), total)
    cuts = torch.cat([0 * ends, inner.sort(1).values, ends], 1)
    return cuts.diff(dim=1)
