"""Peak memory of a training step and of inference, in bytes.

On CUDA: what the allocator reports (`max_memory_allocated`, with reserved beside it). On a CPU there
is no such counter, so live tensor storages are tracked through the dispatcher: everything that
autograd and the optimizer keep is seen; scratch space inside one kernel is not.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class PeakMemory:
    """Bytes; reserved is CUDA's only. `how` says how they were had."""

    training: int
    inference: int
    training_reserved: int | None
    inference_reserved: int | None
    how: str


class LiveBytes(TorchDispatchMode):
    """Tracks how many bytes of tensor storage are alive, and the most there ever were.

    >>> with LiveBytes() as live:
    ...     _ = torch.zeros(1000) + 1
    >>> live.peak
    8000
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, int] = {}  # storage → bytes

    def track(self, tensors: Iterable[Any]) -> None:
        """Count the storages of these tensors until they are freed; each once."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                self._came(storage._cdata, storage.nbytes())
                weakref.finalize(storage, self._went, storage._cdata)

    def _came(self, key: int, size: int) -> None:
        self._known[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)

    def _went(self, key: int) -> None:
        self.live -= self._known.pop(key)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.track(tree_leaves(out))
        return out


def peak_memory(
    model: nn.Module, clip_shape: Iterable[int], batch: int, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW
) -> PeakMemory:
    """Measure on a copy of the model, on the model's device.

    A training step is forward, cross-entropy, backward and optimizer step with the optimizer's
    state already there (the second step, as all later ones); weights, gradients, state and the
    batch of clips are included. Inference is a forward pass without gradients of the same batch.

    Args:
        clip_shape: (C, T, H, W).
        batch: clips per step.
    """
    device = next(model.parameters()).device
    model = copy.deepcopy(model)
    clips = torch.zeros(batch, *clip_shape, device=device)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    steps = optimizer(model.parameters())  # type: ignore[call-arg]

    def train() -> None:
        steps.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(clips), labels).backward()
        steps.step()

    def infer() -> None:
        with torch.no_grad():
            model(clips)

    model.eval()
    state: list[Any] = [*model.parameters(), *model.buffers(), clips, labels]
    inference, inference_reserved = _peak(infer, state, device)
    model.train()
    train()
    steps.zero_grad(set_to_none=True)
    state += tree_leaves([dict(s) for s in steps.state.values()])
    training, training_reserved = _peak(train, state, device)
    what = "CUDA allocator" if device.type == "cuda" else "tracked live tensors"
    how = f"{what}, {device.type}, batch {batch}"
    return PeakMemory(training, inference, training_reserved, inference_reserved, how)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory did not suffice: a result, not a crash."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _peak(work: Callable[[], None], state: list[Any], device: torch.device) -> tuple[int, int | None]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    with LiveBytes() as live:
        live.track(state)
        work()
    return live.peak, None
