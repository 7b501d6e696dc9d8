"""Memory over a step: what it adds up to, and its picture."""

import numpy as np
import pytest

from tps_lab import create_model, viz
from tps_lab.measure.predicted_memory import predict, timeline
from tps_lab.measure.step import Step

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def made(attention):
    return lambda: create_model("vit_micro", attention, **TINY)


@pytest.mark.parametrize("attention", ["tps", "divided", "joint"])
@pytest.mark.parametrize(
    "setting", [Step(4), Step(4, precision="bf16", optimizer="sgd"), Step(4, checkpointing=True), Step(4, fused=False)]
)
def test_its_highest_moments_are_the_predicted_peaks(attention, setting):
    found, predicted = timeline(made(attention), setting), predict(made(attention), setting)
    assert found.allocated.max() == predicted.training
    assert found.reserved[-1] == predicted.training_reserved
    for part, most in predicted.most.items():
        if part != "overhead":
            assert found.parts[part].max() <= most
    assert found.parts["gradients"].max() == predicted.most["gradients"]
    assert all((bytes_ >= 0).all() for bytes_ in found.parts.values())
    assert (found.allocated <= found.reserved).all()
    assert (np.diff(found.reserved) >= 0).all()
    assert 0 < found.backward_at < found.optimizer_at == len(found.reserved) - 3
    assert not found.parts["gradients"][: found.backward_at].any()
    assert not found.parts["gradients"][-1]


def test_its_picture_names_parts_phases_and_the_peak():
    found = timeline(made("tps"), Step(4))
    ax = viz.memory_over_step({"TPS-C": found, "once more": found})
    panels = ax.child_axes
    assert [panel.get_title(loc="left") for panel in panels] == ["TPS-C", "once more"]
    texts = [text.get_text() for text in panels[0].texts]
    assert texts[1:] == ["forward", "backward", "step"]
    assert texts[0] == f"{found.allocated.max() / 2**20:.1f} MiB"
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {*found.parts, "reserved"}
