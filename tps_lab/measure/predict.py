"""Peak memory predicted: no GPU is needed, and no memory for weights.

A training step runs on fake tensors, which have shapes but no memory; the storages alive at each
moment are added up, rounded up to CUDA's 512 bytes where that is the target. The optimizer's step
is added by formula.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from tps_lab.errors import InputError, unknown
from tps_lab.measure.as_cuda import AsOnCuda, backward
from tps_lab.measure.fake import fake_mode, weightless
from tps_lab.measure.memory import LiveBytes

Part = Literal["parameters", "gradients", "optimizer", "activations", "temporary"]
GPU_SIZES_GB = (8, 16, 24, 40, 80, 141)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# optimizer → (state per weight, in tensors; temporaries of its step on a GPU, in weights' sizes; on a CPU, in sizes
# of the largest weight). AdamW on a GPU takes the square root of all second moments at once ("foreach").
OPTIMIZERS = {"adamw": (2, 1, 2), "sgd": (1, 0, 0)}


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
        training: peak of a training step, the second or any later one.
        inference: peak of a forward pass of the same batch without gradients.
        parts: what the training peak consists of. Activations are what the forward pass made and
            still holds (and the batch itself), temporary what backward or the optimizer made.
            Gradients come as activations go, so that at the peak there may be hardly any.
        most: the most that each part takes at its own worst moment of the step.
        setting: what was asked for.
    """

    training: int
    inference: int
    parts: dict[str, int]
    most: dict[str, int]
    setting: Setting


