"""Trackers: what they receive, and that none of them costs a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tps_lab.errors import InputError
from tps_lab.results.runs import RunWriter
from tps_lab.training.config import make
from tps_lab.training.train import train

TINY = {
    "attention": "spatial",
    "data": "opposites(frames=4, size=16, train=16, val=12, test=12)",
    "recipe": {"steps": 2, "batch": 4, "validate_every": 1},
    "trackers": ["tensorboard"],
}


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], int]]:
    tracking = pytest.importorskip("accelerate.tracking")
    pytest.importorskip("tensorboard")
    found: list[tuple[dict[str, Any], int]] = []
    monkeypatch.setattr(
        tracking.TensorBoardTracker, "log", lambda self, values, step=None, **_: found.append((values, step))
    )
    return found


def test_names_that_every_service_takes(received: list[tuple[dict[str, Any], int]], tmp_path: Path) -> None:
    run = train(make(TINY), tmp_path)
    assert run.row["status"] == "done"
    assert [step for _, step in received] == [1, 2]
    assert list(run.path.rglob("events.out.tfevents*"))
    for values, _ in received:
        assert set(values) == {"train_loss", "val_loss", "val_top1_pct", "lr"}
        assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in values)
    expected = [line["top1_pct"] for line in run.metrics if line["split"] == "val"]
    assert [values["val_top1_pct"] for values, _ in received] == expected


def test_one_that_fails_is_said_once_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = pytest.importorskip("accelerate.tracking")
    pytest.importorskip("tensorboard")

    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server is gone\nand more")

    plain = train(make(TINY | {"trackers": []}), tmp_path / "plain")
    monkeypatch.setattr(tracking.TensorBoardTracker, "log", fails)
    monkeypatch.setattr(tracking.TensorBoardTracker, "finish", fails)
    run = train(make(TINY), tmp_path / "failing")
    assert run.row["status"] == "done"
    assert (run.row["top1_pct"], run.row["test_loss"]) == (plain.row["top1_pct"], plain.row["test_loss"])
    said = capsys.readouterr().err
    assert said.count("tensorboard failed and is left out from here on: ConnectionError: the server is gone\n") == 1


def test_one_that_cannot_begin_is_an_error_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracking = pytest.importorskip("accelerate.tracking")
    pytest.importorskip("tensorboard")

    def refuses(*_: Any, **__: Any) -> None:
        raise PermissionError("no api key")

    monkeypatch.setattr(tracking.TensorBoardTracker, "__init__", refuses)
    with pytest.raises(InputError, match=r"the tracker \(tensorboard\) cannot start: PermissionError: no api key"):
        train(make(TINY), tmp_path)
    assert not list(tmp_path.iterdir())


def test_discarding_takes_away_only_what_is_new(tmp_path: Path) -> None:
    RunWriter(tmp_path / "new").discard()
    assert not (tmp_path / "new").exists()
    RunWriter(tmp_path / "begun")
    (tmp_path / "begun" / "checkpoint-000000003").mkdir()
    RunWriter(tmp_path / "begun", keep_bytes=0).discard()  # killed before its first validation
    RunWriter(tmp_path / "begun", keep_bytes=0)  # it can still be gone on with
