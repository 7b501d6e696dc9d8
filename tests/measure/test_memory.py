"""Live bytes against sums that can be done on paper; peaks measured in a process of their own."""

import json
import subprocess
import threading

import pytest
import torch
from torch import nn

from tps_lab import create_model
from tps_lab.measure import memory
from tps_lab.measure.memory import LiveBytes, OutOfMemory, is_out_of_memory, peak_memory, peak_memory_fresh
from tps_lab.measure.step import Step


def test_temporaries_are_counted_while_they_live():
    x = torch.zeros(1000)
    with LiveBytes() as live:
        live.track([x])
        a = x + 1
        b = a + 1
        del a
        c = b + 1
        assert live.live == 3 * 4000  # x, b, c
    assert live.peak == 3 * 4000  # x and two others, never more
    del b, c


def test_views_cost_nothing_and_in_place_work_neither():
    x = torch.zeros(1000)
    with LiveBytes() as live:
        live.track([x])
        x.view(10, 100).transpose(0, 1).add_(1)
    assert live.peak == 4000


def test_a_linear_layer_by_hand():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(500, 700))

        def forward(self, x):
            return x.flatten(1) @ self.weight.T

    measured = peak_memory(Linear(), Step(2), (1, 1, 1, 700))
    weights, clips = 500 * 700 * 4, 2 * 700 * 4
    # weight, gradient, AdamW's two moments, and up to two temporaries in the optimizer's step
    assert 4 * weights + clips <= measured.training <= 6 * weights + clips + 10_000
    assert measured.inference == pytest.approx(weights + clips, rel=0.01)
    assert measured.how == "tracked live tensors, cpu, batch 2"


def test_a_shifted_block_adds_at_most_one_token_sized_buffer():
    sizes = {"embed_dim": 48, "depth": 4, "num_heads": 3, "patch_size": 4}
    batch, tokens = 4, 8 * 64
    shifted, spatial = (
        peak_memory(create_model("vit_micro", name, **sizes), Step(batch), (3, 8, 32, 32))
        for name in ("tps", "spatial")
    )
    buffer = batch * tokens * 48 * 4
    indices = 2 * 2 * tokens * 8 + 2 * batch * tokens * 8  # per shifted block and per call, int64
    assert shifted.training - spatial.training <= 2 * buffer + indices  # two shifted blocks
    assert shifted.inference - spatial.inference <= buffer + indices


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_reports_allocated_and_reserved():
    measured = peak_memory(create_model("vit_micro", "tps").cuda(), Step(4), (3, 8, 32, 32))
    assert measured.training_reserved >= measured.training > measured.inference


# ---------------------------------------------------------------------- in a process of its own

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
        peak_memory_fresh(tiny().cuda(), Step(2**24), SHAPE)  # clips of 1.5 TiB
