"""What `opposites` and `actions` share: scenes that are shown forwards and, as another class, backwards.

Clip 2i + 1 of every split is clip 2i reversed, pixel for pixel, noise included. So a model that is
blind to the order of frames gives both the same answer, at most one of them is right, and its
accuracy on the test clips cannot exceed 50 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tps_lab.data._base import REVERSED, SPLITS, Clips, DrawnData, Split
from tps_lab.errors import InputError
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ReversedData(DrawnData):
    """Its clips are pairs, each with its exact time reversal."""

    @property
    def clips_per_scene(self) -> int:
        return 2

    def check(self) -> None:
        for split in SPLITS:
            if getattr(self, split) < 2 or getattr(self, split) % 2:
                raise InputError(
                    f"{self.name} comes in pairs: {split} must be even and ≥ 2, got {getattr(self, split)}"
                )


class ReversedClips(Clips):
    """Clips drawn on demand, on whatever device asks for them, each with its exact time reversal.

    A subclass sets `scenes` and draws them.

    Attributes:
        options: the data set's `frames`, `size` and `noise`, and its numbers of clips by split.
        scenes: per split, everything random of every scene (two clips): "noise", where in the "bank"
            of random numbers its noise begins, the label's key, and what `render` wants.
        label: the key of a scene's class among those shown forwards.
        mean, spread: of the drawn pixels, about; clips are normalised by them.
    """

    clips_per_scene = 2
    reach = 1
    ceiling = 0.5
    ceiling_reason = REVERSED
    options: Any
    scenes: dict[Split, dict[str, Tensor]]
    label: ClassVar[str]
    mean: ClassVar[float]
    spread: ClassVar[float]

    def render(self, scene: dict[str, Tensor]) -> Tensor:
        """Scenes shown forwards: (B, T, H, W), ink from 0 to 1."""
        raise NotImplementedError

    def size(self, split: Split) -> int:
        return int(getattr(self.options, split))

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        index = index.cpu()
        scene = {name: values[index // 2].to(device) for name, values in self.scenes[split].items() if name != "bank"}
        clips = self.render(scene)
        if self.options.noise:
            bank = self.scenes[split]["bank"]
            if bank.device != clips.device:
                bank = self.scenes[split]["bank"] = bank.to(device)
            windows = bank.unfold(0, clips[0].numel(), 1)
            clips = clips + self.options.noise * windows[scene["noise"]].reshape(clips.shape)
        backwards = (index % 2).bool().to(device)
        clips = torch.where(backwards[:, None, None, None], clips.flip(1), clips)
        clips = (clips - self.mean) / self.spread
        return clips[:, None].expand(-1, 3, -1, -1, -1), 2 * scene[self.label] + backwards

    def pictures_shown(self, split: Split = "test") -> np.ndarray:
        forwards = np.arange(self.options.frames)
        return np.broadcast_to(np.stack([forwards, forwards[::-1]]), (self.size(split) // 2, 2, self.options.frames))
