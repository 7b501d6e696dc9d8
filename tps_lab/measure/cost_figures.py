"""What a model costs, as plain data: counted and predicted in seconds, or measured by running it.

Counted and predicted (`count_and_predict`): multiply-adds needed and executed, forward and backward, by closed form
and by torch's formulas; bytes moved; roofline times; peak memory by part and the largest batch that fits. Measured
(`measured`): multiply-adds by a third counter, peak memory, and timings of several models in turn.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from tps_lab.errors import InputError, one_line, shortened
from tps_lab.measure.fake import FakeModel, Maker, fake, without_weights
from tps_lab.measure.macs import Macs, Work, count_macs, work
from tps_lab.measure.memory import is_out_of_memory, peak_memory, peak_memory_fresh
from tps_lab.measure.predicted_memory import predict_batches
from tps_lab.measure.roofline import device, estimate
from tps_lab.measure.step import Step, checked, device_of
from tps_lab.measure.timing import Compared, compare_latency
from tps_lab.measure.trace import Part, Trace, breakdown, trace
from tps_lab.progress import Advance
from tps_lab.specs import whole

# figure → the step that it times, of one clip or of the whole batch
TIMED = {"latency_ms": (False, False), "batch_ms": (False, True), "train_step_ms": (True, True)}
NOT_MEASURED = dict.fromkeys(("latency_ms", "clips_per_second", "train_step_ms"), "not measured, as nothing was run")


def cost(
    model: nn.Module, clip_shape: tuple[int, ...] | None = None, step: Step | None = None, measured: bool = False
) -> dict[str, Any]:
    """What one model costs: counted and predicted in seconds, without running it and without its weights.

    Args:
        clip_shape: (C, T, H, W); None asks the model.
        step: its batch, precision and so on, for memory and the training step; None is 8 clips in float32.
        measured: run it instead: all figures of `costs`, latency among them.

    Returns:
        As `costs`, and more of `count_and_predict`. Peaks are predicted for CUDA; times are None, and `missing`
        says why.

    Raises:
        InputError: clips of another shape than the model's, or a model that looks at values: they can only be measured;
            clips that the model does not take.
    """
    _, clip_shape = checked({"model": model}, step, clip_shape)
    own: Any = getattr(model, "clip_shape", None)
    if clip_shape is None and own is None:
        raise InputError(
            f"{type(model).__name__} does not say what clips it takes: give clip_shape, e.g. (3, 8, 32, 32)"
        )
    if measured and not any(weight.requires_grad for weight in model.parameters()):
        raise InputError(f"no weight of {type(model).__name__} learns, so it has no training step to measure: count it")
    if measured:
        return costs({"model": model}, clip_shape, step)["model"]
    if None not in (clip_shape, own) and tuple(clip_shape) != tuple(own):  # type: ignore[arg-type]
        raise InputError(f"clips of {clip_shape} where the model takes {tuple(own)}: only measured=True counts that")
    make = without_weights(model)

    def shaped() -> nn.Module:
        made: Any = make()
        made.clip_shape = tuple(clip_shape or own)
        return made  # type: ignore[no-any-return]

    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)  # what fails is told in one line
    facts = count_and_predict(shaped, step or Step(8))[0]
    if facts["macs"] is facts["peak_memory_bytes"] is None:
        shape, why = tuple(clip_shape or own), facts["missing"]["macs_by_counter.torch"]
        raise InputError(f"{type(model).__name__} cannot be counted on clips of {shape}: {why}")
    return facts


def costs(
    models: Mapping[str, nn.Module],
    clip_shape: tuple[int, ...] | None = None,
    step: Step | None = None,
    seconds: float = 10.0,
) -> dict[str, dict[str, Any]]:
    """What several models cost, measured: run and timed in turn, on the device where each model is.

    Args:
        clip_shape: (C, T, H, W); None asks the model.
        step: its batch, precision and so on, for memory, throughput and the training step; None is 8 clips in float32.
        seconds: about how long each of the three timings may take.

    Returns:
        For every model the cost columns of a run's row: params; macs (multiply-adds per clip),
        macs_by_counter, macs_status; peak_memory_bytes (on CUDA of a fresh process); latency_ms (one
        clip); clips_per_second; train_step_ms; missing (figure → why it is missing: running
        out of memory is a result).

    Raises:
        InputError: no models, or clips that one of them does not take.
    """
    models, shape = checked(models, step, clip_shape)
    shape = shape or tuple(next(iter(models.values())).clip_shape)  # type: ignore[arg-type]
    for name, model in models.items():
        _check_takes(name, model, shape)
    return measured(models, step or Step(8), shape, seconds=seconds)[0]


def _check_takes(name: str, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse clips that a model does not take, before it is timed on them."""
    was_training = model.training
    clip = None
    try:
        clip = torch.zeros(1, *shape, device=device_of(model))
        with torch.no_grad():
            model.eval()(clip)
    except InputError:
        raise
    except Exception as error:  # models of any kind have errors of any kind
        if clip is None or not is_out_of_memory(error):  # that a pass has no room is a result
            kind = type(model).__name__
            who = kind if name == "model" else f"{name} ({kind})"
            raise InputError(f"{who} does not take clips of {shape}: {one_line(error)}") from None
    finally:
        model.train(was_training)


