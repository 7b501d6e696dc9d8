"""Peaks measured in a process of their own; what does not fit is an answer."""

import json
import subprocess
import threading

import pytest
import torch
from torch import nn

from tps_lab import create_model
from tps_lab.measure import memory
from tps_lab.measure.memory import OutOfMemory, is_out_of_memory, peak_memory, peak_memory_fresh
from tps_lab.measure.step import Step

SHAPE = (3, 8, 32, 32)


def tiny():
    return create_model("vit_micro", "tps", embed_dim=24, depth=2, num_heads=2)


def test_a_fresh_process_finds_what_this_one_finds():
    model = tiny()
    here, there = peak_memory(model, Step(2), SHAPE), peak_memory_fresh(model, Step(2), SHAPE)
    assert there.how == f"{here.how}, in a fresh process"
    assert (there.training, there.inference) == pytest.approx((here.training, here.inference), rel=0.01)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, clips):
        return self.layer(clips.flatten(1))


def test_a_model_that_cannot_travel_is_measured_here_and_says_so():
    model = Own()
    model.lock = threading.Lock()
    model.__deepcopy__ = lambda memo: model
    assert "not in a fresh process" in peak_memory_fresh(model, Step(2), (1, 1, 2, 2)).how


def test_out_of_memory_is_an_answer_and_other_errors_are_not(monkeypatch, tmp_path):
    torch.save(Own(), tmp_path / "model.pt")
    (tmp_path / "job.json").write_text(json.dumps({"device": "cpu", "clip_shape": SHAPE, "step": {"batch": 2}}))

    def fails(error):
        monkeypatch.setattr(memory, "peak_memory", lambda *_: (_ for _ in ()).throw(error))

    fails(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB\nand more"))
    assert memory.measure(tmp_path) == {
        "out_of_memory": "out of memory: CUDA out of memory. Tried to allocate 9.00 GiB"
    }
    fails(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        memory.measure(tmp_path)


def test_a_model_that_the_machine_cannot_hold_is_reported_as_such(monkeypatch, tmp_path):
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    assert is_out_of_memory(raised.value)
    torch.save(Own(), tmp_path / "model.pt")
    (tmp_path / "job.json").write_text(
        json.dumps({"device": "cpu", "clip_shape": [1, 1, 2, 2], "step": {"batch": 2**46}})
    )
    assert "can't allocate memory" in memory.measure(tmp_path)["out_of_memory"]
    for ended, line in ((-9, ""), (0, '{"out_of_memory": "out of memory: 9 GiB"}')):
        answer = subprocess.CompletedProcess([], ended, line, "")
        monkeypatch.setattr(memory.subprocess, "run", lambda *_, answer=answer, **__: answer)
        with pytest.raises(OutOfMemory, match="out of memory"):
            peak_memory_fresh(Own(), Step(2), (1, 1, 2, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_nothing_leaks_into_a_fresh_process_and_out_of_memory_is_an_answer():
    kept = torch.empty(2**28, device="cuda")  # 1 GiB that must not be counted
    found = peak_memory_fresh(tiny().cuda(), Step(2), SHAPE)
    assert found.training_reserved < kept.nbytes
    with pytest.raises(OutOfMemory, match="out of memory"):
        peak_memory_fresh(tiny().cuda(), Step(2**20), SHAPE)
