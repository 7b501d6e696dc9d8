"""Whether models use time, and several views, on models whose answers are known beforehand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tps_lab import InputError
from tps_lab.data import Clips
from tps_lab.measure.accuracy import accuracy, evaluate, evaluate_views
from tps_lab.measure.time_use import answer, facts, orders, rearrangements


class Ramps(Clips):
    """Clips that get brighter (class 0) or darker (class 1); a scene is a clip and its reversal."""

    classes = ("brighter", "darker")
    pairs = ((0, 1),)
    clip_shape = (3, 8, 4, 4)
    ceiling = 0.5
    clips_per_scene = 2

    def size(self, split: str) -> int:
        return 20

    def batch(self, split: str, index: torch.Tensor, device: object = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        steps = torch.arange(8.0)[None] + index[:, None] // 2 * 0.1
        steps = torch.where((index % 2 == 1)[:, None], steps.flip(1), steps)
        return steps[:, None, :, None, None].expand(-1, *self.clip_shape), index % 2

    def views(
        self, split: str, index: torch.Tensor, clips: int = 1, crops: int = 1, device: object = "cpu"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.batch(split, index)
        tilt = torch.ones(clips * crops)
        tilt[0] = -1.0  # the first view shows the clip backwards
        return torch.where(tilt[:, None, None, None, None] < 0, x[:, None].flip(3), x[:, None]), y


class Reads(nn.Module):
    """Says whether the last frame is brighter than the first: reads the direction of time."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rise = self.gain * (x[:, 0, -1, 0, 0] - x[:, 0, 0, 0, 0])
        return torch.stack([rise, -rise], 1)

    def closed_form_macs(self) -> dict[str, int]:
        return {"all": 0}


class Blind(Reads):
    """Looks at the mean of the frames."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.gain * (x.mean((1, 2, 3, 4)) - 3.7)
        return torch.stack([mean, -mean], 1)


def test_a_model_that_reads_time() -> None:
    by = {row.name: row for row in rearrangements(Reads(), Ramps(), batch=7)}
    assert by["as it is"].top1_pct == 100
    assert (by["reversed"].top1_pct, by["reversed"].opposite_answer_pct, by["reversed"].fall) == (0, 100, 100)
    assert by["frozen"].top1_pct == 50  # no rise at all: the first class
    assert by["every 2nd"].top1_pct == 100
    assert by["shuffled"].clips == 3 * 20
    assert 0 < by["shuffled"].fall < 100
    assert "100.0 % of the clips are taken for the opposite class" in answer(list(by.values()))


def test_a_model_that_is_blind_to_order() -> None:
    model = Blind()
    model.train()
    rows = rearrangements(model, Ramps())
    by = {row.name: row for row in rows}
    assert by["as it is"].top1_pct == 50
    for name in ("shuffled", "reversed"):
        assert (by[name].fall, by[name].same_answer_pct) == (0, 100)
    assert answer(rows) == "It does not use the order of frames: every clip gets the same answer shuffled."
    assert model.training
    assert json.loads(json.dumps(facts(rows, Ramps())))["ceiling_pct"] == 50


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_orders(frames: int) -> None:
    found = orders(frames, torch.Generator().manual_seed(0))
    for name, several in found.items():
        for order in several:
            assert order.shape == (frames,)
            assert set(order.tolist()) <= set(range(frames))
            if name == "shuffled" and frames > 1:
                assert sorted(order.tolist()) == list(range(frames)) != order.tolist()
    assert ("every 4th" in found) == (frames > 4)


def test_views_are_averaged_as_probabilities() -> None:
    model, clips = Reads(0.5), Ramps()
    one = evaluate_views(model, clips)
    assert one.views == "1×1"
    assert one.per_view_top1_pct == (0.0,)  # the first view is backwards
    found = evaluate_views(model, clips, clips=1, crops=3, batch=3)
    row = found.row()
    assert row["views"] == "1×3"
    assert row["per_view_top1_pct"] == [0.0, 100.0, 100.0]
    assert row["top1_pct"] == 100
    x, y = clips.views("test", torch.arange(20), 1, 3)
    p = model(x.flatten(0, 1)).softmax(1).unflatten(0, (20, 3)).mean(1)
    want = -p[torch.arange(20), y].log().mean().item()
    assert math.isclose(row["test_loss"], want, rel_tol=1e-5)
    with pytest.raises(InputError, match="clips, crops and batch must be 1 or more"):
        evaluate_views(model, clips, clips=0)


def test_one_view_is_the_ordinary_test() -> None:
    from tps_lab import create_model
    from tps_lab.data import parse

    clips = parse("opposites", train=2, val=2, test=24, frames=4).opened()
    model = create_model("vit_micro", "tps", pattern="A", frames=4, num_classes=12, size=24)
    found = evaluate_views(model, clips)
    ordinary = evaluate(model, clips, "test")
    # batches of another size: the last bits of the loss are the processor's
    assert replace(found.accuracy, loss=0.0) == replace(ordinary, loss=0.0)
    assert math.isclose(found.accuracy.loss, ordinary.loss, rel_tol=1e-5)
    assert found.row()["macs_total"] == found.row()["macs_per_view"] > 0
    assert accuracy(torch.eye(12), torch.arange(12), clips).top1_pct == 100


def test_evaluate_both_ways_and_report(tmp_path, capsys) -> None:
    from typer.testing import CliRunner

    from tps_lab.cli import app
    from tps_lab.training.config import make
    from tps_lab.training.train import train

    runner = CliRunner()
    small = "opposites(train=48, val=12, test=24, frames=4)"
    train(
        make({"attention": "spatial", "data": small, "recipe.steps": 2}),
        tmp_path,
        cost={"missing": {"macs": "not counted"}},
    )
    (found,) = json.loads(runner.invoke(app, ["evaluate", str(tmp_path), "--rearranged", "--json"]).output)
    assert found["time_use"]["answer"].startswith("It does not use the order of frames")
    assert found["time_use"]["probes"][1]["same_answer_pct"] == 100
    assert "views" not in found
    views = json.loads(runner.invoke(app, ["evaluate", str(tmp_path), "--json"]).output)
    assert views[0]["views"] == "1×1"
    assert views[0]["macs_total"] == views[0]["macs_per_view"]
    done = runner.invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    assert "Does it use time at all?" in (tmp_path / "page" / "index.html").read_text()
    assert "Does it use time at all?" in (tmp_path / "page" / "report.md").read_text()


class AlwaysUp(Reads):
    """Reads time, but the first class is always ahead."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).tanh() + torch.tensor([9.0, 0.0])


def test_answers_that_stay_though_the_logits_move() -> None:
    said = answer(rearrangements(AlwaysUp(), Ramps()))
    assert said.startswith("Every clip gets the same answer shuffled, though not with the same confidence: "), said
