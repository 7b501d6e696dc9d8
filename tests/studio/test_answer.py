"""What the studio answers: figures against plain loops, and every wrong field as a message."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tps_lab.attention import Grid, parse
from tps_lab.patterns import ShiftPattern, gallery
from tps_lab.studio import clips, judge
from tps_lab.studio.answer import Asked, answer, mixed, read


def asked(**fields):
    found, wrong = read({"clip": "moving digit", "rows": 4, "columns": 4, "frames": 8, "depth": 4} | fields)
    assert not wrong
    return found


def test_the_answer_is_plain_data_with_pictures():
    found = answer(asked(tile="A", frame=3))
    json.dumps(found)
    assert found["name"] == "A"
    assert found["frame"] == 3
    for name in ("mixed", "original", "strip", "heard"):
        kind, _, data = found[name].partition(",")
        assert kind == "data:image/png;base64"
        Image.open(io.BytesIO(base64.b64decode(data))).load()


@pytest.mark.parametrize(
    ("fields", "field", "line"),
    [
        ({"tile": "0 1 / x"}, "tile", "'x' is not an integer offset"),
        ({"tile": "0 1 / 2"}, "tile", "ragged tile"),
        ({"tile": ""}, "tile", "empty tile"),
        ({"tile": "<script>alert(1)</script>"}, "tile", "offset"),
        ({"tile": "9"}, "tile", "a clip of 8 frames cannot hold"),
        ({"tile": " ".join(["0"] * 13)}, "tile", "at most 12×12"),
        ({"frames": "many"}, "frames", "frames must be a whole number from 2 to 64, got 'many'"),
        ({"depth": 0}, "depth", "from 1 to 24"),
        ({"rows": None}, "rows", "from 1 to 32"),
        ({"border": "round"}, "border", "got 'round'"),
        ({"clip": "bykes"}, "clip", "unknown clip 'bykes'"),
        ({"clip": "nowhere.mp4"}, "clip", "no such video file: nowhere.mp4"),
    ],
)
def test_a_wrong_field_gets_one_line(fields, field, line):
    found, wrong = read({"clip": "moving digit", "frames": 8} | fields)
    assert found is None
    assert list(wrong) == [field]
    assert line in wrong[field]
    assert "\n" not in wrong[field]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["tile", "rows", "frames", "border", "frame", "every"]), st.text(max_size=12)))
def test_nonsense_never_raises(fields):
    found, wrong = read({"clip": "moving digit"} | fields)
    assert (found is None) == bool(wrong)


def test_a_mixed_frame_holds_the_patches_of_its_sources():
    clip = np.random.default_rng(0).integers(0, 255, (8, 224, 224, 3), np.uint8)
    state = Asked(ShiftPattern.parse("0 1 / -1 2"), 4, 4, 8, border="zero", frame=1)
    picture = mixed(clip, state)
    for row in range(4):
        for column in range(4):
            offset = [[0, 1], [-1, 2]][row % 2][column % 2]
            inside = np.s_[row * 56 + 2 : row * 56 + 54, column * 56 + 2 : column * 56 + 54]
            expected = clip[1 - offset][inside] if 0 <= 1 - offset < 8 else 0
            assert np.array_equal(picture[inside], expected * np.ones_like(picture[inside]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=1, max_size=3), st.integers(1, 3))
def test_heard_of_is_the_influence_of_the_variant(tile, every):
    pattern = ShiftPattern.parse(tile)
    grid = (5, 2, 3)
    if every > 3:
        return
    heard = judge.heard_by_the_middle(pattern, grid, 3, every, "circular")[-1]
    variant = parse("tps", pattern=pattern, every=every)
    middle = (5 // 2 * 2 + 1) * 3 + 1
    assert np.array_equal(heard.ravel(), variant.influence(Grid(*grid), 3)[middle])


def test_unevenness_is_zero_for_c_and_high_for_heaps():
    assert judge.evenness_gap(gallery["C"]) == 0
    assert judge.evenness_gap(gallery["none"]) == 0
    assert all(judge.evenness_gap(gallery[name]) < 0.25 for name in ("center-one", "A", "B", "D", "even-2"))
    assert judge.evenness_gap(gallery["uneven"]) > 0.4
    assert judge.evenness_gap(ShiftPattern.parse("1 1 1 0 0 0")) > 0.4


def said(tile, frames=8, depth=8):
    pattern = ShiftPattern.parse(tile)
    heard = judge.heard_by_the_middle(pattern, (frames, 4, 4), depth, 2, "circular")[-1]
    return " ".join(judge.warnings(pattern, frames, heard))


def test_warnings_name_what_is_known_uneven_or_out_of_reach():
    assert said("0 1 / -1 0") == "This is the pattern A."
    assert said("1 0 / 0 -1") == "This is the pattern A, begun at another corner of its tile."
    assert "Uneven" in said("1 1 1 0 0 0")
    assert "nothing from 4 of 8 frames (1, 3, 5, 7)" in said("0 2 / -2 0")
    assert said("0 1 / -1 1") == ""


def test_the_symmetries_that_are_claimed_hold_and_no_more_does():
    import torch

    from tps_lab import create_model

    clip = torch.randn(1, 3, 6, 16, 16, dtype=torch.float64)
    for tile, border in [("A", "circular"), ("A", "zero"), ("none", "circular"), ("2 2", "circular"), ("2 2", "zero")]:
        torch.manual_seed(0)
        model = create_model("vit_micro", "tps", pattern=tile, border=border, frames=6, size=16, num_classes=5)
        model = model.double().eval()
        kind, _ = judge.symmetry(ShiftPattern.parse(tile), border)
        with torch.no_grad():
            plain = model(clip)
            turned = torch.allclose(model(clip.roll(2, dims=2)), plain, atol=1e-9)
            mixed_up = torch.allclose(model(clip[:, :, [3, 1, 4, 0, 5, 2]]), plain, atol=1e-9)
        assert (turned, mixed_up) == {"any order": (True, True), "turning": (True, False), "none": (False, False)}[kind]


def test_the_memory_by_hand_is_the_predicted_one(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # 32 MiB, on whatever GPU is at hand
    from tps_lab import create_model
    from tps_lab.measure.predict import Setting, predict
    from tps_lab.studio.memory import training_bytes

    for frames, side, depth, batch in [(8, 7, 3, 2), (6, 10, 2, 5)]:
        size = {"frames": frames, "size": 16 * side, "depth": depth, "num_classes": 174}
        found = predict(
            lambda s=size: create_model("vit_small_patch16_224", "tps(pattern=A)", **s), Setting(batch=batch)
        )
        by_hand = training_bytes(frames, side, side, depth, 384, batch)
        assert by_hand == pytest.approx(found.training, rel=0.03)
        of_tensors = found.training - found.parts["overhead"]
        assert by_hand - 2 * 32 * 2**20 == pytest.approx(of_tensors, rel=0.02)
    facts = {fact["name"]: fact for fact in answer(asked(tile="C"))["facts"]}
    assert facts["Training memory"]["figure"].endswith("GiB")


def test_copied_text_makes_the_same_variant():
    state = asked(tile="0 1 / -1 2", every=1, border="edge")
    taken = answer(state)["copy"]
    assert ShiftPattern.parse(taken["text"]) == state.pattern
    import yaml

    (line,) = yaml.safe_load(taken["yaml"])["attention"]
    assert parse(line) == parse("tps", pattern=state.pattern, every=1, border="edge")
    compile(taken["python"], "", "eval")


def test_every_clip_has_the_size_and_the_frames_that_are_asked_for():
    for name in clips.names():
        assert clips.load(name, 8).shape == (8, 224, 224, 3)


def test_the_studio_needs_no_torch_for_real_clips():
    if clips.names() == ["moving digit"]:
        pytest.skip("the extra [clips] is not installed")
    code = "import sys, tps_lab.viz as v; v.studio(); assert 'torch' not in sys.modules"
    pytest.importorskip("anywidget")
    subprocess.run([sys.executable, "-c", code], check=True)
