"""Peak memory of a training step and of inference, in bytes, measured.

On CUDA: what the allocator reports (`max_memory_allocated`, with reserved beside it). On a CPU there
is no such counter, so live tensor storages are tracked through the dispatcher (`LiveBytes`): everything that
autograd and the optimizer keep is seen; scratch space inside one kernel is not.

The caching allocator of a process that has run other models holds their blocks, and what it reserves
tells of them too. A fresh process holds nothing but this model. It also survives running out of memory::

    here                                          python -m tps_lab.measure.memory FOLDER
      model.pt, job.json in a folder of its own → reads them, measures
      peaks, or why there are none              ← one line of JSON on stdout
"""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cloudpickle
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tps_lab import children
from tps_lab.lazy import end_quickly
from tps_lab.measure.caching_allocator import round_up
from tps_lab.measure.cuda_kernels import Gpu, Sum, as_sum
from tps_lab.measure.step import Step, batch_for, configured, device_of, optimizer_for, run, set_fused, synchronise

_KILLED = -9  # how Linux ends a process that asks for more memory than the machine has


class OutOfMemory(RuntimeError):
    """The device's memory does not suffice; the text says for what."""


@dataclass(frozen=True)
class PeakMemory:
    """Bytes; reserved is CUDA's only. `how` says how they were measured."""

    training: int
    inference: int
    training_reserved: int | None
    inference_reserved: int | None
    how: str


