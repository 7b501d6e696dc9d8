"""Variants side by side: predicted peaks by names, at the command line."""

import json

from typer.testing import CliRunner

from tps_lab.cli import app, cost_text
from tps_lab.errors import InputError


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
