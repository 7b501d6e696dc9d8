"""Every kernel of a step: its multiply-adds, its bytes, and whose it is; where it goes, by stage and operation.

`Recorder` sees kernels as they run. For a `trace` the model runs on fake tensors, so nothing is computed and nothing
needs memory. Bytes are an estimate of traffic with main memory, each kernel by itself, as eager PyTorch runs them:

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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tps_lab.lazy import uncollected
from tps_lab.measure.fake import Attention, FakeModel, Maker, backward, fake
from tps_lab.measure.memory import WHICH_DEVICE
from tps_lab.measure.operators import formulas, is_reviewed, refuse
from tps_lab.measure.step import Step, run

_FORWARD = Step(training=False)
Phase = Literal["forward", "backward"]

# Of the first only the rows that are taken are read, of the others nothing of what they make or overwrite.
_GATHERS = frozenset("index_select embedding _embedding_bag_forward_only index gather _unsafe_index".split())
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
    """All kernels of a step, and the bytes kept for backward by module path.

    Attributes:
        kinds: module path → class name.
    """

    step: Step
    kernels: list[Kernel] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def macs(self, phase: Phase | None = None) -> int:
        return sum(kernel.macs for kernel in self.kernels if phase in (None, kernel.phase))

    def bytes(self, phase: Phase | None = None) -> int:
        return sum(kernel.bytes for kernel in self.kernels if phase in (None, kernel.phase))


@uncollected()
def trace(make: Maker | FakeModel, step: Step = _FORWARD) -> Trace:
    """Run a step on fake tensors: forward, cross-entropy and backward, or a forward pass alone.

    Args:
        make: called on torch's meta device.
        step: with fused attention its kernel is that of CUDA. The optimizer's step is left out.

    Raises:
        NotImplementedError: an operator that nobody reviewed, by name.

    >>> trace(lambda: create_model("vit_base_patch16_224", "tps"), Step(training=False)).bytes()  # doctest: +SKIP
    """
    faked = fake(make)
    model = faked.configured(step)
    recorder = Recorder(step)
    with faked.mode, ExitStack() as inside:
        clips = torch.zeros(step.batch, *model.clip_shape)
        labels = torch.zeros(step.batch, dtype=torch.long)
        inside.enter_context(_followed(model, recorder))
        inside.enter_context(recorder.watching_what_is_kept(model) if step.training else nullcontext())
        inside.enter_context(recorder)
        inside.enter_context(Attention(step.fused))
        run(model, clips, labels, step, at_backward=recorder.backward_begins, backward=backward)
        for weight in model.parameters():  # the next step may be of the same model
            weight.grad = None
    recorder.check("the trace")
    return recorder.found


class Recorder(TorchDispatchMode):
    """Writes down every kernel that runs inside it.

    Attributes:
        found: what was written down.
        unknown: operators that nobody reviewed, by name.
        moving: how many operators ran that are no views.

    >>> with Recorder() as recorder:
    ...     _ = torch.ones(3).cumprod(0)
    >>> recorder.unknown
    {'aten.cumprod'}
    """

    def __init__(self, step: Step | None = None) -> None:
        super().__init__()
        self.found = Trace(step or Step())
        self.phase: Phase = "forward"
        self.unknown: set[str] = set()
        self.moving = 0
        self.stack: list[str] = [""]
        # Autograd numbers its nodes as they are made: from which number on which module was at work.
        self._since: list[int] = [0]
        self._paths: list[str] = [""]
        self._alive: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in LiveBytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is WHICH_DEVICE:
            return args[0].device
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet, name = func._overloadpacket, func._overloadpacket.__name__
        self.moving += not func.is_view
        formula = formulas().get(packet)
        if formula is None and not is_reviewed(str(packet)):
            self.unknown.add(str(packet))
        macs = formula(*args, **kwargs, out_val=out) // 2 if formula else 0
        read, written = _moved(func, name, args, kwargs, out)
        if macs or read or written:
            self.found.kernels.append(Kernel(str(packet), self.phase, self._path(), macs, read, written))
        return out

    def check(self, who: str) -> None:
        """Raise `NotImplementedError` with the names of the unknown operators, if there were any."""
        refuse(who, self.unknown)

    def backward_begins(self) -> None:
        self.phase = "backward"

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


@contextmanager
def _followed(model: nn.Module, recorder: Recorder) -> Iterator[None]:
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


# ---------------------------------------------------------------------- where it goes

OPERATIONS = (
    "embed", "qkv", "attention products", "proj", "position bias", "shift, copies", "mlp", "convolution", "merging",
    "norm", "residual", "head", "other",
)  # fmt: skip

_QKV = frozenset("qkv q kv k v q_proj k_proj v_proj query key value in_proj sr".split())
_PROJ = frozenset("proj out out_proj attn_out_proj mlp_out_proj proj_drop".split())
_EMBED = frozenset("patch_embed stem pos_drop patch_drop norm_pre rope".split())
_HEAD = frozenset("head fc_norm attn_pool head_dist head_drop global_pool".split())
_ATTENTIONS = frozenset("attn attention attns attn_block attn_grid".split())
_MERGING = frozenset("downsample reduction".split())
_PRODUCTS = re.compile(r"bmm|attention|softmax")
_MOVES = re.compile(r"index|gather|embedding|roll|cat|stack|clone|copy|slice|select|split|pad|repeat|view|where")


@dataclass(frozen=True)
class Part:
    """One operation of one stage: multiply-adds and bytes of forward and backward, bytes kept for backward."""

    stage: str
    operation: str
    macs: int
    backward_macs: int
    bytes: int
    backward_bytes: int
    activation_bytes: int

    def row(self) -> dict[str, Any]:
        return asdict(self)


def breakdown(trace: Trace) -> list[Part]:
    """The parts of a traced training step (or forward pass), in the order in which they come; sums are the trace's."""
    sums: dict[tuple[str, str], list[int]] = {}

    def add(path: str, operator: str, column: int, amount: int) -> None:
        key = (stage_of(path), operation_of(path, trace.kinds.get(path, ""), operator))
        sums.setdefault(key, [0] * 5)[column] += amount

    for kernel in trace.kernels:
        later = kernel.phase == "backward"
        add(kernel.path, kernel.name, 1 if later else 0, kernel.macs)
        add(kernel.path, kernel.name, 3 if later else 2, kernel.bytes)
    for path, kept in trace.kept.items():
        add(path, "", 4, kept)
    return [Part(stage, operation, *figures) for (stage, operation), figures in sums.items()]