def peak_memory(model: nn.Module, step: Step, clip_shape: Sequence[int] | None = None) -> PeakMemory:
    """Measure on a copy of the model, on the model's device.

    A training step is forward, cross-entropy, backward and optimizer step with the optimizer's
    state already there (the second step, as all later ones); weights, gradients, state and the
    batch of clips are included. Inference is a forward pass without gradients of the same batch.

    Args:
        step: both are measured, whichever it is.
        clip_shape: (C, T, H, W); None asks the model.
    """
    training, inference = dataclasses.replace(step, training=True), dataclasses.replace(step, training=False)
    model = copy.deepcopy(model)
    if not step.fused:
        set_fused(model, False)
    clips, labels = batch_for(model, step, clip_shape)
    state: list[Any] = [*model.parameters(), *model.buffers(), clips, labels]
    configured(model, inference)
    forward, forward_reserved = _peak(lambda: run(model, clips, labels, inference), state, clips.device)
    configured(model, training)
    optimizer = optimizer_for(model.parameters(), training)
    run(model, clips, labels, training, optimizer)
    optimizer.zero_grad(set_to_none=True)
    state += tree_leaves([dict(s) for s in optimizer.state.values()])
    whole, reserved = _peak(lambda: run(model, clips, labels, training, optimizer), state, clips.device)
    what = "CUDA allocator" if clips.is_cuda else "tracked live tensors"
    described = str(training).removeprefix("training step, ")
    return PeakMemory(whole, forward, reserved, forward_reserved, f"{what}, {clips.device.type}, {described}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory did not suffice: a result, not a crash."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _peak(work: Callable[[], Any], state: list[Any], device: torch.device) -> tuple[int, int | None]:
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        work()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    with LiveBytes() as live:
        live.track(state)
        work()
    return live.peak, None


# ---------------------------------------------------------------------- which storages are alive

Part = Literal["parameters", "gradients", "optimizer", "activations", "temporary", "overhead"]
PARTS: tuple[str, ...] = get_args(Part)
WHICH_DEVICE = torch.ops.prim.device.default  # of fake tensors; autograd asks it twice for each operator that computes


class LiveBytes(TorchDispatchMode):
    """Live bytes of tensors' storages and the most there ever were; by what they are for, and in which order they came.

    Attributes:
        live, peak: bytes now, and the most that there were.
        part: what new storages are counted as.
        now, at_peak, most: bytes per part: alive now, alive when all together were the most, and the
            most that each one ever was.
        events: (storage's number, its bytes) when one comes, (its number, None) when it goes.
        sums: number → the sum that passes results through a buffer with that number, maybe of 0 bytes.
        course: `now`, in the order of `PARTS`, after each of the events.

    Args:
        rounding: sizes are rounded up to it in the sums, not in the events.
        gpu: whose kernels take buffers for themselves; None is a CPU.

    >>> with LiveBytes() as live:
    ...     _ = torch.zeros(1000) + 1
    >>> live.peak
    8000
    """

    def __init__(self, rounding: int = 1, gpu: Gpu | None = None) -> None:
        super().__init__()
        self.rounding, self.gpu = rounding, gpu
        self.live = self.peak = 0
        self.part: Part = "parameters"
        self.now: dict[str, int] = dict.fromkeys(PARTS, 0)
        self.at_peak, self.most = dict(self.now), dict(self.now)
        self.events: list[tuple[int, int | None]] = []
        self.sums: dict[int, Sum] = {}
        self.course: list[tuple[int, ...]] = []
        self._known: dict[int, tuple[Part, int, int]] = {}  # storage → part, bytes as rounded, number
        self._storages = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would tell its compiler at every call to stay out, which takes longer than most of them

    def track(self, tensors: Iterable[Any]) -> None:
        """Count the storages of these tensors until they are freed; each once."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                self._came(storage._cdata, storage.nbytes())
                weakref.finalize(storage, self._went, storage._cdata)

    def move(self, tensor: Tensor, part: Part) -> None:
        """A tensor turns out to be of another part."""
        key = tensor.untyped_storage()._cdata
        if key in self._known:
            before, size, number = self._known[key]
            self._known[key] = part, size, number
            self.now[before] -= size
            self._add(part, size)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is WHICH_DEVICE:
            return args[0].device
        out = func(*args, **(kwargs or {}))
        self.track(tree_leaves(out))
        if self.gpu is not None and (found := as_sum(func, args, out)):
            before, self.part = self.part, "temporary"
            self.sums[self._storages + 1] = found
            self._came(0, found.buffer(self.gpu))
            self._went(0)
            self.part = before
        return out

    def _came(self, key: int, size: int) -> None:
        rounded = round_up(size, self.rounding)
        self._storages += 1
        self._known[key] = self.part, rounded, self._storages
        self._add(self.part, rounded)
        self.live += rounded
        if self.live > self.peak:
            self.peak, self.at_peak = self.live, dict(self.now)
        if size or self._storages in self.sums:
            self._note(self._storages, size)

    def _went(self, key: int) -> None:
        part, size, number = self._known.pop(key)
        self.live -= size
        self.now[part] -= size
        if size or number in self.sums:
            self._note(number, None)

    def _add(self, part: Part, size: int) -> None:
        self.now[part] += size
        self.most[part] = max(self.most[part], self.now[part])

    def _note(self, number: int, size: int | None) -> None:
        self.events.append((number, size))
        self.course.append(tuple(self.now.values()))


# ---------------------------------------------------------------------- in a process of its own


def peak_memory_fresh(model: nn.Module, step: Step, clip_shape: Sequence[int] | None = None) -> PeakMemory:
    """`peak_memory` in a process of its own, on the model's device.

    A model that cannot be sent to another process (one that holds an open file) is measured in this one,
    and `how` says so.

    Raises:
        OutOfMemory: the model needs more than there is.
        RuntimeError: the process failed otherwise; its last line.
    """
    device, shape = device_of(model), None if clip_shape is None else list(clip_shape)
    with tempfile.TemporaryDirectory(prefix="tps-lab-") as folder:
        try:
            # by value, what lambdas and classes of a notebook need
            torch.save(copy.deepcopy(model).cpu(), Path(folder, "model.pt"), pickle_module=cloudpickle)
        except (AttributeError, TypeError, ValueError, pickle.PicklingError) as error:
            return _here(model, step, shape, error)
        job = {"device": str(device), "clip_shape": shape, "step": dataclasses.asdict(step)}
        Path(folder, "job.json").write_text(json.dumps(job))
        command = children.python("-W", "ignore", "-m", "tps_lab.measure.memory", folder)
        done = subprocess.run(command, capture_output=True, text=True, env=children.environment())
    if done.returncode == _KILLED:
        raise OutOfMemory("out of memory: the machine ended the process")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if "No module named" in last:  # a file that was loaded by its path
            return _here(model, step, shape, last)
        raise RuntimeError(last)
    answer = json.loads(done.stdout.splitlines()[-1])
    if "out_of_memory" in answer:
        raise OutOfMemory(answer["out_of_memory"])
    return PeakMemory(**answer)


def _here(model: nn.Module, step: Step, shape: Sequence[int] | None, why: Any) -> PeakMemory:
    first = str(why).splitlines()[0]
    try:
        found = peak_memory(model, step, shape)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory: {error}".splitlines()[0]) from error
    return dataclasses.replace(found, how=f"{found.how}, not in a fresh process ({first})")


def measure(folder: Path) -> dict[str, Any]:
    """What the fresh process answers: the fields of `PeakMemory`, or out_of_memory with a line."""
    job = json.loads((folder / "job.json").read_text())
    try:
        # our own file, written a moment ago by the process that waits for us: not a checkpoint
        model = torch.load(folder / "model.pt", weights_only=False).to(job["device"])
        found = peak_memory(model, Step(**job["step"]), job["clip_shape"])
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {"out_of_memory": f"out of memory: {error}".splitlines()[0]}
    return dataclasses.asdict(dataclasses.replace(found, how=f"{found.how}, in a fresh process"))


if __name__ == "__main__":
    end_quickly()
    print(json.dumps(measure(Path(sys.argv[1]))))