def measured(
    models: Mapping[str, nn.Module],
    step: Step,
    clip_shape: tuple[int, ...] | None = None,
    rounds: int = 30,
    seconds: float = 10.0,
    advance: Advance = lambda done, news: None,
) -> tuple[dict[str, dict[str, Any]], dict[str, Compared]]:
    """The rows of `costs`, and the three timings with their paired ratios, of `TIMED`.

    Args:
        rounds: at most, of each timing.
        advance: called after each timing and each model, of `len(TIMED) + len(models)`.
    """
    shape = clip_shape or tuple(next(iter(models.values())).clip_shape)  # type: ignore[arg-type]
    timed: dict[str, Compared] = {}
    for done, (figure, (training, batched)) in enumerate(TIMED.items(), 1):
        one = replace(step, training=training, batch=step.batch if batched else 1)
        if figure == "batch_ms" and step.batch == 1:
            timed[figure] = timed["latency_ms"]
        else:
            timed[figure] = compare_latency(models, one, shape, rounds, seconds)
        advance(done, str(one))
    rows = {}
    for done, (name, model) in enumerate(models.items(), len(TIMED) + 1):
        macs = count_macs(model, shape)
        memory, why = _memory(model, shape, step)
        found = {figure: compared.timings.get(name) for figure, compared in timed.items()}
        failed = {figure: compared.failures[name] for figure, compared in timed.items() if name in compared.failures}
        if "batch_ms" in failed:
            failed["clips_per_second"] = failed.pop("batch_ms")
        one_clip, batch, training_step = found.values()
        rows[name] = {
            "params": sum(p.numel() for p in model.parameters()),
            "macs": macs.value,
            "macs_by_counter": macs.by_counter,
            "macs_status": macs.status,
            "peak_memory_bytes": memory,
            "latency_ms": None if one_clip is None else one_clip.row(),
            "clips_per_second": None if batch is None else round(1e3 * step.batch / batch.median, 2),
            "train_step_ms": None if training_step is None else training_step.row(),
            "missing": _problems(macs) | failed | why,
        }
        advance(done, name)
    return rows, timed


