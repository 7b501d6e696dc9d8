"""`still`: a digit that does not move. Which is it?

::

    frame   0                  0
    three   ·3··       seven   ···7
            ····               ····

An image data set in the guise of clips, one frame long unless asked otherwise. It has no temporal
question: an image model trained on it gives the weights that a video model can begin with, as the
plug-ins of this field are meant to be used (`weights=zoo:still/spatial`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tps_lab.data._diagnostic import Diagnostic, Drawn, Scenes
from tps_lab.lazy import torch
from tps_lab.specs import Limits


@dataclass(frozen=True)
class Still(Diagnostic):
    """Which of the ten digits stands in the picture. Asks nothing of time; it is what image weights are
    learnt from.
    """

    name, title = "still", "Still digits"
    classes, clips_per_scene, reach = tuple("0123456789"), 1, 0
    ceiling = None
    limits: ClassVar[Limits] = {"frames": (1, 10_000)}

    frames: int = 1

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        digit = draw.digits(n, 1)
        x, y = (draw.uniform(-0.5, 0.5, n, 1) for _ in range(2))
        return Scenes(
            shown=torch.zeros(n, 1, self.frames, dtype=torch.long),
            labels=draw.kinds[digit],
            digit=digit,
            x=x,
            y=y,
            scale=draw.uniform(0.4, 0.8, n, 1),
        )
