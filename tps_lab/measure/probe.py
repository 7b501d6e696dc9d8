"""What frozen features know: a linear classifier on top of a model that is not trained.

The model's pooled features of every training clip, standardised, go into logistic regression; its
accuracy on the test clips is reported. With a backbone whose weights are those of an image model,
the probe shows what a way of mixing space and time alone lets through: features of a spatial model
are an average over frames, the same for a clip and its reversal.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tps_lab.data import Clips, Split
from tps_lab.measure.accuracy import Accuracy, accuracy


def linear_probe(model: Any, clips: Clips, batch: int = 16, penalty: float = 1.0) -> Accuracy:
    """Accuracy on the test split of logistic regression on frozen features of the training split.

    Args:
        model: a video model; its features before the classifier are used, in eval mode.
        clips: an opened data set.
        penalty: strength of the L2 penalty on the regression's weights (scikit-learn's 1/C).
    """
    from sklearn.linear_model import LogisticRegression

    x_train, y_train = frozen_features(model, clips, "train", batch)
    x_test, y_test = frozen_features(model, clips, "test", batch)
    # In double precision: what a shift changes may be small beside what clips have in common.
    mean, spread = x_train.mean(0), x_train.std(0).clamp(min=1e-9)
    classifier = LogisticRegression(C=1 / penalty, max_iter=2000)
    classifier.fit(((x_train - mean) / spread).numpy(), y_train.numpy())
    probabilities = torch.from_numpy(classifier.predict_proba(((x_test - mean) / spread).numpy()))
    logits = torch.full((len(x_test), len(clips.classes)), -30.0, dtype=torch.float64)
    logits[:, classifier.classes_] = probabilities.clamp(min=1e-12).log()
    return accuracy(logits, y_test, clips)


def frozen_features(model: Any, clips: Clips, split: Split, batch: int = 16) -> tuple[Tensor, Tensor]:
    """Pooled features (N, C) in float64 and labels (N,) of a whole split, in eval mode, without gradients."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    features, labels = [], []
    with torch.no_grad():
        for index in torch.arange(clips.size(split)).split(batch):
            clip, label = clips.batch(split, index, device)
            features.append(model.forward_head(model.forward_features(clip), pre_logits=True).double().cpu())
            labels.append(label.cpu())
    model.train(was_training)
    return torch.cat(features), torch.cat(labels)
