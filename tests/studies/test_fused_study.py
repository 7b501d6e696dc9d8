"""The report on fused attention: from made-up rows, and one real cell."""

import csv
import itertools
import json
import subprocess
import sys
import time

import pytest
from study import load

from tps_lab.errors import InputError

fused_attention = load("fused")
answer, build, cell, grid = (getattr(fused_attention, name) for name in ("answer", "build", "cell", "grid"))


def row(label, frames, fused, ms, gib, **more):
    shared = {"attention": label.lower(), "size": 224, "macs": 10**12, "status": "predicted", "inference_bytes": 1}
    costs = {"step_ms": ms, "forward_ms": ms / 3, "training_bytes": int(gib * 2**30)}
    return {"label": label, "frames": frames, "fused": fused, **shared, **costs, **more}


def rows(joint_fused_ms, joint_fused_gib):
    found = []
    for frames, unfused in ((8, 1.0), (16, 4.0)):
        for fused in (True, False):
            found.append(row("TPS-C", frames, fused, 10, 2))
        found.append(row("Joint", frames, True, joint_fused_ms * frames / 8, joint_fused_gib))
        found.append(row("Joint", frames, False, 30 * unfused, 8 * unfused))
    return found


def test_the_answer_follows_from_the_figures():
    assert answer(rows(10.5, 2)).startswith(
        "Yes, but against joint attention TPS is predicted to pay only in time (from 16 frames on), no longer in memory"
    )
    assert "At 16 frames of 224² joint is predicted to take 2.1 times as long" in answer(rows(10.5, 2))
    assert answer(rows(5, 2)).startswith("No: joint attention costs hardly more")
    assert answer(rows(10.5, 3)).startswith(
        "Yes: against joint attention TPS still pays in time (from 16 frames on) and in memory (from 8 frames on)."
    )


def test_the_report_says_what_was_measured_and_what_ran_out_of_memory(tmp_path, monkeypatch):
    left = {(r["label"], r["frames"], r["fused"]): r for r in rows(10.5, 2)}
    monkeypatch.setattr(
        fused_attention, "cell", lambda label, attention, frames, size, fused: left.pop((label, frames, fused))
    )
    with pytest.raises(InputError, match="jobs"):
        build(tmp_path, [], jobs=0)
    cells = [{key: r[key] for key in ("label", "attention", "frames", "size", "fused")} for r in rows(10.5, 2)]
    page = build(tmp_path, cells).read_text()
    assert "nothing here was measured on a GPU" in page
    assert page.splitlines()[2].startswith("Yes, but against joint attention TPS is predicted to pay only in time")
    assert "| Joint | 10.5 / 30 | 21 / 120 |" in page
    assert (tmp_path / "over_frames.png").stat().st_size > 10_000
    assert build(tmp_path, cells).read_text() == page  # from what is kept: `left` has nothing more
    timed = [rows(10.5, 2)[i] | {"status": "measured", "measured_ms": 3e3, "measured_bytes": 2**30} for i in (0, 2)]
    with (tmp_path / "cells.jsonl").open("a") as file:
        for given, row in zip((cells[0], cells[2]), timed, strict=True):
            file.write(json.dumps({"cell": given | {"measure": "a GPU"}, "row": row}) + "\n")
    page = build(tmp_path, cells).read_text()  # without a GPU again
    assert "2 of 8 cells were measured on a GPU" in page
    assert "Measured on a GPU, fused, it takes this many times as long, at so many frames: 1.0 at 8." in page
    starved = [
        r | ({"status": "out of memory"} if r["label"] == "Joint" else {"measured_ms": 12.0}) for r in rows(10, 2)
    ]
    page = fused_attention.write(tmp_path, starved).read_text()
    assert "4 of 8 cells were measured on a GPU, 4 ran out of its memory" in page
    assert "| Joint | out of memory / out of memory |" in page


