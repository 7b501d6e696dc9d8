"""A step of a model, described once and run in one place: a forward pass, or forward, loss, backward and optimizer.

Everything here is measured, counted or predicted of such a step: `run` runs it, on real tensors as on fake ones
(`fake`). `prepared` makes of it a function without arguments, eager, compiled or captured as a CUDA graph.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tps_lab.errors import InputError, shortened, unknown
from tps_lab.specs import whole

# as people write them → the type of autocast; weights stay float32 in all three
PRECISIONS = {"fp32": None, "bf16": "bfloat16", "fp16": "float16"}
OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Step:
    """How a step is run.

    Args:
        batch: clips.
        training: forward, cross-entropy, backward and optimizer; False is inference, without gradients.
        precision: of `PRECISIONS`.
        optimizer: adamw, or sgd with momentum.
        checkpointing: activations of blocks are computed again in backward (timm's `grad_checkpointing`).
        fused: attention in one kernel; False keeps scores and softmax.
        compile: a backend of `torch.compile`, such as "inductor"; None runs eagerly.
        graphs: capture the step as a CUDA graph and replay it.

    Raises:
        InputError: a value that is none of these.
    """

    batch: int = 1
    training: bool = True
    precision: str = "fp32"
    optimizer: str = "adamw"
    checkpointing: bool = False
    fused: bool = True
    compile: str | None = None
    graphs: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.batch, str) or (whole(self.batch) or 0) < 1:
            raise InputError(f"batch must be a whole number, 1 or more, got {shortened(repr(self.batch))}")
        for name, known in {"precision": PRECISIONS, "optimizer": OPTIMIZERS, "compile": ("inductor",)}.items():
            given = getattr(self, name)
            if not isinstance(given, str) and (name != "compile" or given is not None):
                raise InputError(f"{name} must be a name, such as '{next(iter(known))}', got {shortened(repr(given))}")
        for name in ("training", "checkpointing", "fused", "graphs"):
            if not isinstance(given := getattr(self, name), bool):
                raise InputError(f"{name} must be True or False, got {shortened(repr(given))}")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.compile is not None and self.compile not in (known := torch.compiler.list_backends(())):
            raise unknown("compile backend", self.compile, known)

    def __str__(self) -> str:
        parts = ["training step" if self.training else "inference", f"batch {self.batch}"]
        parts += [self.precision] if self.precision != "fp32" else []
        parts += [self.optimizer] if self.optimizer != "adamw" and self.training else []
        parts += ["gradient checkpointing"] if self.checkpointing and self.training else []
        parts += [] if self.fused else ["unfused attention"]
        parts += [f"torch.compile ({self.compile})"] if self.compile else []
        return ", ".join(parts + ["CUDA graph"] * self.graphs)


def checked(
    models: Any, step: Any = None, clip_shape: Any = None
) -> tuple[dict[str, nn.Module], tuple[int, ...] | None]:
    """The models by name, and the shape as a tuple, of what somebody gave; a shape of None stays.

    Raises:
        InputError: none or no models, no `Step`, or a shape that is not of a clip.
    """
    if not isinstance(models, Mapping):
        raise InputError(f"models are given by name, {{'mine': model}}, got {shortened(type(models).__name__)}")
    if not models:
        raise InputError("no model to time")
    for name, model in models.items():
        if not isinstance(model, nn.Module):
            raise InputError(f"costs are those of a torch.nn.Module, got {shortened(repr(model))} as {name}")
    if step is not None and not isinstance(step, Step):
        raise InputError(f"step must be a tps_lab.measure.Step, such as Step(batch=8), got {shortened(repr(step))}")
    if clip_shape is None:
        return dict(models), None
    listed = clip_shape.tolist() if hasattr(clip_shape, "tolist") else clip_shape  # an array's numbers
    sizes = [None if isinstance(n, str) else whole(n) for n in listed] if isinstance(listed, Sequence) else []
    if len(sizes) != 4 or not all(sizes) or any(n < 1 for n in sizes if n):
        raise InputError(
            f"clip_shape must be four whole numbers of 1 or more, (C, T, H, W), such as (3, 8, 32, 32), "
            f"got {shortened(repr(clip_shape))}"
        )
    return dict(models), tuple(n for n in sizes if n)


def run(
    model: Any,
    clips: Tensor,
    labels: Tensor,
    step: Step,
    optimizer: torch.optim.Optimizer | None = None,
    at_backward: Callable[[], None] = lambda: None,
    backward: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """One step; the logits of inference, or the loss.

    Args:
        model: in the mode that the step wants (`configured`).
        clips: (B, C, T, H, W); labels: (B,), which inference does not look at.
        optimizer: of `optimizer_for`; None leaves the gradients as they are.
        at_backward: called between the two passes.
        backward: how the loss goes backward; None is `loss.backward()`.
    """
    if not step.training:
        with torch.no_grad():
            return _forward(model, clips, step)
    if optimizer is not None:
        optimizer.zero_grad(set_to_none=True)
    # nothing may hold the logits: on a GPU they would be there at the peak
    loss = torch.nn.functional.cross_entropy(_forward(model, clips, step).float(), labels)
    at_backward()
    (backward or torch.Tensor.backward)(loss)
    if optimizer is not None:
        optimizer.step()
    return loss


def _forward(model: Any, clips: Tensor, step: Step) -> Tensor:
    with autocast(step, clips.device.type):
        logits = _logits(model(clips))
        return logits.flatten(1) if step.training and logits.ndim > 2 else logits


def _logits(output: Any) -> Tensor:
    """What a loss is made of: the logits, or else the first tensor; each of its numbers is a class."""
    if not isinstance(output, Tensor):
        named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        several = [
            named,
            *(output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple) else ()),
        ]
        output = next((x for x in several if isinstance(x, Tensor) and x.is_floating_point()), None)
        if output is None:
            raise InputError("the model gives no logits: expected a tensor, or an object or a dict with `logits`")
    return output


def device_of(model: nn.Module) -> torch.device:
    """The device of a model; the CPU if it has no weights."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def refuse_lazy(model: nn.Module) -> None:
    """Raise `InputError` if a model does not know the sizes of its weights yet."""
    if any(map(is_lazy, model.parameters())):
        raise InputError("the model has lazy layers: call it once on clips, so that they get their sizes")


def autocast(step: Step, device_type: str) -> Any:
    """Lower precision inside it, if the step wants that."""
    lower = dtype(step.precision)
    # a graph may not hold the casts of weights that autocast keeps from one use to the next
    return nullcontext() if lower is None else torch.autocast(device_type, lower, cache_enabled=not step.graphs)


def dtype(precision: str) -> torch.dtype | None:
    """The type of autocast; None is float32 throughout."""
    name = PRECISIONS[precision]
    return None if name is None else getattr(torch, name)


def optimizer_for(parameters: Iterable[nn.Parameter], step: Step) -> torch.optim.Optimizer:
    """The step's optimizer."""
    if step.optimizer == "sgd":
        return torch.optim.SGD(parameters, 1e-3, momentum=0.9)
    return torch.optim.AdamW(parameters, capturable=step.graphs)


def configured(model: Any, step: Step) -> Any:
    """The model itself, in the mode that the step wants, and checkpointing if it says so.

    Raises:
        InputError: the model cannot compute its blocks again.
    """
    if step.checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise InputError(f"{type(model).__name__} has no gradient checkpointing")
        model.set_grad_checkpointing(True)
    return model.train(step.training)


def set_fused(model: nn.Module, fused: bool) -> None:
    """Let timm's attention run as one kernel, or with its scores in memory."""
    module: Any
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused


def batch_for(model: Any, step: Step, clip_shape: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Random clips (B, C, T, H, W) and labels (B,) where the model is; a shape of None asks the model."""
    device = device_of(model)
    clips = torch.randn(step.batch, *(clip_shape or model.clip_shape), device=device)
    return clips, torch.zeros(step.batch, dtype=torch.long, device=device)


def prepared(
    model: nn.Module, step: Step, clip_shape: Sequence[int] | None = None
) -> tuple[Callable[[], Any], float | None]:
    """The step as a function, and the seconds that compiling it took (None if it is not compiled).

    Inference uses the model itself, a training step a copy.

    Args:
        clip_shape: (C, T, H, W); None asks the model.

    Raises:
        InputError: a CUDA graph of a model that is not on a GPU.
    """
    device = device_of(model)
    if step.graphs and device.type != "cuda":
        raise InputError(f"CUDA graphs need a model on a GPU, this one is on the {device.type}")
    if step.training or not step.fused:
        model = copy.deepcopy(model)
        set_fused(model, step.fused)
    configured(model, step)
    forward: Any = torch.compile(model, backend=step.compile) if step.compile else model
    clips, labels = batch_for(model, step, clip_shape)
    optimizer = optimizer_for(model.parameters(), step) if step.training else None

    def call() -> None:
        run(forward, clips, labels, step, optimizer)

    seconds = None
    if step.compile:
        started = time.perf_counter()
        call()
        synchronise(device)
        seconds = time.perf_counter() - started
    return (graphed(call) if step.graphs else call), seconds


def graphed(step: Callable[[], Any], times: int = 1) -> Callable[[], Any]:
    """Capture a step as a CUDA graph, so that replaying it costs no Python; it must not wait for the device.

    It runs three times on a side stream first, as torch's documentation asks for.

    Args:
        times: how many steps, one after another, are one graph: kernels of some microseconds are timed together.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            step()

    def replay(_kept: Any = step) -> None:  # the graph reads and writes tensors that only the step holds
        graph.replay()

    return replay


def synchronise(device: torch.device | str) -> None:
    """Wait until a device has done all that it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
