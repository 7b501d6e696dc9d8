"""The small trained models: they load, they answer as their card says, and their cards say where they are from."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from tps_lab import data, zoo
from tps_lab.errors import InputError
from tps_lab.training.config import make


@pytest.mark.parametrize("name", zoo.names())
def test_a_model_answers_as_its_run_recorded(name):
    run, model = zoo.run(name), zoo.load(name)
    clips = data.parse(run.config["data"]).opened()
    index = torch.arange(0, 512)
    with torch.no_grad():
        said = model(clips.batch("test", index)[0]).argmax(1).numpy()
    predicted, labels = run.predictions
    assert np.mean(said == predicted[:512]) > 0.995  # another machine's rounding may turn a close one
    assert run.row["top1_pct"] == pytest.approx(100 * np.mean(predicted == labels), abs=0.01)
    assert make(run.config) == make(zoo.MODELS[name])


def test_the_image_model_knows_digits():
    assert zoo.run("still/spatial").row["top1_pct"] > 85


def test_only_the_blind_one_is_at_its_ceiling():
    top1 = {name: zoo.run(name).row["top1_pct"] for name in zoo.names() if name.startswith("opposites/")}
    assert top1.pop("opposites/spatial") <= 50
    assert min(top1.values()) > 95


@pytest.mark.parametrize("name", zoo.names())
def test_its_card_says_where_it_is_from(name):
    folder = zoo.run(name).path
    card = (folder / "README.md").read_text()
    for part in (
        "## Accuracy",
        "## Data",
        "BSD",
        "## Recipe",
        "| steps | 1000 |",
        f"python -m tps_lab.zoo {name}",
        "at commit",
    ):
        assert part in card
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work)/", file.read_text()), file
    json.loads((folder / "card.json").read_text())


def test_it_is_small():
    total = sum(file.stat().st_size for name in zoo.names() for file in zoo.run(name).path.iterdir())
    assert total <= 8 * 2**20


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(InputError, match="did you mean 'opposites/tps\\+tcs'"):
        zoo.load("opposites/tps-tcs")
