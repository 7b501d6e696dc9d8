"""Cross-entropy, with label smoothing, mixup and cutmix where the recipe asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.functional import cross_entropy

from tps_lab.data.transforms import mix

if TYPE_CHECKING:
    from torch import Tensor

    from tps_lab.training.config import Regularise


class Loss:
    """From a model and a batch to logits and mean loss."""

    def __init__(self, regularise: Regularise, classes: int) -> None:
        self.regularise, self.classes = regularise, classes
        self.mixes = bool(regularise.mixup or regularise.cutmix)

    def __call__(self, model: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, C, T, H, W) and labels (B,) → logits (B, classes) and the loss."""
        how = self.regularise
        if self.mixes:
            x, target = mix(x, y, self.classes, how.mixup, how.cutmix, how.label_smoothing)
            logits = model(x)
            return logits, cross_entropy(logits, target)
        logits = model(x)
        return logits, cross_entropy(logits, y, label_smoothing=how.label_smoothing)
