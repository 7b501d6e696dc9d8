"""`opposites`: handwritten digits in motion, every motion with its exact time reversal.

Twelve classes in six pairs; one of each pair is the other played backwards::

    frame   0    1    2    3               0    1    2    3
    right   3··· ·3·· ··3· ···3     left   ···3 ··3· ·3·· 3···
    grow    ·    ₃    3    𝟯        shrink 𝟯    3    ₃    ·

Clip 2i + 1 of every split is clip 2i reversed, pixel for pixel, noise included. So a model that is
blind to the order of frames gives both the same answer, at most one of them is right, and its
accuracy on the test clips cannot exceed 50 %. Telling the six motions apart it can still learn.

Where the digits come from, and how they are split between training and test, stands in `_digits.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tps_lab.data import _digits
from tps_lab.data._base import ReversedClips, ReversedData, Split
from tps_lab.lazy import torch
from tps_lab.specs import Limits

if TYPE_CHECKING:
    from torch import Tensor

PAIRS = (
    ("right", "left"),
    ("down", "up"),
    ("clockwise", "counterclockwise"),
    ("grow", "shrink"),
    ("appear", "vanish"),
    ("diagonal down", "diagonal up"),
)

_SQUARES = 6  # a side of the picture: two to a patch of vit_micro's


@dataclass(frozen=True)
class Opposites(ReversedData):
    """Real handwritten digits moved through twelve motions in six opposite pairs, each the exact
    time reversal of the other: a model that is blind to frame order scores at most 50 %.

    Args:
        frames, size: of a clip, size in pixels. Sixteen frames are long enough that reach matters:
            two layers of pattern A cross eight frames, but not sixteen.
        train, val, test: clips per split, even numbers.
        noise: standard deviation of pixel noise, ink being 1.
        tremor: how far every frame is off its place, size, turn and brightness (one standard
            deviation), as a share of the way from the middle of the motion to its end. It drowns
            the small change from one frame to the next, so that looking further along time pays.
        motion: how far the motions go, 1 being across most of the picture.
        hidden: share of each frame's 6×6 squares that stay empty, others in every frame; noise lies over
            all of them. What one frame hides another shows, so that frames have to be put together.
        seed: of everything random in the clips (not of training).

    As it stands most variants learn it nearly whole, given some hundred steps. `opposites(motion=0.5,
    tremor=0.3)` stays hard: the motion half drowns in the tremor, and who reads the digit's place, turn,
    size and light in all sixteen frames without any error is still right in only 95 % of the clips.
    """

    name, title, licence = "opposites", "Opposites", _digits.DIGITS
    limits: ClassVar[Limits] = {"tremor": (0, 1_000), "motion": (0, 1), "hidden": (0, 0.99)}

    tremor: float = 0.15
    motion: float = 1.0
    hidden: float = 0.0
    seed: int = 0

    @property
    def frame_bytes(self) -> int:
        return super().frame_bytes + (5 * _SQUARES**2 if self.hidden else 0)

    def opened(self) -> OppositeClips:
        return OppositeClips(self)


class OppositeClips(ReversedClips):
    """The clips of an `Opposites`, drawn on demand on whatever device asks for them."""

    classes = tuple(name for pair in PAIRS for name in pair)
    pairs = tuple((2 * i, 2 * i + 1) for i in range(len(PAIRS)))
    label, mean, spread = "motion", _digits.MEAN, _digits.SPREAD

    def __init__(self, options: Opposites) -> None:
        self.options = options
        self.clip_shape = (3, options.frames, options.size, options.size)
        self.digits, _ = _digits.load()
        self.scenes = {split: self._draw_scenes(split) for split in _digits.STREAM}

    def _draw_scenes(self, split: Split) -> dict[str, Tensor]:
        """Everything random about the scenes of a split, always drawn on the CPU."""
        n = self.size(split) // self.clips_per_scene
        rng = torch.Generator().manual_seed(10 * self.options.seed + _digits.STREAM[split])
        low, high = _digits.of_split(split, len(self.digits))

        def uniform(a: float, b: float) -> Tensor:
            return a + (b - a) * torch.rand(n, generator=rng)

        scenes = {
            "motion": torch.arange(n) % len(PAIRS),
            "digit": torch.randint(low, high, (n,), generator=rng),
            "scale": uniform(0.5, 0.6),  # half the digit's height, in halves of the image
            "angle": uniform(-0.2, 0.2),  # radians
            "x": uniform(-0.1, 0.1),  # where the middle of the path lies; the image spans -1 to 1
            "y": uniform(-0.1, 0.1),
            "ink": uniform(0.85, 1.0),
            "amount": uniform(0.9, 1.1),  # how far the motion goes
            "drift": torch.rand(n, 2, generator=rng) * 0.1 - 0.05,  # a slow slide that all classes have
            "tremor": torch.randn(n, 5, self.options.frames, generator=rng),
            "noise": torch.randint(0, 1 << 20, (n,), generator=rng),  # where in the bank a scene's noise starts
            "bank": torch.randn((1 << 20) + self.options.frames * self.options.size**2, generator=rng),
        }
        if self.options.hidden:
            squares = torch.rand(n, self.options.frames, _SQUARES, _SQUARES, generator=rng)
            scenes["seen"] = squares >= self.options.hidden
        return scenes

    def render(self, scene: dict[str, Tensor]) -> Tensor:
        """Scenes played forwards: ink (B, T, H, W), 0 to 1."""
        from torch.nn.functional import interpolate

        t = torch.linspace(-1, 1, self.options.frames, device=scene["x"].device)
        motion = scene["motion"][:, None]
        path = self.options.motion * scene["amount"][:, None] * t  # (B, T), from -amount to +amount

        def when(*motions: int) -> Tensor:
            return sum((motion == m).float() for m in motions) * path  # type: ignore[return-value]

        # One line a pair, in the order of PAIRS, and what trembles in all of them. y grows downwards.
        tremor = (self.options.tremor * scene["tremor"]).unbind(1)
        x = scene["x"][:, None] + scene["drift"][:, :1] * t + 0.6 * (when(0) + tremor[0]) + 0.5 * when(5)
        y = scene["y"][:, None] + scene["drift"][:, 1:] * t + 0.6 * (when(1) + tremor[1]) + 0.5 * when(5)
        angle = scene["angle"][:, None] + when(2) + tremor[2]
        scale = scene["scale"][:, None] * torch.exp(0.5 * (when(3) + tremor[3]))
        light = when(4) / scene["amount"][:, None].clamp(min=1) + tremor[4]
        ink = scene["ink"][:, None] * (1 + 0.8 * light).clamp(0, 2)

        b, frames = x.shape
        digits = self.digits.to(x.device)[scene["digit"]].repeat_interleave(frames, 0)
        image = _digits.draw(digits, *(v.flatten() for v in (x, y, scale, angle)), size=self.options.size)
        image = image.reshape(b, frames, *image.shape[1:])
        if "seen" in scene:
            image = image * interpolate(scene["seen"].float(), image.shape[2:])
        return image * (ink / 1.8)[:, :, None, None]