def _memory(model: nn.Module, shape: tuple[int, ...], step: Step) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Peaks and nothing missing, or None and why."""
    found = peak_memory_fresh if device_of(model).type == "cuda" else peak_memory
    try:
        return dataclasses.asdict(found(model, step, shape)), {}
    except RuntimeError as error:
        return None, {"peak_memory_bytes": str(error).splitlines()[0]}


def _problems(macs: Macs) -> dict[str, str]:
    return {f"macs_by_counter.{counter}": why for counter, why in macs.problems.items()}


# ---------------------------------------------------------------------- counted and predicted


def count_and_predict(make: Maker, step: Step, devices: Sequence[str] = ()) -> tuple[dict[str, Any], list[Part]]:
    """All that can be said of the model that `make` makes (called on torch's meta device) without running it.

    Args:
        step: bytes, parts, peaks and times are of its batch, multiply-adds of one clip.
        devices: whose roofline times are wanted, of `roofline.DEVICES`, or "cpu".

    Returns:
        As `costs`, and: step's own fields; training_parts_bytes, most_of_each_part_bytes, fits and largest_batch by
        size of GPU; work (see `Work.row`, with `by_counter` and `status`), traffic_bytes, roofline. What is not
        known is None, and `missing` says why. And the parts of a training step.

    Raises:
        InputError: an unknown device, or a precision that it has no figure for.
    """
    targets = {name: device(name) for name in devices}
    for target in targets.values():
        if step.precision not in target.flops:
            raise InputError(f"{target.name} has no {step.precision} peak here; it has: {', '.join(target.flops)}")
    faked = fake(make)
    facts: dict[str, Any] = {
        "clip_shape": list(faked.model.clip_shape),  # type: ignore[arg-type]
        **{name: getattr(step, name) for name in ("batch", "precision", "optimizer", "checkpointing", "fused")},
        "params": sum(p.numel() for p in faked.model.parameters()),
        **dict.fromkeys(("macs", "macs_by_counter", "macs_status", "peak_memory_bytes")),
        **dict.fromkeys(NOT_MEASURED),
        "missing": dict(NOT_MEASURED),
    }
    parts: list[Part] = []
    try:
        memory, largest = predict_batches(faked, step)
        facts["peak_memory_bytes"] = memory.row()
        facts |= {"training_parts_bytes": memory.parts, "most_of_each_part_bytes": memory.most}
        facts["fits"] = {f"{gb} GB": memory.training <= gb * 10**9 for gb in largest}
        facts["largest_batch"] = {f"{gb} GB": batch for gb, batch in largest.items()}
    except InputError:
        raise
    except Exception as error:  # an operator that tensors without memory cannot do
        facts["missing"]["peak_memory_bytes"] = _why(error)
    forward: dict[str, int | None] = {"torch": None, "closed form": None}
    problems: dict[str, str] = {}
    try:
        formula = work(faked.model, step.fused)
        forward["closed form"] = formula.executed["forward"]
    except AttributeError:
        formula, problems["closed form"] = None, f"{type(faked.model).__name__} is no model of this package"
    try:
        counted = _Traced(faked, replace(step, batch=1))
        forward["torch"] = counted.inference.macs()
        batched = counted if step.batch == 1 else _Traced(faked, step)
        parts = breakdown(batched.training)
        facts |= {
            "work": formula and _work(formula, counted, step.checkpointing),
            "traffic_bytes": batched.traffic(facts["params"]),
            "roofline": {
                name: {what: estimate(whose, target, step.precision).row(step.batch) for what, whose in batched.both()}
                for name, target in targets.items()
            },
        }
    except Exception as error:  # an operator that nobody reviewed, by name
        facts["missing"]["work"] = _why(error)
        if forward["torch"] is None:
            problems["torch"] = _why(error)
    macs = Macs(forward, problems)
    facts |= {"macs": macs.value, "macs_by_counter": macs.by_counter, "macs_status": macs.status}
    facts["missing"] |= _problems(macs)
    return facts, parts


def _why(error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "DataDependent" in type(error).__name__ or "DynamicOutput" in type(error).__name__:
        return f"it looks at values, which only measured=True has ({said})"
    if said.startswith("element 0 of tensors does not require grad"):
        return "it has no training step, as none of its weights learns"
    return said


class _Traced:
    """An inference and a training step on fake tensors."""

    def __init__(self, model: FakeModel, step: Step) -> None:
        self.model, self.step = model, step
        self.inference = trace(model, replace(step, training=False))

    @cached_property
    def training(self) -> Trace:  # which a model may not have
        return trace(self.model, replace(self.step, training=True))

    def both(self) -> tuple[tuple[str, Trace], ...]:
        return ("inference", self.inference), ("training", self.training)

    def traffic(self, params: int) -> dict[str, Any]:
        return {
            "inference": self.inference.bytes(),
            "forward": self.training.bytes("forward"),
            "backward": self.training.bytes("backward"),
            # AdamW in one kernel: reads weights, gradients and two moments, writes all but the gradients, in float32
            "optimizer": 7 * 4 * params,
            "batch": self.training.step.batch,
            "precision": self.training.step.precision,
            "how": "estimated: torch's kernels on fake tensors, each reading its inputs and writing its outputs once; "
            "optimizer by formula for fused AdamW",
        }


def _work(formula: Work, counted: _Traced, checkpointing: bool) -> dict[str, Any]:
    row: dict[str, Any] = formula.row()
    executed = formula.executed
    found = {
        "forward": Macs({"torch": counted.inference.macs(), "closed form": executed["forward"]}, {}),
        "forward + backward": Macs(
            {"torch": counted.training.macs(), "closed form": executed["forward + backward"]}, {}
        ),
    }
    if checkpointing:  # what runs again is for the counter to see; there is no closed form of it
        again = counted.training.macs() - executed["forward + backward"]
        row["recomputed_by_checkpointing"] = again
        row["executed"] = {name: macs + again * (name != "forward") for name, macs in executed.items()}
        del found["forward + backward"]
    row["by_counter"] = {name: macs.by_counter for name, macs in found.items()}
    row["status"] = {name: macs.status for name, macs in found.items()}
    return row


def views_of(given: str | None) -> int:
    """How many views "3x4" or "12" are; None is 1.

    Raises:
        InputError: neither.
    """
    factors = [whole(factor) for factor in ("1" if given is None else given).replace("×", "x").split("x")]
    if len(factors) > 2 or not all(factor is not None and 1 <= factor <= 1_000 for factor in factors):
        raise InputError(f"views must be a number or crops x clips, such as 3x4, got {shortened(str(given))!r}")
    return math.prod(factor or 1 for factor in factors)
