"""What all temporal probes share: a scene has a few pictures, and stories that show them in time.

A probe isolates one ability. Each of its scenes is told as K clips ("twins") that show the same
frames, bit for bit and noise included, in K orders with K different labels. From this follows the
ceiling of all probes built so: a model that is blind to the order of frames answers all K alike, at
most one of them is right, and since every split holds whole sets of twins, its accuracy on it cannot
exceed 1/K. That is no estimate but holds on the very test clips.

Which reach a task needs follows from its stories too; `tps_lab.explain` works it out, and a test
compares it with the `reach` that each probe states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tps_lab.data import _digits
from tps_lab.data._base import SPLITS, Clips, DrawnData, Split, reordered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BANK = 1 << 20  # random numbers that the noise of all pictures is cut from


@dataclass(frozen=True)
class Told:
    """The scenes of one split. N scenes of K twins, each with I pictures shown over T frames.

    Args:
        story: (N, K, T), which picture a frame shows.
        digit: (N, I), which of the 1,797 digits a picture shows; -1 none.
        x, y, scale: (N, I), where and how large; the frame spans -1 to 1.
        labels: (N, K); without them twin k is of class k.
    """

    story: Tensor
    digit: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Probe(DrawnData):
    """A temporal probe. A subclass tells the scenes; the clips, the splits and the noise stand here.

    Splits are rounded down to whole sets of twins.

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
        return 1 / self.twins

    def tell(self, n: int, draw: Drawn) -> Told:
        """The n scenes of a split."""
        raise NotImplementedError

    def opened(self) -> ProbeClips:
        return ProbeClips(self)


class Drawn:
    """What a probe draws its scenes with: random numbers of one split, always made on the CPU."""

    def __init__(self, split: Split, seed: int, kinds: Tensor) -> None:
        import torch

        self.rng = torch.Generator().manual_seed(10 * seed + _digits.STREAM[split])
        self.first, self.end = _digits.of_split(split, len(kinds))
        self.kinds = kinds

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers, low ≤ n < high."""
        import torch

        return torch.randint(low, high, shape, generator=self.rng)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        import torch

        return low + (high - low) * torch.rand(shape, generator=self.rng)

    def digits(self, *shape: int) -> Tensor:
        """Digits of this split, by their place in the data set."""
        return self.whole(self.first, self.end, *shape)

    def empty_and(self, digits: Tensor) -> Tensor:
        """What pictures show of which the first is the empty ground: -1, then digits (n, I)."""
        import torch

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


class ProbeClips(Clips):
    """The clips of a probe, drawn on whatever device asks for them."""

    def __init__(self, options: Probe) -> None:
        self.options = options
        self.clip_shape = (3, options.frames, options.size, options.size)
        self.classes, self.twins, self.reach = options.classes, options.twins, options.reach
        self.ceiling = options.ceiling
        self.ceiling_reason = reordered(self.twins) if self.ceiling else ""
        if self.ceiling is None and options.frames > 1:
            self.notes = (f"{options.title}: nothing caps a model blind to frame order here",)
        if len(self.classes) == 2:
            self.pairs = ((0, 1),)
        self.digits, kinds = _digits.load()
        self.told = {
            split: options.tell(self.size(split) // self.twins, Drawn(split, options.seed, kinds)) for split in SPLITS
        }
        self.noise = {split: self._noise(split) for split in SPLITS}

    def size(self, split: Split) -> int:
        return int(getattr(self.options, split)) // self.twins * self.twins

    def stories(self, split: Split = "test") -> np.ndarray:
        return self.told[split].story.numpy()

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        import torch

        index = index.cpu()
        told, scene, twin = self.told[split], index // self.twins, index % self.twins
        story = told.story[scene, twin].to(device)  # (B, T)
        pictures = self._pictures(split, scene, device)  # (B, I, H, W)
        clips = pictures[torch.arange(len(index), device=device)[:, None], story]
        clips = (clips - _digits.MEAN) / _digits.SPREAD
        labels = twin if told.labels is None else told.labels[scene, twin]
        return clips[:, None].expand(-1, 3, -1, -1, -1), labels.to(device)

    def _pictures(self, split: Split, scene: Tensor, device: torch.device | str) -> Tensor:
        told, size = self.told[split], self.options.size
        digit = told.digit[scene]
        x, y, scale = (values[scene].flatten().to(device) for values in (told.x, told.y, told.scale))
        shown = self.digits[digit.clamp(min=0).flatten()].to(device)
        ink = _digits.draw(shown, x, y, scale, 0 * x, size=size).reshape(*digit.shape, size, size)
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
        import torch

        rng = torch.Generator().manual_seed(10 * self.options.seed + _digits.STREAM[split] + 5)
        bank = torch.randn(_BANK + self.options.size**2, generator=rng)
        return bank, torch.randint(0, _BANK, self.told[split].digit.shape, generator=rng)
