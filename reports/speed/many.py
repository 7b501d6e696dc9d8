"""Predicted peaks of a hundred configurations, in two processes, as many as the target has cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tps_lab import create_model
from tps_lab.measure.fake import FakeModel, fake
from tps_lab.measure.predicted_memory import PredictedMemory, predict
from tps_lab.measure.step import Step


@dataclass(frozen=True)
class Configuration:
    """A step of a model that is made from its name; model holds arguments of `create_model`."""

    backbone: str
    attention: str
    model: Mapping[str, Any]
    step: Step


def hundred() -> list[Configuration]:
    """ViT-S, ViT-B and Swin-T, five variants or four, precisions, batches, fused and unfused."""
    vits = [
        Configuration(backbone, attention, {"frames": 8}, Step(batch, precision=precision, fused=fused))
        for backbone in ("vit_small_patch16_224", "vit_base_patch16_224")
        for attention in ("spatial", "tps", "divided", "joint", "local(window=7)")
        for batch, precision, fused in ((2, "fp32", True), (8, "fp32", True), (2, "bf16", True), (8, "bf16", True),
                                        (2, "bf16", False), (8, "bf16", False))
    ]  # fmt: skip
    swin, clip = "swin_tiny_patch4_window7_224", {"frames": 32, "tubelet": 2}
    swins = [
        Configuration(swin, attention, clip, Step(batch, precision=precision))
        for attention in ("spatial", "tps", "tps+tcs", "local(window=7)")
        for batch in (1, 2, 4, 8, 16)
        for precision in ("fp32", "bf16")
    ]  # fmt: skip
    return vits + swins


def predictions(configurations: Sequence[Configuration]) -> list[PredictedMemory]:
    """In their order; neighbours should be alike, what one has seen it need not work out again."""
    # a process that has run torch's threads must not be forked
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_prediction, configurations, chunksize=5))


def _prediction(one: Configuration) -> PredictedMemory:
    return predict(_made(one.backbone, one.attention, tuple(one.model.items())), one.step)


@lru_cache(maxsize=1)
def _made(backbone: str, attention: str, model: tuple[tuple[str, Any], ...]) -> FakeModel:
    """The model of one configuration, which its neighbours may share: making it takes a fifth of a prediction."""
    return fake(lambda: create_model(backbone, attention, **dict(model)))
