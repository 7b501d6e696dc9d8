"""What is said before a run: whether it can work, what it takes, and what limits it."""

import math

import pytest
import torch
from tiny import TINY

from tps_lab import InputError, data
from tps_lab.training.config import make
from tps_lab.training.forecast import check_memory
from tps_lab.training.preflight import is_long, preflight, refuse
from tps_lab.training.throughput import Throughput, throughput
from tps_lab.training.train import train


def test_a_run_that_can_work_has_its_figures(tmp_path):
    found = preflight(make(TINY | {"recipe.compute.accumulate": 2}), tmp_path / "runs")
    facts = found.facts
    assert not found.problems
    assert facts["clips"] == {"train": 48, "val": 12, "test": 24}
    assert (facts["clips_per_part"], facts["steps"]) == (4, 4)
    assert facts["seconds"] > facts["step_seconds"] > facts["reading_seconds"] > 0
    assert facts["first_loss"] == pytest.approx(math.log(12), abs=1.0)
    assert "ready" in found.text()
    assert not list(tmp_path.iterdir())  # nothing is written


def test_what_cannot_work_is_refused(tmp_path, monkeypatch):
    import shutil

    clips = data.parse(TINY["data"]).opened()
    monkeypatch.setattr(clips, "batch", lambda *a: (_ for _ in ()).throw(OSError("gone")))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(1, 1, 0))
    monkeypatch.setattr("tps_lab.training.forecast.device_bytes", lambda: 1000)
    found = preflight(make(TINY), tmp_path, clips)
    assert len(found.problems) == 5  # three splits, memory, disk
    with pytest.raises(InputError, match=r"train clips cannot be read: gone.*GiB.*GB are free"):
        refuse(found)


def test_long_is_by_multiply_adds():
    clips = data.parse(TINY["data"]).opened()
    assert not is_long(make(TINY), clips)
    assert is_long(make(TINY | {"recipe.steps": 10**9}), clips)


def test_the_reader_or_the_model():
    slow = Throughput(100.0, "as given", {0: 9.0, 1: 10.0, 2: 18.0}, 0.1)
    assert (slow.limit, slow.best, slow.needed) == ("the reader", 2, 9)  # 90 clips/s by 10 each
    assert "short by   72 %" in slow.text()
    fast = Throughput(10.0, "as given", {1: 20.0}, 0.05)
    assert (fast.limit, fast.needed) == ("the model", 1)
    clips = data.parse(TINY["data"]).opened()
    found = throughput(make(TINY), clips, seconds=0.05, workers=(0,))
    assert found.model > 0
    assert found.reading[0] > 0
    with pytest.raises(InputError, match="seconds"):
        throughput(make(TINY), clips, seconds=0)


def test_what_does_not_fit_is_never_tried(monkeypatch):
    from tps_lab.training import forecast

    monkeypatch.setattr(forecast, "_try", lambda *a, **k: pytest.fail("tried"))
    monkeypatch.setattr(forecast, "device_bytes", lambda: 1000)
    found = forecast.forecast(make(TINY), tries="all")
    assert not found.fits
    assert (found.how, found.first_loss) == ("from multiply-adds", None)


@pytest.mark.parametrize(("gpus", "share"), [(0, 200), (1, 200), (2, 333), (8, 1000)])
def test_runs_at_a_time_share_the_memory_of_the_gpus_that_there_are(gpus, share, monkeypatch):
    from tps_lab.training import forecast

    monkeypatch.setattr(forecast, "device_bytes", lambda: 1000)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(forecast.measure, "best_device", lambda: torch.device("cuda" if gpus else "cpu"))
    assert forecast.forecast(make(TINY), jobs=5, earlier_seconds=1.0).memory_here == share


def test_a_step_that_the_memory_cannot_hold_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tps_lab.training.forecast.device_bytes", lambda: 4 << 20)
    large = TINY | {"recipe.batch": 32}  # 6 MiB; in 16 parts 2
    with pytest.raises(InputError, match=r"recipe\.batch=32: a training step of 32 clips takes about 0\.0 GiB"):
        train(make(large), tmp_path)
    assert not list(tmp_path.iterdir())
    in_parts = make(large | {"recipe.compute.accumulate": 16})
    check_memory(in_parts, in_parts.data.opened())


def test_memory_of_a_forecast_is_what_a_step_takes():
    from tps_lab.measure.memory import peak_memory
    from tps_lab.measure.step import Step
    from tps_lab.training.forecast import forecast
    from tps_lab.training.model import build

    config, clips = make(TINY), data.parse(TINY["data"]).opened()
    found = forecast(config, clips, tries="nothing")
    measured = peak_memory(build(config, clips), Step(config.recipe.batch), clips.clip_shape).training
    assert found.memory == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe.compute.accumulate": 4},
        {"recipe.ema": 0.9},
        {"recipe.rates.backbone": 0.0},
        {"recipe.rates.backbone": 0.0, "recipe.ema": 0.9, "recipe.compute.accumulate": 2},
    ],
    ids=str,
)
def test_memory_of_a_forecast_is_that_of_what_the_recipe_keeps(changed):
    """Gradients of the parts before, averaged weights, nothing for what is not trained; against the loop's own step."""
    from copy import deepcopy

    from torch.utils._pytree import tree_leaves

    from tps_lab.measure.memory import LiveBytes
    from tps_lab.training.forecast import forecast
    from tps_lab.training.loop import logits_and_loss, parameter_groups
    from tps_lab.training.model import build, freeze

    config, clips = make(TINY | changed), data.parse(TINY["data"]).opened()
    recipe, model = config.recipe, build(config, clips)
    freeze(model, recipe)
    averaged = [*deepcopy(model).state_dict().values()] if recipe.ema else []
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))
    x, y = clips.batch("train", torch.arange(recipe.batch))
    x, parts = x.contiguous(), recipe.compute.accumulate

    def step():
        optimizer.zero_grad()
        for x_part, y_part in zip(x.chunk(parts), y.chunk(parts), strict=True):
            logits_and_loss(model, x_part, y_part, recipe.regularise, 12)[1].backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    state = tree_leaves([dict(each) for each in optimizer.state.values()])
    with LiveBytes() as live:
        live.track([*model.parameters(), *model.buffers(), *averaged, *state, x, y])
        step()
    assert forecast(config, clips, tries="nothing").memory == pytest.approx(live.peak, rel=0.02)


def test_a_classifier_alone_is_trained_at_the_price_of_a_forward_pass():
    from tps_lab.training.forecast import forecast

    whole, alone = (forecast(make(TINY | {"recipe.rates.backbone": rate}), tries="nothing") for rate in (1.0, 0.0))
    assert whole.training_macs == 3 * alone.training_macs


def test_clips_that_are_not_here_are_as_many_as_their_owners_list():
    from tps_lab.training.forecast import forecast

    wanted = {
        "backbone": "vit_tiny_patch16_224(depth=2)", "data": "ssv2(frames=8)", "recipe.epochs": 2, "recipe.batch": 64,
    }  # fmt: skip
    found = forecast(make(wanted))
    assert "no data" in found.notes
    assert found.training_macs == 3 * found.macs * 64 * round(2 * 168_913 / 64)
