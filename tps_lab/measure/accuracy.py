"""Accuracy on a split: top-1, top-5, by class and by opposite pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tps_lab.data import Clips, Split


@dataclass(frozen=True)
class Accuracy:
    """Percentages, of the clips of a split."""

    top1_pct: float
    top5_pct: float | None  # None with five classes or fewer, where it says nothing
    per_class_pct: dict[str, float]
    per_pair_pct: dict[str, float]
    clips: int
    loss: float


def evaluate(model: nn.Module, clips: Clips, split: Split, batch: int = 256) -> Accuracy:
    """Run the model over a whole split, in eval mode, on the model's device."""
    return accuracy(*predict(model, clips, split, batch), clips)


def predict(model: nn.Module, clips: Clips, split: Split, batch: int = 256) -> tuple[Tensor, Tensor]:
    """Logits (N, classes) and labels (N,) of a whole split, in its order, on the CPU."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits, labels = [], []
    with torch.no_grad():
        for index in torch.arange(clips.size(split)).split(batch):
            x, y = clips.batch(split, index, device)
            logits.append(model(x).float().cpu())
            labels.append(y.cpu())
    model.train(was_training)
    return torch.cat(logits), torch.cat(labels)


def accuracy(logits: Tensor, labels: Tensor, clips: Clips) -> Accuracy:
    """The figures from logits (N, classes) and labels (N,)."""
    ranked = logits.argsort(dim=1, descending=True)
    right = ranked[:, 0] == labels

    def share(of: Tensor) -> float:
        return round(100 * right[of].float().mean().item(), 4)

    everything = torch.ones_like(right)
    return Accuracy(
        top1_pct=share(everything),
        top5_pct=_top5(ranked, labels) if logits.shape[1] > 5 else None,
        per_class_pct={name: share(labels == i) for i, name in enumerate(clips.classes) if (labels == i).any()},
        per_pair_pct={
            f"{clips.classes[a]} / {clips.classes[b]}": share((labels == a) | (labels == b)) for a, b in clips.pairs
        },
        clips=len(labels),
        loss=torch.nn.functional.cross_entropy(logits, labels).item(),
    )


def _top5(ranked: Tensor, labels: Tensor) -> float:
    return round(100 * (ranked[:, :5] == labels[:, None]).any(1).float().mean().item(), 4)
