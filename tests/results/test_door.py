"""A damaged run is named with its reason and left out; all others are read."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import change_row, run_folder
from safetensors.numpy import save

from tps_lab.errors import InputError
from tps_lab.files import Damaged
from tps_lab.results import metrics, runs

Damage = Callable[[Path], Any]


def put(name: str, content: str | bytes) -> Damage:
    return lambda run: (run / name).write_bytes(content.encode() if isinstance(content, str) else content)


def row(**changes: Any) -> Damage:
    return lambda run: change_row(run, **changes)


def without(key: str) -> Damage:
    def damage(run: Path) -> None:
        file = run / "row.json"
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != key}))

    return damage


def pipe(name: str) -> Damage:
    def damage(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return damage


def link(name: str, to: str) -> Damage:
    def damage(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(to)

    return damage


def arrays(**stored: Any) -> Damage:
    return put("predictions.safetensors", save({key: np.asarray(value) for key, value in stored.items()}))


def views(**changes: Any) -> Damage:
    def damage(run: Path) -> None:
        file = run / "views-4x3.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return damage


N = 24
DAMAGES: dict[str, tuple[Damage, str]] = {
    "row cut": (put("row.json", '{"status": "do'), "row.json is no whole JSON"),
    "row empty": (put("row.json", ""), "row.json is no whole JSON"),
    "row a list": (put("row.json", "[]"), "row.json: .*dictionary"),
    "row binary": (put("row.json", b"\xff\xfe"), "no UTF-8"),
    "row a pipe": (pipe("row.json"), "no plain file"),
    "row a folder": (lambda run: ((run / "row.json").unlink(), (run / "row.json").mkdir()), "no plain file|cannot"),
    "row without end": (link("row.json", "/dev/zero"), "no plain file"),
    "row a link to nothing": (link("row.json", "/nonexistent"), "link to nothing"),
    "row nested": (put("row.json", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"), "nested"),
    "row a little nested": (put("row.json", '{"a": ' + "[" * 50 + "]" * 50 + "}"), "nested"),
    "row of many digits": (put("row.json", '{"seed": ' + "9" * 5000 + "}"), "row.json"),
    "row of many values": (row(more=list(range(600_000))), "500,000 values"),
    "row too long": (row(reason="x" * 300_000), "300,000 characters"),
    "status of another version": (row(status="paused"), "status"),
    "label missing": (without("label"), "label is missing"),
    "seed missing": (without("seed"), "seed is missing"),
    "label a number": (row(label=3), "label.*string"),
    "seed a text": (row(seed="3"), "seed.*integer"),
    "seed negative": (row(seed=-1), "seed"),
    "top1 250": (row(top1_pct=250.0), "top1_pct.*100"),
    "top1 NaN": (row(top1_pct=float("nan")), "top1_pct is nan"),
    "top1 of a class infinite": (row(per_class_pct={"left": float("inf")}), "left is inf"),
    "latency NaN": (row(latency_ms={"median": float("nan")}), "median is nan"),
    "clips negative": (row(test_clips=-24), "test_clips"),
    "depth 1e9": (row(depth=10**9), "depth"),
    "grid 0": (row(grid=[0, 0, 0]), "grid"),
    "grid of texts": (row(grid=["a"] * 3), "grid"),
    "frames 1e9": (row(frames=10**9), "frames"),
    "varied a list": (row(varied=[1]), "varied"),
    "classes a text": (row(classes="left"), "classes"),
    "twins 0": (row(twins=0), "twins"),
    "macs by counter a text": (row(macs_by_counter={"fvcore": "x"}), "macs_by_counter"),
    "metrics broken": (put("metrics.jsonl", "{bad}\n"), "metrics.jsonl, line 1"),
    "metrics a list": (put("metrics.jsonl", "[1]\n"), "metrics.jsonl, line 1"),
    "metrics out of range": (put("metrics.jsonl", '{"step": 1, "split": "val", "top1_pct": 1e9}\n'), "top1_pct"),
    "metrics a pipe": (pipe("metrics.jsonl"), "no plain file"),
    "environment broken": (put("environment.json", "{"), "environment.json"),
    "environment nested": (put("environment.json", '{"cpu": {"a": 1}}'), "environment.json"),
    "config broken": (put("config.yaml", "a: [1,"), "config.yaml:1"),
    "config a list": (put("config.yaml", "[1]"), "config.yaml"),
    "config of a recipe by name": (put("config.yaml", "recipe: pst"), "recipe.*got 'pst'"),
    "config of a recipe in a list": (put("config.yaml", "recipe: [pst]"), "recipe"),
    "config of a recipe of numbers": (put("config.yaml", "recipe: 3"), "recipe"),
    "config of data in a list": (put("config.yaml", "data: [opposites]"), "data"),
    "config with code": (put("config.yaml", "a: !!python/object/apply:os.system ['true']"), "the tag"),
    "config of aliases": (put("config.yaml", "a: &a [*a]\n"), "alias"),
    "config nested": (put("config.yaml", "a: " + "[" * 5000 + "]" * 5000), "brackets inside brackets"),
    "predictions cut": (put("predictions.safetensors", b"\x10\x00"), "predictions.safetensors"),
    "predictions of a huge header": (
        put("predictions.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        "predictions.safetensors",
    ),
    "predictions of class 30000": (
        arrays(predicted=np.full(N, 30_000, np.int16), label=np.zeros(N, np.int16)),
        "class 30000",
    ),
    "predictions below 0": (arrays(predicted=np.zeros(N, np.int16), label=np.full(N, -1, np.int16)), "class -1"),
    "predictions of 7 clips": (arrays(predicted=np.zeros(7, np.int16), label=np.zeros(7, np.int16)), "7 clips"),
    "predictions of two lengths": (arrays(predicted=np.zeros(N, np.int16), label=np.zeros(7, np.int16)), "24 answers"),
    "predictions a table": (arrays(predicted=np.zeros((N, 1), np.int16), label=np.zeros(N, np.int16)), r"\(24, 1\)"),
    "predictions not whole": (arrays(predicted=np.full(N, np.nan), label=np.zeros(N, np.int16)), "float64"),
    "labels missing": (arrays(predicted=np.zeros(N, np.int16)), "lacks label"),
    "views of other types": (views(top1_pct="x", macs_total={}), "views-4x3.json"),
    "views without end": (link("views-4x3.json", "/dev/zero"), "no plain file"),
    "views of fewer figures": (views(per_view_top1_pct=[50.0]), "1 figures for 4×3"),
    "views named so that pages break": (views(views="4×3<b>"), "views"),
    "time use without probes": (put("time_use.json", '{"probes": []}'), "time_use.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_named_and_left_out(tmp_path: Path, name: str) -> None:
    damage, reason = DAMAGES[name]
    good = run_folder(tmp_path, seed=0)
    bad = run_folder(tmp_path, seed=1)
    damage(bad)
    left_out: list[runs.LeftOut] = []
    (found,) = runs.find(tmp_path, on_damaged=left_out.append)
    (one,) = left_out
    assert found.path == good
    assert one.path == bad
    import re

    assert re.search(reason, one.reason), one.reason
    assert len(one.reason) < 300
    assert "\n" not in one.reason
    if "row" in name or name in ("seed missing", "label missing"):
        assert not runs.is_done(bad)


def closed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A folder that cannot be looked into, for whoever runs the tests: root can look into any."""
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_cannot_be_looked_into_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = run_folder(tmp_path, seed=0), run_folder(tmp_path, seed=1)
    closed(monkeypatch, bad)
    left_out: list[runs.LeftOut] = []
    (found,) = runs.find(tmp_path, on_damaged=left_out.append)
    assert found.path == good
    assert list(map(str, left_out)) == [f"{bad}: the folder cannot be read: Permission denied"]
    with pytest.warns(UserWarning, match="seed1.*Permission denied"):
        assert not list(runs.archived([tmp_path]))
    with pytest.raises(InputError, match=r"no run in .* can be read: .*Permission denied"):
        runs.find(bad)


