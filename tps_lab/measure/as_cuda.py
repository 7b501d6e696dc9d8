"""What CUDA does otherwise than the CPU, modelled on fake CPU tensors: for predictions of memory.

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

The allocator and cuBLAS's workspaces are in `caching_allocator` and `replay`, the buffers of sums in
`cuda_kernels`. What is said here was compared with what an H100's allocator recorded (torch 2.11). Not
modelled: cuDNN's workspaces for convolutions; the CUDA context (hundreds of MB per process).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tps_lab.measure.caching_allocator import round_up
from tps_lab.measure.cuda_kernels import gpu_at_hand

_HALF = (torch.bfloat16, torch.float16)
_IN_FLOAT32 = (F.layer_norm, F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, F.cross_entropy)


class AsOnCuda(TorchFunctionMode):
    """Replaces attention by a model of its memory (no values!), and follows CUDA's autocast.

    Args:
        fused: False computes scores and softmax as tensors, as `fused_attn=False` does in timm.
    """

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if torch.is_autocast_enabled("cpu"):
            if func is F.normalize:
                return _normalize(*args, **kwargs)
            if func in _IN_FLOAT32:
                args = tuple(_float32(value) for value in args)
        return func(*args, **kwargs)

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            lower = torch.get_autocast_dtype("cpu")
            query, key, value = (tensor.to(lower) for tensor in (query, key, value))
            attn_mask = attn_mask.to(lower) if attn_mask is not None and attn_mask.is_floating_point() else attn_mask
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
        if self.fused:
            return _FusedAttention.apply(query, key, value, attn_mask)
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        if attn_mask is not None:
            scores = scores + attn_mask
        weights = _float32(scores) if torch.is_autocast_enabled("cpu") else scores
        return weights.softmax(-1) @ value


def backward(loss: Tensor) -> None:
    """`loss.backward()` inside the mode, which torch's own leaves; checkpointed blocks run forward again in it."""
    from torch.autograd.graph import _engine_run_backward

    start = torch.ones_like(loss)
    _engine_run_backward((loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True)


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
