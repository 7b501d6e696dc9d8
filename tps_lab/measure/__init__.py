"""The shared harness: from a model to figures, each with its unit and how it was had."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["best_device", "cost", "costs"]


def best_device() -> torch.device:
    """A GPU if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cost(model: nn.Module, clip_shape: tuple[int, ...] | None = None, batch: int = 8) -> dict[str, Any]:
    """What one model costs: parameters, multiply-adds, peak memory, latency. See `costs`."""
    return costs({"model": model}, clip_shape, batch)["model"]


def costs(
    models: Mapping[str, nn.Module], clip_shape: tuple[int, ...] | None = None, batch: int = 8, seconds: float = 10.0
) -> dict[str, dict[str, Any]]:
    """What several models cost, timed in turn; on the device where each model is.

    Args:
        clip_shape: (C, T, H, W); None asks the model.
        batch: clips per step, for memory, throughput and the training step.
        seconds: about how long each of the three timings may take.

    Returns:
        For every model the cost columns of a run's row: params; macs (multiply-adds per clip),
        macs_by_counter, macs_status; peak_memory_bytes; latency_ms (one clip); clips_per_second;
        train_step_ms; missing (figure → why it could not be had).
    """
    from tps_lab.measure.flops import count_macs
    from tps_lab.measure.latency import latencies, training_steps
    from tps_lab.measure.memory import peak_memory

    shape = clip_shape or tuple(next(iter(models.values())).clip_shape)  # type: ignore[arg-type]
    single = latencies(models, shape, 1, seconds=seconds)
    batched = latencies(models, shape, batch, repeats=10, seconds=seconds)
    steps = training_steps(models, shape, batch, seconds=seconds)
    rows = {}
    for name, model in models.items():
        macs = count_macs(model, shape)
        missing = {f"macs_by_counter.{counter}": why for counter, why in macs.problems.items()}
        try:
            memory: dict[str, Any] | None = dataclasses.asdict(peak_memory(model, shape, batch))
        except RuntimeError as error:  # out of memory is a result
            memory, missing["peak_memory_bytes"] = None, str(error).splitlines()[0]
        rows[name] = {
            "params": sum(p.numel() for p in model.parameters()),
            "macs": macs.value,
            "macs_by_counter": macs.by_counter,
            "macs_status": macs.status,
            "peak_memory_bytes": memory,
            "latency_ms": single[name].row(),
            "clips_per_second": round(1e3 * batch / batched[name].median, 2),
            "train_step_ms": steps[name].row(),
            "missing": missing,
        }
    return rows
