"""Clips of a batch mixed with each other: mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019), by torchvision.

In a file of its own, as the training loop of every run imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tps_lab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def mix(
    x: Tensor, labels: Tensor, classes: int, mixup: float = 0.0, cutmix: float = 0.0, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A training batch with mixup or CutMix (half of the batches each, if both are on) and smoothed labels.

    A clip's frames are all mixed with the same share of the other clip, or get the same rectangle of it.
    Draws from torch's own random numbers. `cross_entropy` takes the labels as they come out.

    Args:
        x: (B, C, T, H, W) float.
        labels: (B,) int64.
        mixup, cutmix: α of the Beta distribution that the share is drawn from; 0 leaves it out.
        smoothing: share of a label that goes to all classes alike.

    Returns:
        x mixed, and what the clips are, (B, classes) float, each row of sum 1.
    """
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    for name, value in (("mixup", mixup), ("cutmix", cutmix)):
        if value < 0:
            raise InputError(f"{name} must be 0 or more, got {value}")
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing must be 0 or more and less than 1, got {smoothing}")
    targets = torch.nn.functional.one_hot(labels, classes).float()
    ways = [way(alpha=alpha) for way, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha]
    if ways:
        way = ways[int(torch.randint(len(ways), ()))]
        mixed, targets = way(tv_tensors.Video(x), targets)
        x = mixed.as_subclass(torch.Tensor)
    return x, targets * (1 - smoothing) + smoothing / classes
