"""Worker processes whose starter is killed, and what cannot be sent to them."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from tps_lab import plugins

GRID = """
title: Endless
question: Does it end?
base: {backbone: vit_micro, data: "opposites(train=64, val=24, test=24)", recipe.steps: 100000, recipe.batch: 8}
vary: {product: {attention: [spatial, tps]}}
scales: {small: {seeds: 1}}
"""


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_workers_end_by_themselves_when_who_started_them_is_killed(tmp_path):
    (tmp_path / "endless.yaml").write_text(GRID)
    arguments = ["ablate", str(tmp_path / "endless.yaml"), "--out", str(tmp_path / "runs"), "--timing-seconds", "0"]
    code = "from tps_lab.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments, "--jobs", "2"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("runs/*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(workers, timeout=120)
    assert (len(gone), alive) == (2, [])
    assert not list(tmp_path.glob("runs/*/row.json"))


def test_what_only_a_notebook_knows_stays_in_its_process():
    from tps_lab.attention import Variant, parse

    class Mine(Variant):
        pass

    assert not plugins.can_travel(Mine)
    assert plugins.can_travel(type(parse("tps")))
