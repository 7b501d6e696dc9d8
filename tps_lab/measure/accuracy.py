"""Accuracy on a split: top-1, top-5, by class and by opposite pair; over one view of each clip or several.

Several views, as papers test: K clips along a video, each in one or three crops, and the softmax of all
views averaged. What that costs is K × crops times one view.

`linear_probe` asks what the features of a model that is not trained know, with a linear classifier on top of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tps_lab.data import Clips, Split, batch_of
from tps_lab.errors import InputError
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Accuracy:
    """Percentages, of the clips of a split; classes and pairs of which it has none are left out."""

    top1_pct: float
    top5_pct: float | None  # None with five classes or fewer, where it says nothing
    per_class_pct: dict[str, float]
    per_pair_pct: dict[str, float]
    clips: int
    loss: float

    def row(self) -> dict[str, Any]:
        """The figures as columns of a row, of the test split."""
        figures = dataclasses.asdict(self)
        return {"test_clips": figures.pop("clips"), "test_loss": figures.pop("loss"), **figures}


def evaluate(model: nn.Module, clips: Clips, split: Split, batch: int = 256) -> Accuracy:
    """Run the model over a whole split, in eval mode, on the model's device."""
    return accuracy(*predict(model, clips, split, batch), clips)


def predict(model: nn.Module, clips: Clips, split: Split, batch: int = 256) -> tuple[Tensor, Tensor]:
    """Logits (N, classes) and labels (N,) of a whole split, in its order, on the CPU."""

    def ask(index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        x, y = batch_of(clips, split, index, device)
        return model(x).float(), y

    return asked(model, clips.size(split), batch, ask, (len(clips.classes),))


def asked(
    model: nn.Module,
    clips: int,
    batch: int,
    ask: Callable[[Tensor, torch.device], tuple[Tensor, Tensor]],
    shape: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """What `ask` answers of clips 0, 1, … in batches, and their labels; in eval mode, without gradients, on the CPU.

    Args:
        ask: gets the clips' numbers and the model's device.
        shape: of one answer, for no clips at all: of many processes some may have none of a small split.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    answers: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.no_grad():
        for index in torch.arange(clips).split(batch) if clips else ():  # torch splits nothing into one empty batch
            answer, label = ask(index, device)
            answers.append(answer.cpu())
            labels.append(label.cpu())
    model.train(was_training)
    if not answers:
        return torch.empty(0, *shape), torch.empty(0, dtype=torch.long)
    return torch.cat(answers), torch.cat(labels)


@dataclass(frozen=True)
class MultiView:
    """Accuracy over several views of each video.

    Args:
        accuracy: of the averaged softmax.
        views: as papers write them, clips × crops: "4×3".
        per_view_top1_pct: of each view alone, all crops of the first clip first.
        macs_per_view: multiply-adds; None if the counters do not agree on them.
    """

    accuracy: Accuracy
    clips: int
    crops: int
    per_view_top1_pct: tuple[float, ...]
    macs_per_view: int | None

    @property
    def views(self) -> str:
        return f"{self.clips}×{self.crops}"

    def row(self) -> dict[str, Any]:
        """The figures as columns of a row."""
        n = self.clips * self.crops
        return {
            "views": self.views,
            "per_view_top1_pct": list(self.per_view_top1_pct),
            "macs_per_view": self.macs_per_view,
            "macs_total": None if self.macs_per_view is None else n * self.macs_per_view,
            **self.accuracy.row(),
        }


def evaluate_views(
    model: nn.Module, data: Clips, split: Split = "test", clips: int = 1, crops: int = 1, batch: int = 8
) -> MultiView:
    """Accuracy over clips × crops views of each video, their softmax averaged, in eval mode.

    Args:
        clips: places in time.
        crops: 1 (the centre) or 3 along the longer side.
        batch: videos at a time; their views go through the model together.

    Raises:
        InputError: the data set has no such views.
    """
    from tps_lab.measure.macs import count_macs

    if clips < 1 or crops < 1 or batch < 1:
        raise InputError(f"clips, crops and batch must be 1 or more, got {clips}, {crops} and {batch}")
    logits, labels = predict_views(model, data, split, clips, crops, batch)
    # the log of the averaged softmax: a ranking as good as the average's, and a loss that means what it says
    averaged = logits.log_softmax(2).logsumexp(1) - math.log(logits.shape[1])
    each = tuple(accuracy(logits[:, v], labels, data).top1_pct for v in range(logits.shape[1]))
    macs = count_macs(model, data.clip_shape)
    return MultiView(accuracy(averaged, labels, data), clips, crops, each, macs.value if macs.agreed else None)


def predict_views(
    model: nn.Module, data: Clips, split: Split, clips: int, crops: int, batch: int = 8
) -> tuple[Tensor, Tensor]:
    """Logits (N, clips × crops, classes) and labels (N,) of a whole split, in its order, on the CPU."""

    def ask(index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        x, y = data.views(split, index, clips, crops, device)
        return model(x.flatten(0, 1)).float().unflatten(0, x.shape[:2]), y

    return asked(model, data.size(split), batch, ask, (clips * crops, len(data.classes)))


def accuracy(logits: Tensor, labels: Tensor, clips: Clips) -> Accuracy:
    """The figures from logits (N, classes) and labels (N,)."""
    ranked = logits.argsort(dim=1, descending=True)
    right, right_of_five = ranked[:, 0] == labels, (ranked[:, :5] == labels[:, None]).any(1)
    everything = torch.ones_like(right)
    pairs = {f"{clips.classes[a]} / {clips.classes[b]}": (labels == a) | (labels == b) for a, b in clips.pairs}

    def share(of: Tensor, right: Tensor = right) -> float:
        return round(100 * right[of].float().mean().item(), 4)

    return Accuracy(
        top1_pct=share(everything),
        top5_pct=share(everything, right_of_five) if logits.shape[1] > 5 else None,
        per_class_pct={name: share(labels == i) for i, name in enumerate(clips.classes) if (labels == i).any()},
        per_pair_pct={name: share(of) for name, of in pairs.items() if of.any()},
        clips=len(labels),
        loss=torch.nn.functional.cross_entropy(logits, labels).item(),
    )


# ---------------------------------------------------------------------- of frozen features


def linear_probe(model: Any, clips: Clips) -> Accuracy:
    """Accuracy on the test split of logistic regression on frozen, standardised features of the training split.

    With a backbone whose weights are those of an image model, this shows what a way of mixing space and time alone
    lets through: features of a spatial model are an average over frames, the same for a clip and its reversal.

    Args:
        model: a video model; its features before the classifier are used, in eval mode.
        clips: an opened data set.
    """
    from sklearn.linear_model import LogisticRegression

    x_train, y_train = frozen_features(model, clips, "train")
    x_test, y_test = frozen_features(model, clips, "test")
    # In double precision: what a shift changes may be small beside what clips have in common.
    mean, spread = x_train.mean(0), x_train.std(0).clamp(min=1e-9)
    classifier = LogisticRegression(max_iter=2000)
    classifier.fit(((x_train - mean) / spread).numpy(), y_train.numpy())
    probabilities = torch.from_numpy(classifier.predict_proba(((x_test - mean) / spread).numpy()))
    logits = torch.full((len(x_test), len(clips.classes)), -30.0, dtype=torch.float64)
    logits[:, classifier.classes_] = probabilities.clamp(min=1e-12).log()
    return accuracy(logits, y_test, clips)


def frozen_features(model: Any, clips: Clips, split: Split, batch: int = 16) -> tuple[Tensor, Tensor]:
    """Pooled features (N, C) in float64 and labels (N,) of a whole split, in eval mode, without gradients."""

    def ask(index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        x, y = batch_of(clips, split, index, device)
        return model.forward_head(model.forward_features(x), pre_logits=True).double(), y

    return asked(model, clips.size(split), batch, ask, (0,))
