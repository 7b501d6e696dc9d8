"""Figures that nobody may change by accident: written down once, then held to the integer and to the byte.

figures.json holds, for each model and step: parameters, multiply-adds, predicted peaks with their parts, for some the
largest batches (of GPUs of 8 to 141 GB), and of the trace of inference and of a step (kernels, multiply-adds, bytes
forward and backward, bytes kept). Bytes depend on which kernels torch runs: with another torch they may move a little.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tps_lab import create_model
from tps_lab.measure.fake import fake
from tps_lab.measure.predicted_memory import predict, predict_batches
from tps_lab.measure.step import Step
from tps_lab.measure.trace import trace

STORED = json.loads(Path(__file__).with_name("figures.json").read_text())
SAME_TORCH = torch.__version__.split("+")[0] == STORED["torch"]


def named(row):
    return f"{row['backbone']}, {row['attention']}, {', '.join(f'{k} {v}' for k, v in row['setting'].items())}"


def rows():
    for row in STORED["rows"]:  # the long ones have smaller ones of their kind beside them
        yield pytest.param(row, id=named(row), marks=[pytest.mark.slow] * row["backbone"].startswith("swin_tiny"))


@pytest.mark.parametrize("row", rows())
def test_figures_are_those_written_down(row):
    model = fake(lambda: create_model(row["backbone"], row["attention"], **row["model"]))
    asked = dict(row["setting"])
    target = asked.pop("target", "cuda")
    step = Step(**asked)
    counted = sum(p.numel() for p in model.model.parameters()), sum(model.model.closed_form_macs().values())
    assert counted == (row["params"], row["macs"])
    for what, training in (("inference", False), ("step", True)):
        traced = trace(model, replace(step, training=training))
        found = [len(traced.kernels), traced.macs(), traced.bytes("forward"), traced.bytes("backward")]
        found.append(sum(traced.kept.values()))
        assert found[1] == row[f"traced_{what}"][1]
        alike(found, row[f"traced_{what}"])
    if "largest_batch" in row:
        predicted, largest = predict_batches(model, step)
        alike(list(largest.values()), row["largest_batch"])
    else:
        predicted = predict(model, step, target)
    alike([predicted.training, predicted.inference], [row["training"], row["inference"]])
    assert [predicted.training_reserved is None, predicted.inference_reserved is None] == [target == "cpu"] * 2
    if target == "cuda":
        reserved = [row["training_reserved"], row["inference_reserved"]]
        alike([predicted.training_reserved, predicted.inference_reserved], reserved)
    alike(list(predicted.most.values()), row["most"])
    if SAME_TORCH:
        assert list(predicted.parts.values()) == row["parts"]


def alike(found, stored):
    assert found == (stored if SAME_TORCH else pytest.approx(stored, rel=0.05))
