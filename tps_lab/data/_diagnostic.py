"""What all diagnostics of time share: a scene has a few pictures, and its clips show them in different orders.

A diagnostic isolates one ability. Each of its scenes makes K clips, *counterparts*, that show the same
frames, bit for bit and noise included, in K orders with K different labels. From this follows the
ceiling of all diagnostics built so: a model that is blind to the order of frames answers all K alike, at
most one of them is right, and since every split holds whole scenes, its accuracy on it cannot
exceed 1/K. That is no estimate: it holds on the very test clips.

Which reach a task needs follows from the pictures shown too; a test works it out and compares it with the
`reach` that each diagnostic states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tps_lab.data import _digits
from tps_lab.data._base import SPLITS, Clips, DrawnData, Split, reordered, uncapped
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

_BANK = 1 << 20  # random numbers that the noise of all pictures is cut from


@dataclass(frozen=True)
class Scenes:
    """The scenes of one split: N scenes of K clips, each with I pictures shown over T frames.

    Args:
        shown: (N, K, T), which picture a frame shows.
        digit: (N, I), which of the 1,797 digits a picture shows; -1 none.
        x, y, scale: (N, I), where and how large; the frame spans -1 to 1.
        labels: (N, K); without them clip k of a scene is of class k.
    """

    shown: Tensor
    digit: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Diagnostic(DrawnData):
    """A diagnostic of time. A subclass makes the scenes; the clips, the splits and the noise are made here.

    Splits are rounded down to whole scenes.

    Args:
        seed: of everything random in the clips (not of training).
    """

    seed: int = 0

    licence: ClassVar[str] = _digits.DIGITS

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        raise NotImplementedError

    @property
    def reach(self) -> int | None:
        """See `Clips.reach`."""
        raise NotImplementedError

    @property
    def ceiling(self) -> float | None:
        """The best accuracy of a model blind to frame order, 0 to 1; None where nothing caps it."""
        return 1 / self.clips_per_scene

    def scenes(self, n: int, draw: Drawn) -> Scenes:
        """The n scenes of a split."""
        raise NotImplementedError

    def opened(self) -> DiagnosticClips:
        return DiagnosticClips(self)


class Drawn:
    """What a diagnostic draws its scenes with: random numbers of one split, always made on the CPU."""

    def __init__(self, split: Split, seed: int, kinds: Tensor) -> None:
        self.rng = torch.Generator().manual_seed(10 * seed + _digits.STREAM[split])
        self.first, self.end = _digits.of_split(split, len(kinds))
        self.kinds = kinds

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers, low ≤ n < high."""
        return torch.randint(low, high, shape, generator=self.rng)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.rng)

    def digits(self, *shape: int) -> Tensor:
        """Digits of this split, by their place in the data set."""
        return self.whole(self.first, self.end, *shape)

    def empty_and(self, digits: Tensor) -> Tensor:
        """What pictures show of which the first is the empty ground: -1, then digits (n, I)."""
        return torch.cat([torch.full((len(digits), 1), -1), digits], 1)

    def unlike(self, other: Tensor) -> Tensor:
        """Digits of another kind than each of `other`."""
        found = self.digits(*other.shape)
        while (same := self.kinds[found] == self.kinds[other]).any():
            found[same] = self.digits(int(same.sum()))
        return found

    def places(self, n: int, pictures: int, slack: float = 0.25) -> tuple[Tensor, Tensor, Tensor]:
        """Where digits stand, one place for all pictures of a scene: x, y and scale (n, pictures)."""
        x, y = (self.uniform(-slack, slack, n, 1).expand(n, pictures) for _ in range(2))
        return x, y, self.uniform(0.5, 0.65, n, 1).expand(n, pictures)


class DiagnosticClips(Clips):
    """The clips of a diagnostic, drawn on whatever device asks for them."""

    def __init__(self, options: Diagnostic) -> None:
        self.options = options
        self.clip_shape = (3, options.frames, options.size, options.size)
        self.classes, self.clips_per_scene, self.reach = options.classes, options.clips_per_scene, options.reach
        self.ceiling = options.ceiling
        self.ceiling_reason = reordered(self.clips_per_scene) if self.ceiling else ""
        if self.ceiling is None and options.frames > 1:
            self.notes = (uncapped(options.title),)
        if len(self.classes) == 2:
            self.pairs = ((0, 1),)
        self.digits, kinds = _digits.load()
        self.scenes = {
            split: options.scenes(self.size(split) // self.clips_per_scene, Drawn(split, options.seed, kinds))
            for split in SPLITS
        }
        self.noise = {split: self._noise(split) for split in SPLITS}

    def size(self, split: Split) -> int:
        return int(getattr(self.options, split)) // self.clips_per_scene * self.clips_per_scene

    def pictures_shown(self, split: Split = "test") -> np.ndarray:
        return self.scenes[split].shown.numpy()

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        index = index.cpu()
        scenes, scene, nth = self.scenes[split], index // self.clips_per_scene, index % self.clips_per_scene
        shown = scenes.shown[scene, nth].to(device)  # (B, T)
        pictures = self._pictures(split, scene, device)  # (B, I, H, W)
        clips = pictures[torch.arange(len(index), device=device)[:, None], shown]
        clips = (clips - _digits.MEAN) / _digits.SPREAD
        labels = nth if scenes.labels is None else scenes.labels[scene, nth]
        return clips[:, None].expand(-1, 3, -1, -1, -1), labels.to(device)

    def _pictures(self, split: Split, scene: Tensor, device: torch.device | str) -> Tensor:
        scenes, size = self.scenes[split], self.options.size
        digit = scenes.digit[scene]
        x, y, scale = (values[scene].flatten().to(device) for values in (scenes.x, scenes.y, scenes.scale))
        digits = self.digits[digit.clamp(min=0).flatten()].to(device)
        ink = _digits.draw(digits, x, y, scale, 0 * x, size=size).reshape(*digit.shape, size, size)
        ink = ink * (digit >= 0).to(device)[:, :, None, None]
        if not self.options.noise:
            return ink
        bank, starts = self.noise[split]
        if bank.device != ink.device:
            bank = bank.to(device)
            self.noise[split] = bank, starts
        noise = bank.unfold(0, size * size, 1)[starts[scene].to(device)].reshape(ink.shape)
        return ink + self.options.noise * noise

    def _noise(self, split: Split) -> tuple[Tensor, Tensor]:
        """A bank of noise, and where in it each picture's begins (N, I)."""
        rng = torch.Generator().manual_seed(10 * self.options.seed + _digits.STREAM[split] + 5)
        bank = torch.randn(_BANK + self.options.size**2, generator=rng)
        return bank, torch.randint(0, _BANK, self.scenes[split].digit.shape, generator=rng)
