"""What is timed: a forward pass or a training step as a function without arguments.

Plain, compiled (`torch.compile`, its time apart) or captured as a CUDA graph (kernels replayed without
Python between them).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from tps_lab.errors import InputError, unknown
from tps_lab.measure.predict import PRECISIONS

What = Literal["inference", "training step"]


@dataclass(frozen=True)
class How:
    """How a step is run.

    Args:
        what: "inference" (eval, no gradients) or "training step" (forward, cross-entropy, backward, AdamW).
        batch: clips.
        precision: fp32, or the type of autocast.
        compile: a backend of `torch.compile`, such as "inductor"; None runs eagerly.
        graphs: capture the step as a CUDA graph and replay it.

    Raises:
        InputError: a value that is none of these.
    """

    what: What = "inference"
    batch: int = 1
    precision: str = "fp32"
    compile: str | None = None
    graphs: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch must be 1 or more, got {self.batch}")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.compile is not None and self.compile not in (known := torch.compiler.list_backends(())):
            raise unknown("compile backend", self.compile, known)

    def __str__(self) -> str:
        extra = [self.precision] if self.precision != "fp32" else []
        extra += [f"torch.compile ({self.compile})"] if self.compile else []
        extra += ["CUDA graph"] if self.graphs else []
        return ", ".join([self.what, f"batch {self.batch}", *extra])


def prepared(model: nn.Module, clip_shape: Sequence[int], how: How) -> tuple[Callable[[], Any], float | None]:
    """The step as a function, and the seconds that compiling it took (None if it is not compiled).

    Inference uses the model itself, a training step a copy.

    Args:
        clip_shape: (C, T, H, W).

    Raises:
        InputError: a CUDA graph of a model that is not on a GPU.
    """
    device = next(model.parameters()).device
    if how.graphs and device.type != "cuda":
        raise InputError(f"CUDA graphs need a model on a GPU, this one is on the {device.type}")
    model = copy.deepcopy(model).train() if how.what == "training step" else model.eval()
    run: Any = torch.compile(model, backend=how.compile) if how.compile else model
    clips = torch.randn(how.batch, *clip_shape, device=device)
    step = _training(run, model, clips, how) if how.what == "training step" else _inference(run, clips, how)
    seconds = None
    if how.compile:
        started = time.perf_counter()
        step()
        synchronise(device)
        seconds = time.perf_counter() - started
    return (graphed(step) if how.graphs else step), seconds


def _inference(run: Any, clips: torch.Tensor, how: How) -> Callable[[], Any]:
    def step() -> None:
        with torch.no_grad(), _autocast(clips.device, how):
            run(clips)

    return step


def _training(run: Any, model: nn.Module, clips: torch.Tensor, how: How) -> Callable[[], Any]:
    labels = torch.zeros(len(clips), dtype=torch.long, device=clips.device)
    optimizer = torch.optim.AdamW(model.parameters(), capturable=how.graphs)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(clips.device, how):
            logits = run(clips)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def _autocast(device: torch.device, how: How) -> Any:
    lower = PRECISIONS[how.precision]
    # a graph may not hold the casts of weights that autocast keeps from one use to the next
    return nullcontext() if lower is None else torch.autocast(device.type, lower, cache_enabled=not how.graphs)


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


def set_fused(model: nn.Module, fused: bool) -> None:
    """Let timm's attention run as one kernel, or with its scores in memory."""
    module: Any
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused


def synchronise(device: torch.device | str) -> None:
    """Wait until a device has done all that it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def wall_ms(call: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Milliseconds of a call by the wall's clock, its work on the device waited for before and after."""
    synchronise(device)
    before = time.perf_counter()
    call()
    synchronise(device)
    return 1e3 * (time.perf_counter() - before)


def event_ms(call: Callable[[], Any], device: torch.device | str = "cuda") -> float:
    """Milliseconds between two CUDA events around a call, on the GPU's own clock."""
    synchronise(device)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    synchronise(device)
    return start.elapsed_time(end)