def stage_of(path: str) -> str:
    """A pyramid's stage, a plain ViT's block, or what stands before, behind and around them."""
    if "after" in path.split("."):
        return "temporal encoder"
    if match := re.search(r"(?:layers|stages)\.(\d+)", path):
        return f"stage {int(match[1]) + 1}"
    if match := re.search(r"blocks\.(\d+)", path):
        return f"block {int(match[1]) + 1}"
    names = set(path.split("."))
    if names & _EMBED:
        return "embed"
    return "head" if names & _HEAD else "outside blocks"


def operation_of(path: str, kind: str, operator: str) -> str:
    """What a kernel does, by the module that it runs in, the module's class and its own name."""
    names = path.split(".")
    inside, leaf = set(names), names[-1]
    if stage_of(path) == "embed":
        return "embed"
    if stage_of(path) == "head":
        return "head"
    if any(name.startswith(("cpb_mlp", "rel_pos")) for name in names):
        return "position bias"
    if "Norm" in kind or leaf.startswith("norm"):
        return "norm"
    if any(name.startswith(("mlp", "ffn")) for name in names) and leaf not in _PROJ:
        return "mlp"
    if inside & _MERGING:
        return "merging"
    if inside & _ATTENTIONS or "Attention" in kind:
        return _in_attention(leaf, operator)
    if any("conv" in name for name in names) or "Conv" in kind:
        return "convolution"
    if stage_of(path) == "outside blocks":
        return "other"
    return "proj" if leaf in _PROJ else "residual"


def _in_attention(leaf: str, operator: str) -> str:
    if leaf in _QKV:
        return "qkv"
    if leaf in _PROJ:
        return "proj"
    if _PRODUCTS.search(operator) or not operator:
        return "attention products"
    if operator in ("aten.mm", "aten.addmm"):  # a projection whose weights the attention uses itself
        return "qkv"
    return "shift, copies" if _MOVES.search(operator) else "attention products"
