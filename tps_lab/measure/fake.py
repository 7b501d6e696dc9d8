"""A step on tensors without memory: they have shapes, types and strides, so nothing is computed and no GPU is needed.

A model is built on torch's "meta" device, then each of its tensors is replaced by a fake CPU tensor,
because on meta itself fused attention falls apart into its unfused parts. `FakeTensorMode` is
torch's, and not a public name: this file and `_fakes` are the only ones that touch it.

Where torch on a CPU computes attention otherwise than on CUDA, one of two modes stands in for it:

* `Attention`, to count multiply-adds and bytes moved: CUDA's memory-efficient kernel, whose shapes, formulas and
  backward torch knows on fake tensors of any device; or its parts, for comparison.
* `AsOnCuda`, to predict memory: what the kernels keep and take, without values. It follows CUDA's autocast, too.

What `AsOnCuda` says was compared with what an H100's allocator recorded (torch 2.11):

* Fused attention keeps queries, keys, values, result, mask and one float32 per query (the logarithm
  of the softmax's sum) for backward (FlashAttention-2, arXiv 2307.08691, algorithm 1). Its backward
  needs one more float32 per query.
* In half precision without a mask torch takes cuDNN's kernel on data-centre GPUs since Hopper, elsewhere
  FlashAttention. Both sum the queries' gradient in float32 in their backward pass, FlashAttention in whole
  blocks of 128 queries and 32 channels.
* With a mask, or in float32, it takes the "memory-efficient" kernel (aten/src/ATen/native/transformers):
  32 queries to a block; a mask's rows are padded to 8 numbers; a mask that learns gets a gradient for
  every group, its rows padded to 16 numbers, before that is summed. With more than one block of 64 keys its
  backward adds the queries' gradient up in tiles of 64×64 and four numbers more.
* Autocast computes norms, softmax and the loss in float32, which on a CPU it does not. (The tests compare with
  CUDA's own autocast, which works on fake CUDA tensors without a GPU; their backward pass does not.)

The allocator and cuBLAS's workspaces are in `caching_allocator`, the buffers of sums in `cuda_kernels`. Not
modelled: cuDNN's workspaces for convolutions; the CUDA context (hundreds of MB per process).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tps_lab.errors import InputError
from tps_lab.measure._fakes import Remembering
from tps_lab.measure.caching_allocator import round_up
from tps_lab.measure.cuda_kernels import gpu_at_hand
from tps_lab.measure.step import Step, configured, refuse_lazy

_HALF = (torch.bfloat16, torch.float16)
_IN_FLOAT32 = (F.layer_norm, F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, F.cross_entropy)

# ---------------------------------------------------------------------- models without weights


@dataclass(frozen=True)
class FakeModel:
    """A model whose parameters and buffers have no memory, and the mode inside which it runs."""

    model: nn.Module
    mode: AbstractContextManager[Any]

    def configured(self, step: Step) -> Any:
        """The model as `step.configured` has it, for one step after another."""
        if hasattr(self.model, "set_grad_checkpointing"):
            self.model.set_grad_checkpointing(False)  # type: ignore[operator]
        return configured(self.model, step)


Maker = Callable[[], nn.Module]  # makes a model; it is called on torch's meta device


def fake(make: Maker | FakeModel) -> FakeModel:
    """The model that `make` makes, without memory for it.

    >>> fake(lambda: create_model("vit_base_patch16_224")).model  # doctest: +SKIP
    """
    if isinstance(make, FakeModel):
        return make
    mode = fake_mode()
    return FakeModel(weightless(make, mode), mode)


def fake_mode() -> AbstractContextManager[Any]:
    """Inside it, tensors that are made have no memory."""
    return Remembering()


def weightless(make: Maker, mode: AbstractContextManager[Any], device: str = "cpu") -> nn.Module:
    """The model that `make` makes, its tensors fake ones of `mode`, on a device that need not exist."""
    with torch.device("meta"):
        model = make()
    stand_ins: dict[int, Tensor] = {}  # a tensor that two modules share stays one

    def stand_in(tensor: Tensor) -> Tensor:
        if id(tensor) not in stand_ins:
            with mode:
                new: Tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
            is_parameter = isinstance(tensor, nn.Parameter)
            stand_ins[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
        return stand_ins[id(tensor)]

    originals = []  # kept until the end, so that no id is used twice
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    originals.append(tensor)
                    held[name] = stand_in(tensor)  # type: ignore[assignment]
    return model


def without_weights(model: nn.Module) -> Maker:
    """What makes copies of a model on torch's meta device, without memory for them.

    Raises:
        InputError: it cannot be copied, or does not know the sizes of its weights.
    """
    refuse_lazy(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("a scripted model cannot be counted: give the module that it was made from")

    def copied() -> nn.Module:
        memo: dict[int, Any] = {}
        for held in (model.parameters(), model.buffers()):
            for tensor in held:
                empty = torch.empty_like(tensor, device="meta", requires_grad=False)
                parameter = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if parameter else empty
        return copy.deepcopy(model, memo)

    return copied


def backward(loss: Tensor) -> None:
    """`loss.backward()` inside a mode, which torch's own leaves; checkpointed blocks run forward again in it."""
    from torch.autograd.graph import _engine_run_backward

    start = torch.ones_like(loss)
    _engine_run_backward((loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True)


# ---------------------------------------------------------------------- attention as on CUDA


class Attention(TorchFunctionMode):
    """Inside it, attention is one kernel (`fused`), or scores, softmax and sum as tensors."""

    def __init__(self, fused: bool = True) -> None:
        super().__init__()
        self.fused = fused

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return self.attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **others: Any,
    ) -> Tensor:
        bias = attn_mask
        if bias is not None and bias.dtype == torch.bool:
            bias = torch.zeros_like(bias, dtype=q.dtype).masked_fill(bias.logical_not(), float("-inf"))
        if not self.fused:
            return _in_parts(q, k, v, bias, scale)
        if bias is not None:
            bias = bias.to(q.dtype).expand(*q.shape[:-1], k.shape[-2])
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        return kernel(q, k, v, bias, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale)[0]


