"""Peak memory predicted: no GPU is needed, and no memory for weights.

A training step runs on fake tensors, which have shapes but no memory, and every storage that comes or
goes is written down. For a CPU they are added up; for CUDA they are played through a model of torch's
caching allocator, cuBLAS's workspaces among them. The optimizer's step is added by formula.

From the same recording come memory over the step (`timeline`) and the largest batch that fits (`predict_batches`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tps_lab.errors import InputError, unknown
from tps_lab.lazy import uncollected
from tps_lab.measure.caching_allocator import OPTIMIZER_TENSORS, Recording, in_order, matmul_workspace, play, round_up
from tps_lab.measure.cuda_kernels import gpu_at_hand
from tps_lab.measure.fake import AsOnCuda, FakeModel, Maker, backward, fake
from tps_lab.measure.memory import PARTS, LiveBytes
from tps_lab.measure.step import Step, run

GPU_SIZES_GB = (8, 16, 24, 40, 80, 141)
Target = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class PredictedMemory:
    """Bytes.

    Attributes:
        training: peak of a training step, the second or any later one; on CUDA what
            `max_memory_allocated` reports.
        inference: peak of a forward pass of the same batch without gradients.
        training_reserved, inference_reserved: what the allocator has then taken from the GPU (as
            `max_memory_reserved`; the CUDA context, some hundred MB per process, comes on top). It gives
            back what it can before it fails, so that what fits is nearer to the other figure. None for a CPU.
        parts: what the training peak consists of. Activations are what the forward pass made and
            still holds (and the batch itself), temporary what backward or the optimizer made. Gradients
            come as activations go, so that at the peak there may be hardly any. Overhead, on CUDA only,
            is cuBLAS's workspaces, and what memory blocks have beyond what was asked for.
        most: the most that each part takes at its own worst moment of the step.
        step, target: what was asked for.
    """

    training: int
    inference: int
    training_reserved: int | None
    inference_reserved: int | None
    parts: dict[str, int]
    most: dict[str, int]
    step: Step
    target: Target

    def row(self) -> dict[str, Any]:
        """The peaks as plain data, and how they were predicted."""
        cuda = self.target == "cuda"
        how = (
            "for CUDA: a step without memory, in a model of its allocator"
            if cuda
            else "for a CPU: a step without memory"
        )
        return {
            "training": self.training,
            "inference": self.inference,
            "training_reserved": self.training_reserved,
            "inference_reserved": self.inference_reserved,
            "how": f"predicted {how}",
        }


@uncollected()
def predict(make: Maker | FakeModel, step: Step, target: Target = "cuda") -> PredictedMemory:
    """Peak memory of the model that `make` makes (it is called on torch's meta device).

    Args:
        step: both training and inference are predicted, whichever it is.
        target: whose kernels and rounding.

    Raises:
        InputError: another target, or unfused attention on a CPU.

    >>> predict(lambda: create_model("vit_base_patch16_224", "joint"), Step(batch=64))  # doctest: +SKIP
    """
    return _predict(fake(make), step, target)[0]


@uncollected()
def predict_batches(make: Maker | FakeModel, step: Step) -> tuple[PredictedMemory, dict[int, int]]:
    """The prediction for CUDA, and per GPU size in GB (10⁹ bytes) the largest batch that fits; 0 where none does.

    A card sold with 24 GB has 24 · 2³⁰ bytes: the 7 % above 24 · 10⁹ are for the CUDA context and the gaps
    between memory blocks.
    """
    faked = fake(make)
    prediction, recorded = _predict(faked, step, "cuda")
    workspace = matmul_workspace()
    recordings = {step.batch: recorded}

    def record(batch: int) -> Recording:
        if batch not in recordings:
            recordings[batch] = training_step(faked, replace(step, batch=batch), "cuda").recording
        return recordings[batch]

    few = max(2, step.batch)  # a size of 1 changes layouts, and so what is copied
    many = 2 * few

    def peak(batch: int) -> int:
        between = record(few).at_batch(record(many), batch) if batch > 1 else None
        return play(between or record(batch), workspace).allocated

    return prediction, largest_batches(peak, {gb: gb * 10**9 for gb in GPU_SIZES_GB}, (few, many))


def _predict(faked: FakeModel, step: Step, target: Target) -> tuple[PredictedMemory, Recording]:
    if target not in ("cuda", "cpu"):
        raise unknown("target", target, ("cuda", "cpu"))
    if not step.fused and target == "cpu":
        raise InputError("unfused attention is predicted for target cuda only")
    inference, forward = _forward_only(faked, step, target)
    recorded = training_step(faked, step, target)
    parts, most = recorded.parts, recorded.most
    if target == "cpu":
        found = PredictedMemory(sum(parts.values()), forward, None, None, parts, most, step, target)
        return found, recorded.recording
    workspace = matmul_workspace()
    one, all_ = play(inference, workspace), play(recorded.recording, workspace)
    parts["overhead"] = most["overhead"] = all_.allocated - sum(parts.values())
    found = PredictedMemory(all_.allocated, one.allocated, all_.reserved, one.reserved, parts, most, step, target)
    return found, recorded.recording


# ---------------------------------------------------------------------- the recorded step


def _forward_only(faked: FakeModel, step: Step, target: Target) -> tuple[Recording, int]:
    """A forward pass without gradients, and the most bytes of tensors."""
    step = replace(step, training=False)
    model = faked.configured(step)
    with faked.mode, _live(target) as live, torch.no_grad():
        clips, held = _before(live, model, step)
        with _kernels(step, target):
            run(model, clips, clips, step)
        events = in_order(live.events[len(held) :])
    return Recording(step.batch, held, events, sums=live.sums), live.peak


@dataclass(frozen=True)
class RecordedStep:
    """A training step on fake tensors.

    Attributes:
        parts, most: bytes of its tensors' parts at the peak, and the most that each part ever takes.
        course: bytes per part, in the order of `memory.PARTS`, after each of the recording's events; then
            with the optimizer's temporaries, without them, and without gradients.
    """

    recording: Recording
    parts: dict[str, int]
    most: dict[str, int]
    course: tuple[tuple[int, ...], ...]


def training_step(make: Maker | FakeModel, step: Step, target: Target = "cuda") -> RecordedStep:
    """Run one and write down what it allocates and frees."""
    faked, step = fake(make), replace(step, training=True)
    model = faked.configured(step)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state, temporary_gpu, temporary_cpu = OPTIMIZER_TENSORS[step.optimizer]
    with faked.mode, _live(target) as live:
        sizes = [round_up(weight.nbytes, live.rounding) for weight in weights]
        clips, held = _before(live, model, step)
        live.now["optimizer"] = state * sum(sizes)
        live.live += live.now["optimizer"]
        labels = torch.zeros(step.batch, dtype=torch.long)
        held = (*held, labels.nbytes)
        backward_at = 0

        def at_backward() -> None:
            nonlocal backward_at
            live.part, backward_at = "temporary", len(live.events) - len(held)

        hooks = [
            weight.register_post_accumulate_grad_hook(lambda w: live.move(w.grad, "gradients")) for weight in weights
        ]
        with _kernels(step, target):
            run(model, clips, labels, step, at_backward=at_backward, backward=backward)
        for hook in hooks:
            hook.remove()
        events = in_order(live.events[len(held) :])
        # the optimizer's step: nothing of the pass is left but the batch
        last = dict(live.now)
        last["temporary"] += temporary_gpu * sum(sizes) if target == "cuda" else temporary_cpu * max(sizes)
        parts = max((live.peak, live.at_peak), (sum(last.values()), last), key=lambda found: found[0])[1]
        most = {part: max(live.most[part], last[part]) for part in last}
        ends = (last, live.now, live.now | {"gradients": 0})
        course = (*live.course[len(held) :], *(tuple(end.values()) for end in ends))
        for weight in weights:
            weight.grad = None
    trained = tuple(weight.nbytes for weight in weights)
    recording = Recording(step.batch, held, events, backward_at, trained, step.optimizer, live.sums)
    return RecordedStep(recording, dict(parts), most, course)


def _before(live: LiveBytes, model: Any, step: Step) -> tuple[Tensor, tuple[int, ...]]:
    """The batch of clips, and the bytes of all that is there before the first operation."""
    live.track([*model.parameters(), *model.buffers()])
    live.part = "activations"
    clips = torch.zeros(step.batch, *model.clip_shape)
    return clips, tuple(size for _, size in live.events if size is not None)


def _live(target: Target) -> LiveBytes:
    return LiveBytes(512, gpu_at_hand()) if target == "cuda" else LiveBytes()


def _kernels(step: Step, target: Target) -> Any:
    return AsOnCuda(step.fused) if target == "cuda" else nullcontext()


# ---------------------------------------------------------------------- memory over a step


@dataclass(frozen=True)
class Timeline:
    """Of E moments of a step, in their order; time is not modelled. What is freed at once is one moment.

    Attributes:
        parts: part → bytes (E,), as in `PredictedMemory`.
        reserved: bytes (E,) that the allocator has taken from the GPU.
        backward_at, optimizer_at: the moments with which these begin.
    """

    parts: dict[str, np.ndarray]
    reserved: np.ndarray
    backward_at: int
    optimizer_at: int

    @property
    def allocated(self) -> np.ndarray:
        """Bytes (E,) of all parts together."""
        return np.sum(list(self.parts.values()), axis=0)


def timeline(make: Maker | FakeModel, step: Step) -> Timeline:
    """The second or any later training step on CUDA of the model that `make` makes (called on torch's meta device).

    >>> timeline(lambda: create_model("vit_base_patch16_224", "joint"), Step(8)).allocated.max()  # doctest: +SKIP
    """
    recorded = training_step(make, step)
    recording = recorded.recording
    played = play(recording, matmul_workspace())
    # of several frees in a row only what is there after the last: before, the two lists differ in their order
    is_free = np.array([size is None for _, size in recording.events])
    ends = np.append(~(is_free[:-1] & is_free[1:]), [True] * 4)
    allocated, reserved = np.array(played.course)[ends].T
    parts = dict(zip(PARTS, np.array(recorded.course)[ends].T, strict=True))
    parts["overhead"] = allocated - np.sum(list(parts.values()), axis=0)
    begin = recording.backward_at
    assert begin is not None
    return Timeline(parts, reserved, int(ends[:begin].sum()), int(ends.sum()) - 3)


# ---------------------------------------------------------------------- the largest batch


def largest_batches(peak: Callable[[int], int], sizes: Mapping[int, int], near: tuple[int, int]) -> dict[int, int]:
    """Per size the largest batch whose peak is not above it; 0 where not even one clip fits.

    A peak grows with the batch, along a line or nearly so: the optimizer's step can be the peak for few
    clips and backward for many, and memory comes in blocks. So the line through two known batches says
    where to look, and the batches there are tried.

    Args:
        peak: bytes at a batch.
        sizes: key → bytes.
        near: two batches to begin with.
    """
    known = cache(peak)
    low, high = near
    per_clip = (known(high) - known(low)) / (high - low)

    def guess(size: int) -> int:
        return max(0, int((size - known(low)) / per_clip + low)) if per_clip > 0 else 0

    return {key: _largest(known, size, guess(size)) for key, size in sizes.items()}


def _largest(peak: Callable[[int], int], size: int, guess: int) -> int:
    """The largest batch that fits: looked for around a guess, twice as far each time, then by halves."""
    step, fits, not_fits = 1, 0, guess + 1
    while peak(not_fits) <= size:
        fits, not_fits, step = not_fits, not_fits + step, 2 * step
    step = 1
    while not fits and not_fits > 1:
        below = max(1, not_fits - step)
        if peak(below) <= size:
            fits = below
        else:
            not_fits, step = below, 2 * step
    while not_fits - fits > 1:
        middle = (fits + not_fits) // 2
        fits, not_fits = (middle, not_fits) if peak(middle) <= size else (fits, middle)
    return fits
