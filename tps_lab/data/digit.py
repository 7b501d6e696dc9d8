"""`digit`: the moving digits of `opposites`, asked what they are and not how they move.

::

    frame   0    1    2    3
    three   3··· ·3·· ··3· ···3
    seven   ···7 ··7· ·7·· 7···

One frame nearly suffices, as for most classes of Kinetics; what frames further along show is the same
digit under other noise. So this asks of a way of mixing space and time what it does to a model's sight,
where `opposites` asks whether it sees time. Each of the twelve motions is as frequent as there.

With `hidden` each frame shows other squares of the picture, as of something behind leaves: then frames
have to be put together to see the digit, though their order still tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tps_lab.data import _digits
from tps_lab.data._base import Split, uncapped
from tps_lab.data.opposites import PAIRS, OppositeClips, Opposites
from tps_lab.lazy import torch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Digit(Opposites):
    """Which of the ten digits moves. Hardly asks anything of time: its single frames nearly suffice, the more
    so the less noise there is and the less is hidden.
    """

    name, title = "digit", "Which digit moves"

    @property
    def clips_per_scene(self) -> int:
        return 1

    def check(self) -> None:
        """Clips come one by one."""

    def opened(self) -> DigitClips:
        return DigitClips(self)


class DigitClips(OppositeClips):
    """The clips of a `Digit`: every scene is shown once, half of them backwards."""

    classes, pairs = tuple("0123456789"), ()
    clips_per_scene, ceiling, ceiling_reason = 1, None, ""
    reach: int | None = 0

    def __init__(self, options: Digit) -> None:
        super().__init__(options)
        _, self.kinds = _digits.load()
        self.notes = (uncapped(options.title),)
        if options.hidden:  # single frames are not enough then; whether frames must be seen together is not known
            self.reach = None

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        index = index.cpu()
        clips, _ = super().batch(split, 2 * index + index // len(PAIRS) % 2, device)
        return clips, self.kinds[self.scenes[split]["digit"][index]].to(device)

    def pictures_shown(self, split: Split = "test") -> np.ndarray | None:
        return None
