"""Cross-entropy, with label smoothing, mixup and cutmix where the recipe asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from tps_lab.config import Regularise


class Loss:
    """From a model and a batch to logits and mean loss.

    Mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899) are torchvision's; a clip's frames are
    mixed alike. Their random numbers are torch's, so that a checkpoint holds them.
    """

    def __init__(self, regularise: Regularise, classes: int) -> None:
        from torchvision.transforms import v2

        self.smoothing = regularise.label_smoothing
        self.mixes: list[Any] = []
        if regularise.mixup:
            self.mixes.append(v2.MixUp(alpha=regularise.mixup, num_classes=classes))
        if regularise.cutmix:
            self.mixes.append(v2.CutMix(alpha=regularise.cutmix, num_classes=classes))

    def __call__(self, model: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, C, T, H, W) and labels (B,) → logits (B, classes) and the loss."""
        target = y
        if self.mixes:
            x, target = self._mixed(x, y)
        logits = model(x)
        return logits, cross_entropy(logits, target, label_smoothing=self.smoothing)

    def _mixed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        import torch
        from torchvision.tv_tensors import Video

        chosen = self.mixes[int(torch.randint(len(self.mixes), ()))] if len(self.mixes) > 1 else self.mixes[0]
        mixed, target = chosen(Video(x), y)
        return mixed.as_subclass(torch.Tensor), target
