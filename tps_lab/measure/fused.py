"""Fused attention with a backward pass on any device, as fake tensors run it.

On a CPU torch computes attention in parts where a bias learns (Swin's) or where the tensors are
"meta". Here every `scaled_dot_product_attention` becomes CUDA's memory-efficient kernel, whose shapes,
formulas and backward torch knows on fake tensors of any device; or its parts, for comparison.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Attention(TorchFunctionMode):
    """Inside it, attention is one kernel (`fused`), or scores, softmax and sum as tensors."""

    def __init__(self, fused: bool = True) -> None:
        super().__init__()
        self.fused = fused

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attention(
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
        if self.fused:
            if bias is not None:
                bias = bias.to(q.dtype).expand(*q.shape[:-1], k.shape[-2])
            wanted = torch.is_grad_enabled()
            kernel = torch.ops.aten._scaled_dot_product_efficient_attention
            return kernel(q, k, v, bias, wanted, dropout_p, is_causal, scale=scale)[0]
        scores = (q * (scale or q.shape[-1] ** -0.5)) @ k.transpose(-2, -1)
        return (scores if bias is None else scores + bias).softmax(-1) @ v
