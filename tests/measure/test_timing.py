"""Warm-up, turns, ratios, failures and conditions of timings: on made-up times wherever possible."""

import json
import random

import numpy as np
import pytest
import torch
from here import here

from tps_lab import create_model, measure
from tps_lab.errors import InputError
from tps_lab.measure.conditions import cpu_mhz, gpu_values, moment
from tps_lab.measure.step import Step, prepared
from tps_lab.measure.timing import interleaved, is_steady, paired_ratio

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def made(*names):
    return {name: create_model("vit_micro", name, num_classes=3, **TINY) for name in names}


# ------------------------------------------------------------------ warm-up


def first_steady(series):
    return next((n for n in range(1, len(series) + 1) if is_steady(series[:n])), None)


def test_warm_up_waits_for_what_is_still_getting_faster():
    falling = [1 + 10 * 0.8**n for n in range(60)]
    ends = first_steady(falling)
    assert 15 < ends < 40
    assert falling[ends - 1] < 1.15
    assert first_steady([50.0, 50.0, 50.0] + [1.0] * 20) == 11  # two of the ten may be slow ones
    assert first_steady([2.0**n for n in range(60)]) is None


def test_warm_up_ends_at_once_where_nothing_changes_and_in_noise_soon():
    assert first_steady([1.0] * 20) == 10
    ends = []
    for seed in range(200):
        noise = random.Random(seed)
        ends.append(first_steady([noise.lognormvariate(0, 0.3) for _ in range(60)]))
    assert None not in ends
    assert np.median(ends) <= 12


def test_a_clock_that_slows_down_step_by_step_is_not_called_steady_in_between():
    assert not is_steady([1.0] * 5 + [1.3] * 5 + [1.7] * 5)
    assert not is_steady([1.0] * 5 + [1.3] * 5)


# ------------------------------------------------------------------ turns


def test_pieces_take_turns_and_turn_about_after_every_round():
    order = []
    timings = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=6, warm_up=2)
    assert "".join(order) == "abba" + "abba" * 3
    assert len(timings["a"].calls) == 6
    assert timings["a"].iqr >= 0
    assert timings["a"].warm_up == 2
    assert "wall clock" in timings["a"].how


def test_who_runs_out_of_memory_drops_out_and_the_others_go_on():
    calls = []

    def hungry():
        calls.append(1)
        if len(calls) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    failures = {}
    timings = interleaved({"a": lambda: None, "b": hungry}, repeats=8, warm_up=1, failures=failures)
    assert list(timings) == ["a"]
    assert len(timings["a"].calls) == 8
    assert failures == {"b": "out of memory: CUDA out of memory"}
    with pytest.raises(torch.OutOfMemoryError):
        interleaved({"b": hungry})
    with pytest.raises(RuntimeError, match="shapes"):  # other errors are no result
        interleaved({"c": lambda: (_ for _ in ()).throw(RuntimeError("shapes"))}, failures={})


# ------------------------------------------------------------------ ratios


def test_a_ratio_is_paired_by_round():
    slow_minute = [1.0] * 10 + [3.0] * 10
    ratio = paired_ratio([1.5 * ms for ms in slow_minute], slow_minute)
    assert (ratio.median, ratio.low, ratio.high, ratio.rounds) == (1.5, 1.5, 1.5, 20)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    rng, held, studies = np.random.default_rng(0), 0, 600
    for _ in range(studies):
        ratio = paired_ratio(np.exp(rng.standard_t(2, 25)) * 1.2, np.ones(25))  # heavy tails
        held += ratio.low <= 1.2 <= ratio.high
    assert 0.94 < held / studies < 0.985  # 25 rounds: 95.7 % by the binomial distribution


def test_too_few_rounds_have_no_interval():
    ratio = paired_ratio([1.0] * 5, [1.0] * 5)
    assert ratio.row() == {"median": 1.0, "low": None, "high": None, "rounds": 5}
    six = paired_ratio([1, 2, 3, 4, 5, 6], [1] * 6)
    assert (six.low, six.high) == (1, 6)
    with pytest.raises(InputError, match="5 and 4"):
        paired_ratio([1.0] * 5, [1.0] * 4)