def test_a_folder_inside_one_that_cannot_be_entered_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"cannot read .*: Permission denied"):
        runs.find(tmp_path / "inside")
    with pytest.raises(InputError, match=r"cannot read .*: Permission denied"):
        runs.open_run(tmp_path / "inside")


def test_what_is_whole_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = runs.Run(run_folder(tmp_path)).check()
    assert run.row["top1_pct"] == 50.0
    assert len(run.metrics) == 4
    assert run.config["backbone"] == "vit_micro"
    assert run.predictions is not None
    assert int((run.predictions[0] == run.predictions[1]).sum()) == 12
    assert run.views[0]["views"] == "4×3"


@pytest.mark.parametrize(
    "harmless",
    [
        row(a_key_of_tomorrow={"x": [1, 2.5, "y"]}),
        put("environment.json", '{"npu": "x", "cores": 3}'),
        put("metrics.jsonl", '{"step": 1, "split": "val", "top1_pct": 1.0, "newer": 3}\n{"step": 2, "spl'),
        put("metrics.jsonl", '{"step": 1, "loss": NaN}\n'),
        row(test_loss=float("inf")),
        arrays(predicted=np.zeros(N, np.int64), label=np.zeros(N, np.uint8), scores=np.zeros((N, 4), np.float16)),
        put("notes.txt", b"\xff\xff"),
    ],
)
def test_what_a_newer_version_adds_is_let_through(tmp_path: Path, harmless: Damage) -> None:
    harmless(run_folder(tmp_path))
    assert len(runs.find(tmp_path, on_damaged=lambda left: pytest.fail(str(left)))) == 1


