"""The page of speeds: what stands in for the released code computes the same, and targets are held against figures."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from study import load

from tps_lab import create_model, shift_patches
from tps_lab.measure.predicted_memory import predict
from tps_lab.measure.step import Step

PAGE = load("speed")
import instead  # noqa: E402  # beside the page, which puts its folder on the path
import many  # noqa: E402


@pytest.mark.parametrize("inverse", [False, True])
def test_clone_and_roll_is_the_shift(inverse):
    from tps_lab.patterns import gallery

    x = torch.randn(2, 7, 5, 6, 3)
    assert torch.equal(instead.clone_and_roll(x, gallery["C"], inverse), shift_patches(x, "C", inverse=inverse))


def test_a_swin_with_the_released_shift_is_the_same_function():
    ours = create_model("swin_micro", "tps", frames=7, size=48, num_classes=5).double().eval()
    theirs = instead.with_released_shift(copy.deepcopy(ours))
    assert sum(isinstance(module, instead.ReleasedShift) for module in theirs.modules()) == 2
    clip = torch.randn(1, *ours.clip_shape, dtype=torch.float64)
    outputs = [model(clip) for model in (ours, theirs)]
    torch.testing.assert_close(*outputs)
    for out in outputs:
        out.square().sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_an_image_model_on_every_second_frame():
    seen = []
    model = instead.OnFrames(lambda frames: seen.append(frames) or frames.mean((2, 3)), 2)  # type: ignore[arg-type]
    clips = torch.randn(2, 3, 5, 4, 4)
    torch.testing.assert_close(model(clips), clips[:, :, [0, 2, 4]].mean((2, 3, 4)))
    assert seen[0].shape == (6, 3, 4, 4)


@pytest.mark.parametrize(
    ("figure", "met"),
    [({"value": 1.01, "low": 1.0, "high": 1.02}, True), ({"value": 1.01, "low": 1.0, "high": 1.03}, False),
     ({"value": 1.011, "low": 1.0, "high": 1.02}, False), ({"value": 1.0, "low": None, "high": None}, False)],
)  # fmt: skip
def test_a_target_counts_the_end_of_the_interval(figure, met):
    assert PAGE.target("step", "ViT-S/16, 8 frames", "tps, × spatial").met(figure) == met


def test_the_page_shows_every_machine_and_what_failed(tmp_path):
    measured = {"torch": "2", "load": "0 to 1", "date": "d"}
    given = {"part": "shift", "name": "small (64,8,4,4,64)", "threads": 1, "machine": "A", "seconds": 1.0}
    figures = [{"what": "one gather (ours), × a plain copy", "value": 1.2, "low": 1.1, "high": 1.3, "rounds": 9}]
    entries = [
        (given, measured | {"figures": figures}),
        (given | {"machine": "B", "threads": 4}, measured | {"figures": [figures[0] | {"value": 1.14}]}),
        (given | {"part": "cost", "name": "PST-B"}, {"status": "failed: out of memory"}),
    ]
    file = tmp_path / "cells.jsonl"
    file.write_text("".join(json.dumps({"cell": cell, "row": row}) + "\n" for cell, row in entries))
    text = PAGE.page(file, tmp_path).read_text()
    assert "## A, 1 core\n" in text
    assert "| 1.200 (1.100 to 1.300) | 9 rounds | ≤ 1.15: **missed** |" in text
    assert "| 1.140 (1.100 to 1.300) | 9 rounds | ≤ 1.15: held |" in text.partition("## B, 4 cores")[2]
    assert "failed: out of memory" in text


def test_a_compiled_shift_that_costs_a_kernel_is_no_success(monkeypatch, tmp_path):
    monkeypatch.setattr(PAGE, "kept_cells", lambda file, cells, *rest, **more: [
        {"figures": [{"what": "kernels, × spatial", "value": 1.02}]} for _ in cells])  # fmt: skip
    monkeypatch.setattr(PAGE, "page", lambda file, out: out)
    with pytest.raises(PAGE.typer.Exit):
        PAGE.main(only=["compiled"], quick=True, page_only=False, quiet=True)


def test_models_are_trained_in_turn():
    models = {name: create_model("swin_micro", name, frames=7, num_classes=5) for name in ("spatial", "tps")}
    models["released"] = instead.with_released_shift(copy.deepcopy(models["tps"]))
    figures = PAGE.in_turn(models, 1, seconds=0.01)
    assert [figure["what"] for figure in figures] == ["tps, × spatial", "released, × spatial"]
    assert all(figure["rounds"] >= 5 and figure["value"] > 0 for figure in figures)


def test_predictions_of_many_are_those_of_each():
    step = Step(2, precision="bf16")
    asked = [many.Configuration("vit_micro", name, {"depth": 2}, step) for name in ("spatial", "joint")]
    found = many.predictions(asked)
    assert [p.step for p in found] == [step] * 2
    assert found[1] == predict(lambda: create_model("vit_micro", "joint", depth=2), step)
