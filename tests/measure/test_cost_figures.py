"""Variants side by side: predicted peaks by names, at the command line."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import tps_lab
from tps_lab.cli import app, cost_text
from tps_lab.errors import InputError
from tps_lab.measure import Step


def test_the_command_shows_parts_and_batches_of_every_variant_and_says_what_cannot_be():
    run = CliRunner().invoke(app, ["cost", "spatial", "tps", "trajectory", "--backbone", "swin_micro", "--json"])
    assert run.exit_code == 0
    found = json.loads(run.stdout)
    assert [row["attention"].partition("(")[0] for row in found["rows"]] == ["spatial", "tps"]
    assert "windows" in found["impossible"]["trajectory"]
    for row in found["rows"]:
        assert sum(row["training_parts_bytes"].values()) == row["peak_memory_bytes"]["training"]
        assert row["largest_batch"]["16 GB"] > row["largest_batch"]["8 GB"]
    text = cost_text.several(found["rows"], found["impossible"])
    assert "activations" in text
    assert "predicted for CUDA" in text


def test_the_command_draws_the_step_of_those_that_can_be(tmp_path):
    file = tmp_path / "memory.png"
    run = CliRunner().invoke(app, ["cost", "tps", "trajectory", "--backbone", "swin_micro", "--save", str(file)])
    assert run.exit_code == 0
    assert run.stdout.splitlines()[-1] == str(file)
    assert file.stat().st_size > 5_000


def test_a_variant_that_cannot_be_is_an_error_if_it_is_all_that_was_asked_for():
    run = CliRunner().invoke(app, ["cost", "trajectory", "--backbone", "swin_micro"])
    assert isinstance(run.exception, InputError)


def test_rounds_must_be_two():
    run = CliRunner().invoke(app, ["cost", "tps", "--measure", "--rounds", "1"])
    assert run.exit_code != 0
    assert "2" in str(run.exception) + run.output


CLIP = (3, 5, 4, 4)


class Foreign(nn.Module):
    """No model of this package: it does not say what clips it takes."""

    def __init__(self, answer=lambda head, x: head(x), *layers):
        super().__init__()
        self.answer, self.head = answer, nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(7))
        self.head(torch.zeros(2, *CLIP))

    def forward(self, x):
        return self.answer(self.head, x)


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        (Foreign(), 240 * 7),
        (Foreign(lambda head, x: {"aux": x, "logits": head(x)}), 240 * 7),
        (Foreign(lambda head, x: (head(x), x)), 240 * 7),
        (Foreign(lambda head, x: head(x)[:, :, None].expand(-1, -1, 2)), 240 * 7),
        (Foreign(lambda head, x: head(x), nn.Conv3d(3, 6, (3, 1, 1), padding=(1, 0, 0), groups=3),
                 nn.MaxPool3d((1, 2, 2))), 5 * 16 * 6 * 3 + 6 * 5 * 4 * 7),
        (Foreign().requires_grad_(False), 240 * 7),
    ],
)  # fmt: skip
def test_any_model_is_counted_and_predicted(model, macs):
    found = tps_lab.measure.cost(model, CLIP, Step(2))
    assert found["macs"] == macs
    assert found["params"] == sum(p.numel() for p in model.parameters())
    learns = next(model.parameters()).requires_grad
    assert (found["peak_memory_bytes"] is not None) == learns
    assert learns or "none of its weights learns" in found["missing"]["peak_memory_bytes"]
    assert found["missing"]["macs_by_counter.closed form"] == "Foreign is no model of this package"
    assert model(torch.zeros(2, *CLIP)) is not None
    assert not hasattr(model, "clip_shape")


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (Foreign(), {}, "Foreign does not say what clips it takes: give clip_shape, e.g. (3, 8, 32, 32)"),
        (Foreign(), {"clip_shape": (3, 5, 4, 5)}, "Foreign cannot be counted on clips of (3, 5, 4, 5): "),
        (lambda x: x, {"clip_shape": CLIP}, "torch.nn.Module, got <function"),
        (nn.LazyLinear(3), {"clip_shape": CLIP}, "lazy layers: call it once on clips"),
        (
            Foreign(lambda head, x: head(x) if x.mean() > 0 else x),
            {"clip_shape": CLIP},
            "looks at values, which only measured",
        ),
        (Foreign(lambda head, x: "left"), {"clip_shape": CLIP}, "the model gives no logits"),
        (Foreign().requires_grad_(False), {"clip_shape": CLIP, "measured": True}, "no weight of Foreign learns"),
    ],
)
def test_what_cannot_be_counted_is_told_in_one_line(model, options, said, capfd):
    with pytest.raises(InputError) as refused:
        tps_lab.measure.cost(model, **options)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(), (3, 5, 4), (3, 5, 4, 4, 1), (3, 0, 4, 4), (3, -5, 4, 4), (3, 5, 4.5, 4), (3, 5, "4", 4), (None, 5, 4, 4),
     "3x5x4x4", "abcd", 3, {"C": 3}],
)  # fmt: skip
def test_what_is_no_shape_of_a_clip_is_refused(shape, measured):
    with pytest.raises(InputError, match=r"clip_shape must be four whole numbers of 1 or more, \(C, T, H, W\)"):
        tps_lab.measure.cost(Foreign(), shape, measured=measured)


def test_arrays_are_shapes_too():
    assert tps_lab.measure.cost(Foreign(), torch.tensor(CLIP))["macs"] == 240 * 7


def test_clips_that_a_model_does_not_take_are_refused_before_it_is_timed():
    model = Foreign()
    with pytest.raises(InputError, match=r"^Foreign does not take clips of \(3, 5, 4, 5\): RuntimeError: mat1[^\n]*$"):
        tps_lab.measure.cost(model, (3, 5, 4, 5), measured=True)
    assert model.training
    with pytest.raises(InputError, match=r"^b \(Foreign\) does not take clips of \(3, 5, 4, 5\): "):
        tps_lab.measure.costs({"a": nn.Flatten(), "b": model}, (3, 5, 4, 5))


@pytest.mark.parametrize("step", ["x", 2, {"batch": 2}, Step, torch.optim.AdamW])
def test_what_is_no_step_is_refused(step):
    for measured in (False, True):
        with pytest.raises(InputError, match=r"step must be a tps_lab.measure.Step, such as Step\(batch=8\), got"):
            tps_lab.measure.cost(Foreign(), CLIP, step, measured)
    with pytest.raises(InputError, match=r"step must be"):
        tps_lab.measure.compare_latency({"a": Foreign()}, step, CLIP)


@pytest.mark.parametrize(
    ("option", "given"),
    [("batch", given) for given in ("2", 2.5, True, None, [2], 0)]
    + [(name, given) for name in ("precision", "optimizer", "compile") for given in (3, ["fp32"])]
    + [(name, given) for name in ("training", "checkpointing", "fused", "graphs") for given in ("no", None, 1)],
)
def test_a_step_says_which_of_its_options_makes_no_sense(option, given):
    with pytest.raises(InputError, match=f"^{option} must be [^\n]*, got "):
        Step(**{option: given})


@pytest.mark.parametrize("models", [{}, [nn.Flatten()], nn.Flatten(), {"a": 3}])
def test_models_are_given_by_name(models):
    for ask in (tps_lab.measure.costs, tps_lab.measure.compare_latency):
        with pytest.raises(InputError):
            ask(models, clip_shape=CLIP)
