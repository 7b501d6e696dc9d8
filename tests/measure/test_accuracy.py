import torch

from tps_lab.data import Clips
from tps_lab.data.opposites import Opposites
from tps_lab.measure.accuracy import accuracy, predict, predict_views


def test_accuracy_by_class_and_by_pair():
    clips = Opposites(train=2, val=2, test=2).opened()
    labels = torch.tensor([0, 0, 1, 1, 2, 3, 10, 11])
    guesses = torch.tensor([0, 0, 0, 0, 2, 3, 10, 10])
    logits = torch.nn.functional.one_hot(guesses, 12).float()
    found = accuracy(logits, labels, clips)
    assert found.top1_pct == 62.5
    assert found.per_class_pct["right"] == 100
    assert found.per_class_pct["left"] == 0
    assert found.per_pair_pct["right / left"] == 50
    assert found.per_pair_pct["down / up"] == 100
    assert found.top5_pct >= found.top1_pct
    assert found.clips == 8


def test_pairs_and_classes_without_a_clip_are_left_out():
    """Not a number would cost a row all of its pairs."""
    clips = Opposites(train=2, val=2, test=2).opened()
    found = accuracy(torch.eye(12)[:2], torch.tensor([0, 1]), clips)
    assert (found.per_class_pct, found.per_pair_pct) == ({"right": 100, "left": 100}, {"right / left": 100})


def test_no_clips_are_no_batch():
    """Of many processes some may have no clip of a small split, and data sets cannot stack nothing."""

    class Empty(Clips):
        classes, clip_shape = ("a", "b", "c"), (1, 2, 3, 3)

        def size(self, split):
            return 0

        def batch(self, split, index, device="cpu"):
            raise AssertionError("asked for a batch of nothing")

        views = batch

    model = torch.nn.Linear(1, 1)
    logits, labels = predict(model, Empty(), "val")
    assert (tuple(logits.shape), tuple(labels.shape)) == ((0, 3), (0,))
    logits, labels = predict_views(model, Empty(), "val", 2, 3)
    assert (tuple(logits.shape), tuple(labels.shape)) == ((0, 6, 3), (0,))
