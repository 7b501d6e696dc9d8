"""A run that was killed goes on to the very same bits, wherever it was killed."""

import json
import multiprocessing
import os
import random
import sys
import threading
import time

import pytest
import torch
from ablate_tiny import COST, TINY, VARIABLE, figures, run, write
from safetensors.torch import load_file
from stopping import StopAt, Stopped

from tps_lab.ablate import claims
from tps_lab.ablate.grid import load
from tps_lab.results import runs
from tps_lab.training.checkpoints import Checkpoints
from tps_lab.training.config import make
from tps_lab.training.train import train


@pytest.mark.parametrize("every", [1, 2])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, every):
    # dropout, so that the random numbers of training matter too
    config = make(TINY | {"attention": "tps(pattern=A)", "backbone": "vit_micro(drop_path_rate=0.5)"})
    whole = train(config, tmp_path, cost=COST, checkpoints=Checkpoints(tmp_path / "whole", steps=100))
    for step in (2, 3, 6):
        with pytest.raises(Stopped):
            train(
                config,
                tmp_path,
                cost=COST,
                progress=StopAt(step),
                checkpoints=Checkpoints(tmp_path / "cut", steps=every),
            )
    cut = train(config, tmp_path, cost=COST, checkpoints=Checkpoints(tmp_path / "cut", steps=every))
    one, other = (load_file(r.path / "model.safetensors") for r in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
    strip = [[{k: v for k, v in line.items() if k != "seconds"} for line in r.metrics] for r in (whole, cut)]
    assert strip[0] == strip[1]
    assert not list(cut.path.glob("checkpoint-*"))  # done: nothing to go on from
    ignored = ("train_seconds", "id")
    assert {k: v for k, v in whole.row.items() if k not in ignored} == {
        k: v for k, v in cut.row.items() if k not in ignored
    }


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"w": torch.ones(2)}, {"step": 1})
    (tmp_path / "checkpoint-000000002").mkdir()
    (tmp_path / "checkpoint-000000002" / "model.safetensors").write_bytes(b"half")
    weights, state = checkpoints.newest()
    assert state["step"] == 1
    assert weights["w"].tolist() == [1, 1]


def test_a_checkpoint_that_cannot_be_written_is_noted_and_training_goes_on(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    done = train(make(TINY), tmp_path, cost=COST, checkpoints=Checkpoints(tmp_path / "run", steps=2))
    assert done.row["status"] == "done"
    assert "No space left" in done.row["checkpoint_problem"]
    assert not list(done.path.glob(".checkpoint*"))


def test_killed_at_random_moments_again_and_again_the_table_is_the_same(tmp_path, monkeypatch):
    """The process is killed with signal 9 wherever it happens to be, until the grid gets through."""
    file = write(tmp_path, scales={"small": {"seeds": 1}})
    whole, out = tmp_path / "whole" / "results", tmp_path / "cut" / "results"
    started = time.perf_counter()
    undisturbed = figures(run(file, whole))
    a_cell = (time.perf_counter() - started) / len(undisturbed)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context = multiprocessing.get_context("forkserver")  # loads torch once, for all that are killed
    context.set_forkserver_preload(
        ["ablate_tiny", "accelerate", "timm", "tps_lab.training.train", "tps_lab.backbones.vit"]
    )
    dice, kills, ended = random.Random(7), 0, False
    for _ in range(60):
        process = context.Process(target=run, args=(file, out))
        process.start()
        claimed = set(out.glob(".claims/*"))
        while set(out.glob(".claims/*")) <= claimed and process.is_alive():
            time.sleep(0.005)
        # at first so early that four of them cannot get through, however fast the machine is
        latest = a_cell / 4 if kills < 4 else 0.5
        process.join(dice.uniform(0, latest) if kills < 8 else None)
        if ended := process.exitcode == 0:
            break
        process.kill()
        process.join()
        kills += 1
    assert ended
    assert kills >= 4
    for cell in load(file).cells:
        row = {name: value for name, value in runs.Run(out / cell.id).row.items() if name not in VARIABLE}
        assert row == undisturbed[cell.id]
        one, other = (load_file(folder / cell.id / "model.safetensors") for folder in (whole, out))
        assert all(torch.equal(one[name], other[name]) for name in one)
        steps = [json.loads(line)["step"] for line in (out / cell.id / "metrics.jsonl").read_text().splitlines()]
        assert steps == [2, 2, 4, 4, 6, 6]  # nothing twice, nothing missing


def test_a_claim_is_one_processs_until_it_falls_silent(tmp_path):
    mine = claims.claim(tmp_path, "cell")
    assert claims.claim(tmp_path, "cell") is None
    assert claims.held(tmp_path, "cell")
    mine.release()
    assert not claims.held(tmp_path, "cell")
    again = claims.claim(tmp_path, "cell")
    assert again.file.suffix == ".2"
    with pytest.raises(claims.Outbid):
        mine.check()
    again.release()


def test_two_who_outbid_a_dead_holder_at_once_do_not_both_win(tmp_path):
    (tmp_path / ".claims").mkdir()
    (tmp_path / ".claims" / "cell.1").write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "1"}))
    os.utime(tmp_path / ".claims" / "cell.1", (0, 0))
    won, gate = [], threading.Barrier(16)

    def bid():
        gate.wait()
        won.append(claims.claim(tmp_path, "cell"))

    threads = [threading.Thread(target=bid) for _ in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    winners = [claim for claim in won if claim]
    assert len(winners) == 1
    winners[0].release()