def _in_parts(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None = None, in_float32: bool = False
) -> Tensor:
    scores = (q * (scale or q.shape[-1] ** -0.5)) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    weights = _float32(scores) if in_float32 else scores  # named, as it lives until the values are summed
    return weights.softmax(-1) @ v


class AsOnCuda(Attention):
    """Attention is a model of its memory (no values!), and autocast is CUDA's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention and torch.is_autocast_enabled("cpu"):
            if func is F.normalize:
                return _normalize(*args, **(kwargs or {}))
            if func in _IN_FLOAT32:
                args = tuple(_float32(value) for value in args)
        return super().__torch_function__(func, types, args, kwargs)

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            lower = torch.get_autocast_dtype("cpu")
            q, k, v = (tensor.to(lower) for tensor in (q, k, v))
            attn_mask = attn_mask.to(lower) if attn_mask is not None and attn_mask.is_floating_point() else attn_mask
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=q.dtype)
        if self.fused:
            return _FusedAttention.apply(q, k, v, attn_mask)
        return _in_parts(q, k, v, attn_mask, in_float32=torch.is_autocast_enabled("cpu"))


class _FusedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        b, heads, n, _ = q.shape
        ctx.flash = mask is None and q.dtype in _HALF
        # FlashAttention's result is laid out as the queries are, the other kernel's token by token
        by_token = torch.empty_like(q.transpose(1, 2)) if ctx.flash else q.new_empty(b, n, heads, v.shape[-1])
        out = by_token.transpose(1, 2)
        if mask is not None and mask.shape[-1] % 8:
            mask = mask.new_empty(*mask.shape[:-1], round_up(mask.shape[-1], 8))[..., : mask.shape[-1]]
        per_query = q.new_empty(b, heads, n if ctx.flash else round_up(n, 32), dtype=torch.float32)
        ctx.save_for_backward(q, k, v, out, per_query, mask)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        q, k, v, _, _, mask = ctx.saved_tensors
        b, heads, n, d = q.shape
        keys = k.shape[2]
        grads = [torch.empty_like(tensor) for tensor in (q, k, v)]
        if ctx.flash:
            to, of = (1, 1) if gpu_at_hand().generation >= 9 else (128, 32)
            scratch = [(round_up(n, to),), (round_up(n, to), round_up(d, of))]
        else:
            tiles = -(-n // 64) * -(-d // 64) * (64 * 64 + 4) if keys > 64 else 0
            scratch = [(n,), (n,), (tiles,)]
        passing = [q.new_empty(b, heads, *shape, dtype=torch.float32) for shape in scratch]
        grad_mask = None
        if mask is not None and ctx.needs_input_grad[3]:
            of_groups = q.new_empty(b, heads, n, round_up(keys, 16))[..., :keys]
            del passing
            grad_mask = of_groups.sum_to_size(mask.shape)
        return *grads, grad_mask


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """`F.normalize`, whose norm CUDA's autocast computes in float32, without a copy of x; so is then the quotient."""
    return x / torch.linalg.vector_norm(x, p, dim, True, dtype=torch.float32).clamp_min(eps).expand_as(x)


def _float32(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in _HALF
    return value.float() if half else value