# ------------------------------------------------------------------ models


def test_two_models_compared_with_conditions():
    found = measure.compare_latency(made("spatial", "tps"), repeats=7, seconds=5)
    assert found.baseline == "spatial"
    assert list(found.ratios) == ["tps"]
    assert found.ratios["tps"].rounds == len(found.timings["tps"].calls)
    assert {"torch", "timm", "python", "threads", "cpu", "gpu", "before", "after"} <= set(found.conditions)
    assert {"load", "cpu_mhz", "cpu_celsius"} <= set(found.conditions["before"])


def test_compile_time_stands_apart():
    models = made("tps")
    step, seconds = prepared(models["tps"], Step(2, precision="bf16", compile="eager"))
    assert seconds > 0
    step()
    _, none = prepared(models["tps"], Step(training=False))
    assert none is None


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 0}, {"precision": "fp8"}, {"optimizer": "lion"}, {"compile": "fast"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_bad_ways_are_named(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Step(**wrong)


def test_graphs_need_a_gpu():
    models = made("tps")
    with pytest.raises(InputError, match="GPU"):
        prepared(models["tps"], Step(graphs=True))


def test_a_cost_that_could_not_be_had_is_none_with_its_reason():
    models = made("tps", "spatial")
    whole = models["tps"].forward

    def forward(clips):
        if len(clips) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90.00 GiB")
        return whole(clips)

    models["tps"].forward = forward
    row, other = measure.costs(models, step=Step(2), seconds=0.2).values()
    assert row["latency_ms"]["median"] > 0
    assert row["clips_per_second"] is row["train_step_ms"] is row["peak_memory_bytes"] is None
    assert {"clips_per_second", "train_step_ms", "peak_memory_bytes"} <= set(row["missing"])
    assert other["train_step_ms"]["median"] > 0
    contract = "params macs macs_by_counter peak_memory_bytes latency_ms"
    assert set(contract.split()) <= set(other)
    assert {"training", "inference", "how"} <= set(other["peak_memory_bytes"])
    assert {"median", "iqr", "how"} <= set(other["latency_ms"])


# ------------------------------------------------------------------ conditions


def test_conditions_are_read_and_what_is_not_told_is_none():
    assert cpu_mhz("processor : 0\ncpu MHz\t\t: 2000.0\nprocessor : 1\ncpu MHz\t\t: 3000.0\n") == 2500
    assert cpu_mhz("no clocks here") is None
    names = ["gpu_mhz", "gpu_memory_mhz", "gpu_celsius", "gpu_watts", "gpu_driver"]
    assert list(gpu_values("1980, [N/A], 41, 88.31, 580.65.06", names).values()) == [1980, None, 41, 88.31, "580.65.06"]
    assert moment()["load"] >= 0


# ------------------------------------------------------------------ command


def test_the_command_prints_only_json_and_saves_all_calls(tmp_path):
    run = ["cost", "spatial", "tps", "--measure", "--rounds", 6, "--seconds", 2, "--json"]
    done = here(*run, "--save", tmp_path / "new" / "calls.json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert all(row["latency_ms"]["median"] > 0 for row in facts["rows"])
    assert facts["ratio"]["latency_ms"]["tps"]["median"] > 0
    saved = json.loads((tmp_path / "new" / "calls.json").read_text())
    assert len(saved["calls_ms"]["latency_ms"]["tps"]) == facts["ratio"]["latency_ms"]["tps"]["rounds"]


# ------------------------------------------------------------------ GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("what", ["inference", "training step"])
def test_on_cuda_events_and_graphs(what):
    models = {name: model.cuda() for name, model in made("spatial", "tps").items()}
    plain = measure.compare_latency(models, step=Step(2, what == "training step"), repeats=8, seconds=10)
    graphed = measure.compare_latency(models, step=Step(2, what == "training step", graphs=True), repeats=8, seconds=10)
    assert "CUDA events" in plain.timings["tps"].how
    assert "CUDA graph" in graphed.timings["tps"].how
    assert plain.conditions["after"]["gpu_celsius"] is not None
