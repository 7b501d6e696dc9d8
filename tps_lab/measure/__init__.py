"""The shared harness: from a model to figures, each with its unit and how it was had."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tps_lab.measure.latency import Compared

__all__ = ["best_device", "compare_latency", "cost", "costs"]


def best_device() -> torch.device:
    """A GPU if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compare_latency(models: Mapping[str, nn.Module], *arguments: Any, **options: Any) -> Compared:
    """Several models timed in turn, with paired ratios and their intervals: see `latency.compare_latency`."""
    from tps_lab.measure.latency import compare_latency as compared

    return compared(models, *arguments, **options)


def cost(
    model: nn.Module, clip_shape: tuple[int, ...] | None = None, batch: int = 8, measured: bool = False
) -> dict[str, Any]:
    """What one model costs: counted and predicted in seconds, without running it and without its weights.

    Args:
        clip_shape: (C, T, H, W); None asks the model.
        batch: clips per step, for memory and the training step.
        measured: run it instead: all figures of `costs`, latency among them.

    Returns:
        As `costs`. Multiply-adds are counted by torch's formulas on tensors without memory, and by the closed
        form; peaks are predicted for training with AdamW on CUDA; times are None, and `missing` says why.

    Raises:
        InputError: clips of another shape than the model's, which can only be measured.
    """
    if measured:
        return costs({"model": model}, clip_shape, batch)["model"]
    from tps_lab.errors import InputError
    from tps_lab.measure.flops import count_without_running
    from tps_lab.measure.predict import Setting, predict, without_weights

    own = tuple(model.clip_shape)  # type: ignore[arg-type]
    if clip_shape is not None and tuple(clip_shape) != own:
        raise InputError(f"clips of {tuple(clip_shape)} where the model takes {own}: only measured=True counts that")
    make = without_weights(model)
    macs = count_without_running(make)
    missing = {f"macs_by_counter.{counter}": why for counter, why in macs.problems.items()}
    missing |= dict.fromkeys(("latency_ms", "clips_per_second", "train_step_ms"), "not measured, as nothing was run")
    memory = None
    try:
        memory = predict(make, Setting(batch)).row()
    except (NotImplementedError, RuntimeError) as error:  # an operator that tensors without memory cannot do
        missing["peak_memory_bytes"] = str(error).splitlines()[0]
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "macs": macs.value,
        "macs_by_counter": macs.by_counter,
        "macs_status": macs.status,
        "peak_memory_bytes": memory,
        "latency_ms": None,
        "clips_per_second": None,
        "train_step_ms": None,
        "missing": missing,
    }


def costs(
    models: Mapping[str, nn.Module], clip_shape: tuple[int, ...] | None = None, batch: int = 8, seconds: float = 10.0
) -> dict[str, dict[str, Any]]:
    """What several models cost, measured: run and timed in turn, on the device where each model is.

    Args:
        clip_shape: (C, T, H, W); None asks the model.
        batch: clips per step, for memory, throughput and the training step.
        seconds: about how long each of the three timings may take.

    Returns:
        For every model the cost columns of a run's row: params; macs (multiply-adds per clip),
        macs_by_counter, macs_status; peak_memory_bytes (on CUDA of a fresh process); latency_ms (one
        clip); clips_per_second; train_step_ms; missing (figure → why it could not be had: running
        out of memory is a result).
    """
    from tps_lab.measure.flops import count_macs
    from tps_lab.measure.latency import latencies, training_steps

    shape = clip_shape or tuple(next(iter(models.values())).clip_shape)  # type: ignore[arg-type]
    failures: dict[str, dict[str, str]] = {"latency_ms": {}, "clips_per_second": {}, "train_step_ms": {}}
    single = latencies(models, shape, 1, seconds=seconds, failures=failures["latency_ms"])
    batched = latencies(models, shape, batch, repeats=10, seconds=seconds, failures=failures["clips_per_second"])
    steps = training_steps(models, shape, batch, seconds=seconds, failures=failures["train_step_ms"])
    rows = {}
    for name, model in models.items():
        macs = count_macs(model, shape)
        missing = {f"macs_by_counter.{counter}": why for counter, why in macs.problems.items()}
        missing |= {figure: whose[name] for figure, whose in failures.items() if name in whose}
        memory, why = _memory(model, shape, batch)
        rows[name] = {
            "params": sum(p.numel() for p in model.parameters()),
            "macs": macs.value,
            "macs_by_counter": macs.by_counter,
            "macs_status": macs.status,
            "peak_memory_bytes": memory,
            "latency_ms": single[name].row() if name in single else None,
            "clips_per_second": round(1e3 * batch / batched[name].median, 2) if name in batched else None,
            "train_step_ms": steps[name].row() if name in steps else None,
            "missing": missing | why,
        }
    return rows


def _memory(model: nn.Module, shape: tuple[int, ...], batch: int) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Peaks and nothing missing, or None and why."""
    from tps_lab.measure.fresh import peak_memory_fresh
    from tps_lab.measure.memory import peak_memory

    measured = peak_memory_fresh if next(model.parameters()).is_cuda else peak_memory
    try:
        return dataclasses.asdict(measured(model, shape, batch)), {}
    except RuntimeError as error:
        return None, {"peak_memory_bytes": str(error).splitlines()[0]}
