"""A linear probe on frozen features: what it must find, and what it cannot."""

import pytest
import torch

from tps_lab import create_model
from tps_lab.data import Clips
from tps_lab.measure.accuracy import frozen_features, linear_probe

torch.set_num_threads(1)


class Moving(Clips):
    """A bright column that moves right (clip 2i) or, frame by frame reversed, left (clip 2i + 1)."""

    classes = ("right", "left")
    clip_shape = (3, 6, 32, 32)

    def size(self, split):
        return {"train": 48, "test": 32}[split]

    def batch(self, split, index, device="cpu"):
        clips = torch.zeros(len(index), *self.clip_shape)
        for clip, i in zip(clips, index.tolist(), strict=True):
            rng = torch.Generator().manual_seed(2 * (i // 2) + (split == "test"))
            start = torch.randint(0, 8, (), generator=rng).item()
            for t in range(6):
                clip[:, t, :, start + 4 * t : start + 4 * t + 4] = 1
            if i % 2:
                clip.copy_(clip.flip(1))
        return clips.to(device), (index % 2).to(device)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    options = {"frames": 6, "num_classes": 2, "temporal_position": False}
    made = {name: create_model("vit_micro", name, **options) for name in ("spatial", "tps")}
    made["tps"].load_state_dict(made["spatial"].state_dict())  # the same weights: the shift is all that differs
    return made


def test_a_frozen_spatial_model_cannot_tell_a_clip_from_its_reversal_and_a_shift_can(models):
    found = {name: linear_probe(model, Moving()) for name, model in models.items()}
    assert found["spatial"].top1_pct == 50
    assert found["tps"].top1_pct >= 80
    assert found["tps"].clips == 32


def test_features_are_those_of_eval_mode_and_the_model_stays_as_it_was(models):
    model = models["tps"].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features, labels = frozen_features(model, Moving(), "test", batch=5)
    assert features.shape == (32, 64)
    assert features.dtype == torch.float64
    assert labels.tolist() == [0, 1] * 16
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    clips, _ = Moving().batch("test", torch.arange(32))
    with torch.no_grad():
        expected = model.eval().forward_head(model.forward_features(clips), pre_logits=True)
    torch.testing.assert_close(features, expected.double(), rtol=1e-5, atol=1e-5)
