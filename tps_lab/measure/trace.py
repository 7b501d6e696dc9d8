"""Every kernel of a forward pass or a training step: its multiply-adds, its bytes, and whose it is.

The model runs on fake tensors, so nothing is computed and nothing needs memory. Bytes are an estimate
of traffic with main memory, each kernel by itself, as eager PyTorch runs them:

* a kernel reads its inputs once and writes its outputs once; a broadcast (stride 0) is read once;
* views move nothing, and an allocation moves nothing;
* a gather reads the rows that it takes, not the table; one that works in place reads and writes;
* fused attention reads queries, keys, values and bias, and writes the result and one float32 per query
  for backward. That keys and values come again for every block of queries is served by the cache (one
  head's keys and values, 6 MB for 25,000 tokens in half precision, fit there). Unfused attention
  writes and reads its scores several times, as it really does.

Left out: what caches save between kernels (a lot on a CPU with tensors of a few MB), workspaces, the
loss's own few numbers. A compiler that fuses elementwise kernels moves less.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tps_lab.measure.as_cuda import backward
from tps_lab.measure.fake import fake_mode, uncollected, weightless
from tps_lab.measure.fused import Attention
from tps_lab.measure.operators import formulas, is_reviewed, refuse

Phase = Literal["forward", "backward"]

# Of the first only the rows that are taken are read, of the others nothing of what they make or overwrite.
_GATHERS = frozenset("index_select embedding index gather _unsafe_index".split())
_ALLOCATES = frozenset("empty empty_like empty_strided new_empty new_empty_strided".split())
_OVERWRITES = frozenset("zero_ fill_ copy_ bernoulli_ uniform_ normal_".split())
_MAKES = re.compile(r"(new_)?(zeros|ones|full)(_like)?|randn?_like")


@dataclass(frozen=True)
class Kernel:
    """One call: operator ("aten.addmm"), module path, multiply-adds, bytes read and written."""

    name: str
    phase: Phase
    path: str
    macs: int
    read: int
    written: int

    @property
    def bytes(self) -> int:
        return self.read + self.written


@dataclass
class Trace:
    """All kernels of a run with `batch` clips, and the bytes kept for backward by module path.

    Attributes:
        kinds: module path → class name.
    """

    batch: int
    training: bool
    kernels: list[Kernel] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def macs(self, phase: Phase | None = None) -> int:
        return sum(kernel.macs for kernel in self.kernels if phase in (None, kernel.phase))

    def bytes(self, phase: Phase | None = None) -> int:
        return sum(kernel.bytes for kernel in self.kernels if phase in (None, kernel.phase))


@uncollected()
def trace(
    make: Callable[[], nn.Module],
    batch: int = 1,
    training: bool = False,
    fused: bool = True,
    lower: torch.dtype | None = None,
    checkpointing: bool = False,
) -> Trace:
    """Run what `make` makes on fake tensors.

    Args:
        make: called on torch's meta device.
        batch: clips.
        training: forward, cross-entropy and backward, all weights learning; else a forward pass alone.
        fused: attention in one kernel, as CUDA has it; False: scores and softmax as tensors.
        lower: dtype of autocast; None is float32.
        checkpointing: blocks run forward again in the backward pass.

    Raises:
        NotImplementedError: an operator that nobody reviewed, by name.

    >>> trace(lambda: create_model("vit_base_patch16_224", "tps")).bytes()  # doctest: +SKIP
    """
    mode = fake_mode()
    model = weightless(make, mode).train(training)
    if checkpointing:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    autocast = nullcontext() if lower is None else torch.autocast("cpu", lower)
    recorder = _Recorder(Trace(batch, training))
    with mode, ExitStack() as inside:
        clips = torch.zeros(batch, *model.clip_shape)  # type: ignore[misc]
        labels = torch.zeros(batch, dtype=torch.long)
        inside.enter_context(_followed(model, recorder))
        if training:
            inside.enter_context(recorder.watching_what_is_kept(model))
        else:
            inside.enter_context(torch.no_grad())
        inside.enter_context(recorder)
        inside.enter_context(Attention(fused))
        with autocast:
            logits = model(clips)
        if training:
            loss = nn.functional.cross_entropy(logits.float(), labels)
            recorder.phase = "backward"
            backward(loss)
    refuse("the trace", recorder.unknown)
    return recorder.found


class _Recorder(TorchDispatchMode):
    def __init__(self, found: Trace) -> None:
        super().__init__()
        self.found, self.phase = found, "forward"
        self.stack: list[str] = [""]
        self.unknown: set[str] = set()
        # Autograd numbers its nodes as they are made: from which number on which module was at work.
        self._since: list[int] = [0]
        self._paths: list[str] = [""]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet, name = func._overloadpacket, func._overloadpacket.__name__
        formula = formulas().get(packet)
        if formula is None and not is_reviewed(str(packet)):
            self.unknown.add(str(packet))
        macs = formula(*args, **kwargs, out_val=out) // 2 if formula else 0
        read, written = _moved(func, name, args, kwargs, out)
        if macs or read or written:
            kernel = Kernel(str(packet), self.phase, self._path(), macs, read, written)  # type: ignore[arg-type]
            self.found.kernels.append(kernel)
        return out

    def enter(self, path: str) -> None:
        self.stack.append(path)
        self._mark()

    def leave(self) -> None:
        self.stack.pop()
        self._mark()

    def _mark(self) -> None:
        self._since.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._paths.append(self.stack[-1])

    def _path(self) -> str:
        if self.stack[-1] or self.phase == "forward":
            return self.stack[-1]
        node = torch._C._current_autograd_node()  # type: ignore[attr-defined]
        number = node._sequence_nr() if node is not None else -1
        if number < 0 or number > self._since[-1]:  # the sum of two gradients of one weight
            return ""
        return self._paths[bisect_right(self._since, number) - 1]

    def watching_what_is_kept(self, model: nn.Module) -> Any:
        known = {tensor.untyped_storage()._cdata for held in (model.parameters(), model.buffers()) for tensor in held}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in known:
                known.add(storage._cdata)
                self._alive.append(tensor)  # so that no other storage gets the same address
                path = self.stack[-1]
                self.found.kept[path] = self.found.kept.get(path, 0) + storage.nbytes()
            return tensor

        return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)

    @property
    def _alive(self) -> list[Tensor]:
        return self.__dict__.setdefault("_held", [])


@contextmanager
def _followed(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which module is at work."""
    handles = []
    for path, module in model.named_modules():
        recorder.found.kinds[path] = type(module).__name__
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: recorder.enter(path)))  # type: ignore[misc]
        handles.append(module.register_forward_hook(lambda *_: recorder.leave(), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _moved(func: Any, name: str, args: Any, kwargs: Any, out: Any) -> tuple[int, int]:
    """Bytes read and written by one call."""
    if name in _ALLOCATES or str(func._overloadpacket).startswith("prim."):
        return 0, 0
    inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    storages = {tensor.untyped_storage()._cdata for tensor in inputs}
    changed = name.endswith("_") and not name.startswith("__")
    fresh = [tensor for tensor in outputs if changed or tensor.untyped_storage()._cdata not in storages]
    if not fresh:  # a view
        return 0, 0
    written = sum(map(_size, fresh))
    if _MAKES.fullmatch(name):
        return 0, written
    if name in _OVERWRITES:
        inputs = inputs[1:]
    elif name in _GATHERS:
        return written + sum(_size(tensor) for tensor in inputs if not tensor.is_floating_point()), written
    distinct = {(t.untyped_storage()._cdata, t.storage_offset(), t.shape, t.stride()): t for t in inputs}
    return sum(map(_size, distinct.values())), written


def _size(tensor: Tensor) -> int:
    """Bytes of the distinct elements: a broadcast dimension has one."""
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= length if stride or length == 0 else 1
    return elements * tensor.element_size()