class LiveParts(LiveBytes):
    """Live bytes by part, and the parts at the peak."""

    def __init__(self, rounding: int) -> None:
        super().__init__()
        self.rounding = rounding
        self.part: Part = "parameters"
        self.now: dict[str, int] = dict.fromkeys(get_args(Part), 0)
        self.at_peak, self.most = dict(self.now), dict(self.now)
        self._records: dict[int, list[Any]] = {}  # storage → [bytes, part]

    def track(self, tensors: Iterable[Any]) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in self._records:
                continue
            size = -(-storage.nbytes() // self.rounding) * self.rounding
            self._records[key] = [size, self.part]
            self.now[self.part] += size
            self.most[self.part] = max(self.most[self.part], self.now[self.part])
            self.live += size
            if self.live > self.peak:
                self.peak, self.at_peak = self.live, dict(self.now)
            weakref.finalize(storage, self._forget, key)

    def move(self, tensor: Tensor, part: Part) -> None:
        """A tensor turns out to be of another part."""
        record = self._records.get(tensor.untyped_storage()._cdata)
        if record is not None:
            self.now[record[1]] -= record[0]
            self.now[part] += record[0]
            self.most[part] = max(self.most[part], self.now[part])
            record[1] = part

    def _forget(self, key: int) -> None:
        size, part = self._records.pop(key)
        self.now[part] -= size
        self.live -= size


def predict(make: Callable[[], nn.Module], setting: Setting) -> Prediction:
    """Peak memory of the model that `make` makes (it is called on torch's meta device).

    >>> predict(lambda: create_model("vit_base_patch16_224", "joint"), Setting(batch=64))  # doctest: +SKIP
    """
    mode = fake_mode()
    return _predict(weightless(make, mode), setting, mode)


def predict_batches(make: Callable[[], nn.Module], setting: Setting) -> tuple[Prediction, dict[int, int]]:
    """The prediction, and per GPU size in GB (10⁹ bytes) the largest batch that fits; 0 where none does."""
    mode = fake_mode()
    model = weightless(make, mode)
    first = _predict(model, setting, mode)
    rounding = 512 if setting.target == "cuda" else 1

    def peak(batch: int) -> int:
        return _training(model.train(), replace(setting, batch=batch), mode, rounding)[0]

    known = {setting.batch: first.training}
    return first, largest_batches(peak, {gb: gb * 10**9 for gb in GPU_SIZES_GB}, known)


def counts(make: Callable[[], nn.Module]) -> dict[str, Any]:
    """Of a model without weights: params, macs (multiply-adds per clip) and whose count that is."""
    model = weightless(make, fake_mode())
    macs = sum(model.closed_form_macs().values())  # type: ignore[operator]
    params = sum(parameter.numel() for parameter in model.parameters())
    return {"params": params, "macs": macs, "macs_by_counter": {"closed form": macs}}


def largest_batches(peak: Callable[[int], int], sizes: Mapping[int, int], known: dict[int, int]) -> dict[int, int]:
    """Per size the largest batch whose peak is not above it; 0 where not even one clip fits.

    The peak is the highest of many moments of a step, and each moment's bytes are affine in the
    batch (but for rounding). So it is convex: where a point between two others lies on their line,
    everything between them does. Where it does not (the optimizer's step is the peak for few clips,
    backward for many), batches are tried.

    Args:
        peak: bytes at a batch; takes a second or so.
        sizes: key → bytes, rising.
        known: one batch and its peak, to begin with.
    """

    def at(batch: int) -> int:
        if batch not in known:
            known[batch] = peak(batch)
        return known[batch]

    def guesses(low: int, high: int) -> dict[int, int]:
        per_clip = (at(high) - at(low)) / (high - low)
        return {key: max(0, int((size - at(low)) / per_clip + low)) for key, size in sizes.items()}

    first = next(iter(known))
    found = guesses(first, 2 * first)
    low, high = max(1, min(found.values())), max(1, *found.values())
    if low < high:
        found = guesses(low, high)
        middle = round((low * high) ** 0.5)
        on_the_line = at(low) + (at(high) - at(low)) * (middle - low) / (high - low)
        if abs(at(middle) / on_the_line - 1) < 5e-4:
            return found
    return {key: _largest(at, size, found[key]) for key, size in sizes.items()}


def _largest(at: Callable[[int], int], size: int, guess: int) -> int:
    """The largest batch that fits: looked for around a guess, twice as far each time, then by halves."""
    step, fits, not_fits = 1, 0, guess + 1
    while at(not_fits) <= size:
        fits, not_fits, step = not_fits, not_fits + step, 2 * step
    step = 1
    while not fits and not_fits > 1:
        below = max(1, not_fits - step)
        if at(below) <= size:
            fits = below
        else:
            not_fits, step = below, 2 * step
    while not_fits - fits > 1:
        middle = (fits + not_fits) // 2
        fits, not_fits = (middle, not_fits) if at(middle) <= size else (fits, middle)
    return fits


def _predict(model: nn.Module, setting: Setting, mode: Any) -> Prediction:
    rounding = 512 if setting.target == "cuda" else 1
    if setting.checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise InputError(f"{type(model).__name__} has no gradient checkpointing")
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    inference = _forward_only(model.eval(), setting, mode, rounding)
    training, parts, most = _training(model.train(), setting, mode, rounding)
    return Prediction(training, inference, parts, most, setting)


def _forward(model: nn.Module, clips: Tensor, setting: Setting) -> Tensor:
    lower = PRECISIONS[setting.precision]
    as_target = AsOnCuda(setting.fused) if setting.target == "cuda" else nullcontext()
    with as_target, nullcontext() if lower is None else torch.autocast("cpu", lower):
        return model(clips)


def _forward_only(model: nn.Module, setting: Setting, mode: Any, rounding: int) -> int:
    with mode, LiveParts(rounding) as live, torch.no_grad():
        live.track([*model.parameters(), *model.buffers()])
        live.part = "activations"
        clips = torch.zeros(setting.batch, *model.clip_shape)  # type: ignore[misc]
        _forward(model, clips, setting)
    return live.peak


def _training(
    model: nn.Module, setting: Setting, mode: Any, rounding: int
) -> tuple[int, dict[str, int], dict[str, int]]:
    """The peak, its parts, and the most that each part ever takes."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sizes = [-(-weight.nbytes // rounding) * rounding for weight in weights]
    state, temporary_gpu, temporary_cpu = OPTIMIZERS[setting.optimizer]
    with mode, LiveParts(rounding) as live:
        live.track([*model.parameters(), *model.buffers()])
        live.now["optimizer"] = state * sum(sizes)
        live.live += live.now["optimizer"]
        live.part = "activations"
        clips = torch.zeros(setting.batch, *model.clip_shape)  # type: ignore[misc]
        labels = torch.zeros(setting.batch, dtype=torch.long)
        # float32 logits, as autocast's cross-entropy has them
        loss = nn.functional.cross_entropy(_forward(model, clips, setting).float(), labels)
        live.part = "temporary"
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
        # the step itself: nothing of the pass is left but the batch
        step = dict(live.now)
        step["temporary"] += temporary_gpu * sum(sizes) if setting.target == "cuda" else temporary_cpu * max(sizes)
        peak, parts = max((live.peak, live.at_peak), (sum(step.values()), step), key=lambda found: found[0])
        most = {part: max(live.most[part], step[part]) for part in step}
        for weight in weights:
            weight.grad = None
    return peak, parts, most