def test_a_row_of_a_run_that_failed_early_knows_little(tmp_path: Path) -> None:
    runs.write_row(tmp_path / "x", {"status": "failed", "reason": "killed", "seed": 3})
    assert [run.row["reason"] for run in runs.find(tmp_path)] == ["killed"]


def test_a_run_whose_figures_are_no_numbers_can_be_read_again(tmp_path: Path) -> None:
    nan = float("nan")
    changes = {"val_top1_pct": nan, "per_class_pct": {"left": nan}, "top5_pct": 101.0, "test_loss": nan}
    path = run_folder(tmp_path, missing={"params": "why"}, **changes)
    row = runs.open_run(path).row
    assert (row["status"], row["top1_pct"]) == ("done", 50.0)
    assert row["val_top1_pct"] is row["per_class_pct"] is row["top5_pct"] is None
    assert row["missing"]["params"] == "why"
    assert row["missing"]["val_top1_pct"] == "val_top1_pct is nan"
    assert row["missing"]["top5_pct"].endswith("got 101.0")
    failed = runs.open_run(run_folder(tmp_path, seed=1, top1_pct=nan)).row
    assert failed["status"] == "failed"
    assert failed["reason"] == "the run is done, but top1_pct is missing; top1_pct is nan"
    abandoned = runs.write_row(tmp_path / "x", {"status": "failed", "reason": "killed", "macs": -1}).row
    assert (abandoned["reason"], abandoned["macs"]) == ("killed", None)
    said, labels = np.zeros(N, int), np.zeros(N, int)
    runs.write_predictions(path, said, labels, np.full((N, 4), np.nan))
    assert runs.open_run(path).scores is None


def test_if_none_can_be_read_the_error_names_the_first(tmp_path: Path) -> None:
    change_row(run_folder(tmp_path), top1_pct=-1.0)
    with pytest.raises(InputError, match=r"no run in .* can be read: .*Spatial-seed0.*top1_pct"):
        runs.find(tmp_path)


