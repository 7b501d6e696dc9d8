"""Peak memory predicted: no GPU is needed, and no memory for weights.

A training step runs on fake tensors, which have shapes but no memory, and every storage that comes or
goes is written down. For a CPU they are added up; for CUDA they are played through a model of torch's
caching allocator, cuBLAS's workspaces among them. The optimizer's step is added by formula.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tps_lab.errors import InputError, unknown
from tps_lab.measure.as_cuda import AsOnCuda, backward
from tps_lab.measure.caching_allocator import round_up
from tps_lab.measure.cuda_kernels import Gpu, gpu_at_hand
from tps_lab.measure.fake import fake_mode, uncollected, weightless
from tps_lab.measure.flops import copy_without_weights
from tps_lab.measure.largest_batch import largest_batches
from tps_lab.measure.live_parts import LiveParts
from tps_lab.measure.replay import OPTIMIZERS, Recording, in_order, matmul_workspace, play

GPU_SIZES_GB = (8, 16, 24, 40, 80, 141)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Setting:
    """How a model is trained, as far as memory depends on it.

    Args:
        batch: clips per step.
        precision: fp32, or the type of autocast (weights stay float32).
        optimizer: adamw, or sgd with momentum.
        checkpointing: activations of blocks are computed again in backward (timm's `grad_checkpointing`).
        fused: attention in one kernel; False keeps scores and softmax. For the CPU only True.
        target: whose kernels and rounding, "cuda" or "cpu".

    Raises:
        InputError: a value that is none of these.
    """

    batch: int = 8
    precision: str = "fp32"
    optimizer: str = "adamw"
    checkpointing: bool = False
    fused: bool = True
    target: Literal["cuda", "cpu"] = "cuda"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch must be 1 or more, got {self.batch}")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.target not in ("cuda", "cpu"):
            raise unknown("target", self.target, ("cuda", "cpu"))
        if not self.fused and self.target == "cpu":
            raise InputError("unfused attention is predicted for target cuda only")


@dataclass(frozen=True)
class Prediction:
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
        setting: what was asked for.
    """

    training: int
    inference: int
    training_reserved: int | None
    inference_reserved: int | None
    parts: dict[str, int]
    most: dict[str, int]
    setting: Setting

    def row(self) -> dict[str, Any]:
        """The peaks as plain data, and how they were had."""
        cuda = self.setting.target == "cuda"
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


def predict(make: Callable[[], nn.Module], setting: Setting) -> Prediction:
    """Peak memory of the model that `make` makes (it is called on torch's meta device).

    >>> predict(lambda: create_model("vit_base_patch16_224", "joint"), Setting(batch=64))  # doctest: +SKIP
    """
    mode = fake_mode()
    return predict_in(mode, modelled(make, setting, mode), setting)


@uncollected()
def predict_in(mode: Any, model: nn.Module, setting: Setting) -> Prediction:
    """The same of a model that is there already, without weights in its fake mode (`modelled`)."""
    return _predict(model, setting, mode)[0]


@uncollected()
def predict_batches(make: Callable[[], nn.Module], setting: Setting) -> tuple[Prediction, dict[int, int]]:
    """The prediction, and per GPU size in GB (10⁹ bytes) the largest batch that fits; 0 where none does.

    A card sold with 24 GB has 24 · 2³⁰ bytes: the 7 % above 24 · 10⁹ are for the CUDA context and the gaps
    between memory blocks.

    Raises:
        InputError: the target is no GPU.
    """
    if setting.target != "cuda":
        raise InputError("the largest batch is that of a GPU: target must be cuda")
    mode = fake_mode()
    model = modelled(make, setting, mode)
    prediction, recorded = _predict(model, setting, mode)
    workspace = matmul_workspace()
    recordings = {setting.batch: recorded}

    def record(batch: int) -> Recording:
        if batch not in recordings:
            recordings[batch] = training_step(model.train(), replace(setting, batch=batch), mode).recording
        return recordings[batch]

    few = max(2, setting.batch)  # a size of 1 changes layouts, and so what is copied
    many = 2 * few

    def peak(batch: int) -> int:
        between = record(few).at_batch(record(many), batch) if batch > 1 else None
        return play(between or record(batch), workspace).allocated

    return prediction, largest_batches(peak, {gb: gb * 10**9 for gb in GPU_SIZES_GB}, (few, many))


def counts(make: Callable[[], nn.Module]) -> dict[str, Any]:
    """Of a model without weights: params, macs (multiply-adds per clip) and whose count that is."""
    model = weightless(make, fake_mode())
    macs = sum(model.closed_form_macs().values())  # type: ignore[operator]
    params = sum(parameter.numel() for parameter in model.parameters())
    return {"params": params, "macs": macs, "macs_by_counter": {"closed form": macs}}


def modelled(make: Callable[[], nn.Module], setting: Setting, mode: Any) -> nn.Module:
    """The model that `make` makes, without weights, checkpointing if the setting says so."""
    model = weightless(make, mode)
    if setting.checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise InputError(f"{type(model).__name__} has no gradient checkpointing")
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    return model


def without_weights(model: nn.Module) -> Callable[[], nn.Module]:
    """What makes copies of a model without memory for weights, for `predict` and the like."""
    return lambda: copy_without_weights(model)


def _predict(model: nn.Module, setting: Setting, mode: Any) -> tuple[Prediction, Recording]:
    inference, forward = _forward_only(model.eval(), setting, mode)
    step = training_step(model.train(), setting, mode)
    parts, most = step.parts, step.most
    if setting.target == "cpu":
        return Prediction(sum(parts.values()), forward, None, None, parts, most, setting), step.recording
    workspace = matmul_workspace()
    one, all_ = play(inference, workspace), play(step.recording, workspace)
    parts["overhead"] = most["overhead"] = all_.allocated - sum(parts.values())
    found = Prediction(all_.allocated, one.allocated, all_.reserved, one.reserved, parts, most, setting)
    return found, step.recording


def _forward(model: nn.Module, clips: Tensor, setting: Setting) -> Tensor:
    lower = PRECISIONS[setting.precision]
    as_target = AsOnCuda(setting.fused) if setting.target == "cuda" else nullcontext()
    with as_target, nullcontext() if lower is None else torch.autocast("cpu", lower):
        return model(clips)


def _forward_only(model: nn.Module, setting: Setting, mode: Any) -> tuple[Recording, int]:
    """A forward pass without gradients, and the most bytes of tensors."""
    with mode, LiveParts(_rounding(setting), _gpu(setting)) as live, torch.no_grad():
        clips, held = _before(live, model, setting)
        _forward(model, clips, setting)
        events = in_order(live.events[len(held) :])
    return Recording(setting.batch, held, events, sums=live.sums), live.peak


@dataclass(frozen=True)
class Step:
    """A training step on fake tensors.

    Attributes:
        parts, most: bytes of its tensors' parts at the peak, and the most that each part ever takes.
        course: bytes per part, in the order of `live_parts.PARTS`, after each of the recording's events; then
            with the optimizer's temporaries, without them, and without gradients.
    """

    recording: Recording
    parts: dict[str, int]
    most: dict[str, int]
    course: tuple[tuple[int, ...], ...]


def training_step(model: nn.Module, setting: Setting, mode: Any) -> Step:
    """Run one, of a model without weights in its fake mode."""
    rounding = _rounding(setting)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sizes = [round_up(weight.nbytes, rounding) for weight in weights]
    state, temporary_gpu, temporary_cpu = OPTIMIZERS[setting.optimizer]
    with mode, LiveParts(rounding, _gpu(setting)) as live:
        clips, held = _before(live, model, setting)
        live.now["optimizer"] = state * sum(sizes)
        live.live += live.now["optimizer"]
        labels = torch.zeros(setting.batch, dtype=torch.long)
        held = (*held, labels.nbytes)
        # float32 logits, as autocast's cross-entropy has them
        loss = nn.functional.cross_entropy(_forward(model, clips, setting).float(), labels)
        live.part, backward_at = "temporary", len(live.events) - len(held)
        hooks = [
            weight.register_post_accumulate_grad_hook(lambda w: live.move(w.grad, "gradients"))  # type: ignore[arg-type]
            for weight in weights
        ]
        as_target = AsOnCuda(setting.fused) if setting.target == "cuda" else nullcontext()
        with as_target:
            backward(loss)
        del loss
        for hook in hooks:
            hook.remove()
        events = in_order(live.events[len(held) :])
        # the optimizer's step: nothing of the pass is left but the batch
        step = dict(live.now)
        step["temporary"] += temporary_gpu * sum(sizes) if setting.target == "cuda" else temporary_cpu * max(sizes)
        parts = max((live.peak, live.at_peak), (sum(step.values()), step), key=lambda found: found[0])[1]
        most = {part: max(live.most[part], step[part]) for part in step}
        ends = (step, live.now, live.now | {"gradients": 0})
        course = (*live.course[len(held) :], *(tuple(end.values()) for end in ends))
        for weight in weights:
            weight.grad = None
    trained = tuple(weight.nbytes for weight in weights)
    recording = Recording(setting.batch, held, events, backward_at, trained, setting.optimizer, live.sums)
    return Step(recording, dict(parts), most, course)


def _before(live: LiveParts, model: nn.Module, setting: Setting) -> tuple[Tensor, tuple[int, ...]]:
    """The batch of clips, and the bytes of all that is there before the first operation."""
    live.track([*model.parameters(), *model.buffers()])
    live.part = "activations"
    clips = torch.zeros(setting.batch, *model.clip_shape)  # type: ignore[misc]
    return clips, tuple(size for _, size in live.events if size is not None)


def _gpu(setting: Setting) -> Gpu | None:
    return gpu_at_hand() if setting.target == "cuda" else None


def _rounding(setting: Setting) -> int:
    return 512 if setting.target == "cuda" else 1
