"""Two processes on one machine (gloo) train one model; stopped and resumed, it is the same to the bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tps_lab.results import runs

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command += [str(HERE / "two_processes.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(out):
    assert json.loads((out / "stopped-4").read_text()) == ["checkpoint-000000003"]
    assert json.loads((out / "stopped-5").read_text()) == ["checkpoint-000000004"]
    whole, cut = runs.Run(out / "whole"), runs.Run(out / "cut")
    one, other = (load_file(run.path / "model.safetensors") for run in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
    strip = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (whole, cut)]
    assert strip[0] == strip[1]
    assert [line["step"] for line in whole.metrics] == [2, 2, 4, 4, 6, 6]
    ignored = ("train_seconds", "id")
    assert {k: v for k, v in whole.row.items() if k not in ignored} == {
        k: v for k, v in cut.row.items() if k not in ignored
    }


def test_every_test_clip_is_predicted_once(out):
    predicted, labels = runs.Run(out / "whole").predictions
    assert labels.tolist() == [i % 12 for i in range(24)]
    row = runs.Run(out / "whole").row
    assert row["processes"] == 2
    assert row["test_clips"] == 24
    assert 100 * (predicted == labels).mean() == pytest.approx(row["top1_pct"], abs=1e-4)