def test_from_python_a_damaged_run_is_a_warning(tmp_path: Path) -> None:
    run_folder(tmp_path, seed=0)
    change_row(run_folder(tmp_path, seed=1), depth=10**9)
    with pytest.warns(UserWarning, match=r"left out: .*seed1.*depth"):
        assert len(runs.load(tmp_path)) == 1


def test_a_single_run_that_is_damaged_is_an_error_that_names_it(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (run / "predictions.safetensors").write_bytes(b"x")
    with pytest.raises(Damaged, match=r"Spatial-seed0.*predictions.safetensors"):
        runs.open_run(run)


def test_scores_and_clip_names_are_kept_and_checked(tmp_path):
    path = run_folder(tmp_path)
    run = runs.Run(path)
    assert run.scores is None
    assert run.clip_names is None
    said, labels = run.predictions
    scores = np.full((len(labels), 4), 0.25, np.float32)
    names = [f"clip {i}.mp4" for i in range(len(labels))]
    runs.write_predictions(path, said, labels, scores, names)
    run = runs.Run(path)
    assert run.clip_names == names
    assert np.array_equal(run.scores, scores.astype(np.float16))
    assert np.array_equal(run.predictions[0], said)
    for wrong in ({"scores": scores[1:]}, {"scores": scores[:, 1:]}, {"scores": scores + 1}, {"clips": names[1:]}):
        runs.write_predictions(path, said, labels, **{"scores": scores, "clips": names} | wrong)
        run = runs.Run(path)
        with pytest.raises(Damaged, match=r"scores|names"):
            _ = run.scores, run.clip_names


def test_a_metric_of_answers_is_in_the_row_of_runs_that_were_there_before(tmp_path, monkeypatch):
    path = run_folder(tmp_path, right=6)
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))

    @metrics.metric("said_left_pct", "Said left")
    def said_left(answers, labels):
        return 100 * np.mean(answers == 0)

    answers, _ = runs.Run(path).predictions
    assert runs.Run(path).row["said_left_pct"] == pytest.approx(100 * list(answers).count(0) / len(answers))
    assert "said_left_pct" in metrics.measures()
    (path / "predictions.safetensors").unlink()
    assert "said_left_pct" not in runs.Run(path).row
    (path / "predictions.safetensors").write_bytes(b"x")
    assert "said_left_pct" not in runs.Run(path).row
    for name, says in (("macs", "already"), ("said left", "letters")):
        with pytest.raises(InputError, match=says):
            metrics.metric(name, "")


def test_float32_has_its_name_of_today_in_runs_that_were_written_before(tmp_path):
    run = run_folder(tmp_path / "old", precision="no")
    (run / "config.yaml").write_text("attention: tps\nrecipe: {steps: 3, precision: 'no'}\n")
    read = runs.Run(run)
    assert (read.row["precision"], read.config["recipe"]) == ("fp32", {"steps": 3, "precision": "fp32"})


def test_a_copy_of_a_run_is_no_further_seed(tmp_path):
    run_folder(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    run_folder(tmp_path / "b", seed=1)
    assert [run.row["seed"] for run in runs.find(tmp_path)] == [0, 1]


def test_a_metric_cannot_change_what_others_read(tmp_path, monkeypatch):
    run = runs.Run(run_folder(tmp_path))
    before = run.predictions[0].copy()
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))

    @metrics.metric("late_pct", "Late")
    def late(answers, labels):
        answers[labels == 0] = 3
        return 5.0

    assert runs.Run(run.path).row["late_pct"] == 5
    assert (runs.Run(run.path).predictions[0] == before).all()


@pytest.mark.parametrize("given", ["hello", None, np.zeros(2)])
def test_a_metric_that_gives_no_number_is_named(tmp_path, monkeypatch, given):
    run = runs.Run(run_folder(tmp_path))
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    metrics.metric("odd_pct", "Odd")(lambda answers, labels: given)
    with pytest.raises(InputError, match="the metric 'odd_pct' fails on a run's answers"):
        runs.Run(run.path).row  # noqa: B018
