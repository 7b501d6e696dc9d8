"""What the studio says of a pattern, in Python: against plain loops and against models."""

from __future__ import annotations

import numpy as np
import pytest
import told
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_lab.attention import Grid, parse
from tps_lab.patterns import ShiftPattern, gallery
from tps_lab.studio import clips, judge


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=1, max_size=3), st.integers(1, 3))
def test_the_receptive_field_is_the_influence_of_the_variant(tile, every):
    pattern = ShiftPattern.parse(tile)
    grid = (5, 2, 3)
    field = told.receptive_fields(pattern, grid, 3, every, "circular")[-1]
    variant = parse("tps", pattern=pattern, every=every)
    middle = (5 // 2 * 2 + 1) * 3 + 1
    assert np.array_equal(field.ravel(), variant.influence(Grid(*grid), 3)[middle])


def test_unevenness_is_zero_for_c_and_high_for_heaps():
    assert judge.evenness_gap(gallery["C"]) == 0
    assert judge.evenness_gap(gallery["none"]) == 0
    assert all(judge.evenness_gap(gallery[name]) < 0.25 for name in ("center-one", "A", "B", "D", "even-2"))
    assert judge.evenness_gap(gallery["uneven"]) > 0.4
    assert judge.evenness_gap(ShiftPattern.parse("1 1 1 0 0 0")) > 0.4


def test_c_covers_three_times_as_much_as_a_after_two_blocks():
    coverage = {name: told.facts(gallery[name], 16, 14, 14, 12, 2, "circular")["coverage"] for name in "AC"}
    assert coverage["A"][2] == 3 / 16
    assert coverage["C"][2] == 9 / 16
    assert told.facts(ShiftPattern.parse("0 2 / -2 0"), 8, 4, 4, 8, 2, "circular")["unreached"] == [1, 3, 5, 7]


def test_the_symmetries_that_are_claimed_hold_and_no_more_does():
    import torch

    from tps_lab import create_model

    for tile, border, side in [
        ("A", "circular", 2), ("A", "zero", 2), ("none", "circular", 2), ("2 2", "circular", 2), ("2 2", "zero", 2),
        ("3 -3", "circular", 2), ("3 -3", "zero", 2),  # half round the ring, either way
        ("0 1", "zero", 1), ("1 0", "zero", 1), ("1 0", "circular", 1),  # one patch shows one offset
    ]:  # fmt: skip
        torch.manual_seed(0)
        clip = torch.randn(1, 3, 6, 8 * side, 8 * side, dtype=torch.float64)
        given = {"pattern": tile, "border": border, "frames": 6, "size": 8 * side}
        model = create_model("vit_micro", "tps", num_classes=5, **given).double().eval()
        kind = told.symmetry(ShiftPattern.parse(tile), border, 6, side, side, blocks=4, every=2)
        with torch.no_grad():
            plain = model(clip)
            turned = torch.allclose(model(clip.roll(2, dims=2)), plain, atol=1e-9)
            mixed_up = torch.allclose(model(clip[:, :, [3, 1, 4, 0, 5, 2]]), plain, atol=1e-9)
        assert (turned, mixed_up) == {"any order": (True, True), "cyclic": (True, False), "none": (False, False)}[kind]


def test_the_memory_by_hand_is_the_predicted_one(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # 32 MiB, on whatever GPU is at hand
    from tps_lab import create_model
    from tps_lab.measure.predicted_memory import predict
    from tps_lab.measure.step import Step
    from tps_lab.studio.judge import training_bytes

    for frames, side, depth, batch in [(8, 7, 3, 2), (6, 10, 2, 5)]:
        size = {"frames": frames, "size": 16 * side, "depth": depth, "num_classes": 174}
        found = predict(lambda s=size: create_model("vit_small_patch16_224", "tps(pattern=A)", **s), Step(batch=batch))
        by_hand = training_bytes(frames, side, side, depth, 384, batch)
        assert by_hand == pytest.approx(found.training, rel=0.03)
        of_tensors = found.training - found.parts["overhead"]
        assert by_hand - 2 * 32 * 2**20 == pytest.approx(of_tensors, rel=0.02)


def test_every_clip_has_the_size_and_the_frames_that_are_asked_for():
    for name in clips.names():
        assert clips.load(name, 8).shape == (8, 224, 224, 3)