def test_a_page_is_of_one_gpu_and_what_is_fused_comes_first(tmp_path, monkeypatch):
    """At 128 frames joint attention of the one GPU was held against TPS of another, and a cut left unfused cells."""
    asked = []

    def one_cell(cell, given, without):
        asked.append(given)
        of = {key: given[key] for key in given if key != without}
        if given["measure"] == "slow" and len(asked) > 5:
            raise KeyboardInterrupt
        return (
            rows(10, 2)[0]
            | of
            | {"gpu": given["measure"], "measured_ms": 9.0, "measured_bytes": 1, "status": "measured"}
        )

    monkeypatch.setattr("study._in_fresh_process", one_cell)
    cells = [{key: r[key] for key in ("label", "attention", "frames", "size", "fused")} for r in rows(10, 2)]
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, cells, measure="slow")
    assert [given["fused"] for given in asked[:5]] == [True] * 4 + [False]
    assert (
        "8 of 8 cells were measured on a GPU, 0 ran out of its memory (fast)"
        in build(tmp_path, cells, measure="fast").read_text()
    )
    assert "(fast)" in build(tmp_path, cells).read_text()  # without a GPU again
    with (tmp_path / "cells.csv").open() as file:
        assert [(r["label"], r["fused"], r["gpu"]) for r in csv.DictReader(file)] == [
            (given["label"], str(given["fused"]), "fast") for given in cells
        ]


def test_cells_that_failed_are_named(tmp_path):
    some = rows(10, 2)
    failed = [{key: some[-1][key] for key in ("label", "frames", "size", "fused")} | {"status": "failed: no disk"}]
    page = fused_attention.write(tmp_path, some[:-1] + failed).read_text()
    assert "**1 cell failed** (Joint unfused with 16 frames of 224²): no disk" in page
    assert "(unfused: no figure)" in page


def test_where_all_that_is_fused_was_measured_the_answer_goes_by_that():
    measured = [
        r | {"measured_ms": 4.0 * r["step_ms"], "measured_bytes": 3 * r["training_bytes"]} if r["fused"] else r
        for r in rows(10.5, 2)
    ]
    for r in measured:
        if r["label"] == "Joint" and r["fused"]:
            r["measured_ms"] *= 2
        elif not r["fused"]:
            r["status"] = "out of memory"
    found = answer(measured)
    assert found.startswith("Yes, but against joint attention TPS pays only in time (from 8 frames on)")
    assert "joint takes 4.2 times as long as TPS with fused attention (unfused it ran out of memory)" in found
    assert answer([r for r in measured if r["label"] != "Joint"]).startswith("No answer")
    assert answer([]).startswith("No answer")


def test_a_real_cell(monkeypatch):
    monkeypatch.setattr(fused_attention, "BACKBONE", "vit_micro")
    fused, unfused = (cell("Joint", "joint", 16, 64, way) for way in (True, False))
    assert fused["macs"] == unfused["macs"]
    assert fused["training_bytes"] < unfused["training_bytes"]
    assert fused["forward_ms"] < fused["step_ms"] < unfused["step_ms"]


def test_local_windows_divide_every_size():
    assert {c["attention"] for c in grid() if c["label"] == "Local"} == {"local(window=7)", "local(window=10)"}
    assert len(grid()) == 5 * 5 * 2 * 2


INSIDE = """
import time, sys
from study import load
alone = load("fused").alone
with alone("test-exclusive"):
    print(time.monotonic_ns(), flush=True)
    time.sleep(0.2)
    print(time.monotonic_ns(), flush=True)
    if sys.argv[1] == "dies":
        import os; os.kill(os.getpid(), 9)
"""


def test_processes_take_turns_and_one_that_dies_lets_the_next_in():
    started = time.monotonic_ns()
    run = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path}\n" + INSIDE]
    processes = [subprocess.Popen([*run, how], stdout=subprocess.PIPE, text=True) for how in ("dies", "ends", "ends")]
    spans = sorted(tuple(map(int, process.communicate(timeout=60)[0].split())) for process in processes)
    assert len(spans) == 3
    for (_, left), (entered, _) in itertools.pairwise(spans):
        assert started < left <= entered
