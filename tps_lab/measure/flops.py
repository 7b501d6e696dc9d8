"""Multiply-adds of a forward pass, counted three ways that share nothing.

* fvcore traces the model and adds up its operators. It knows no fused attention (counts 0), so it
  gets a handler for that here, and it counts norms, which nobody else does, so those are left out.
* torch's dispatcher counter sees every kernel as it runs; its unit is twice ours. Before torch 2.15
  it counts 0 for the fused CPU kernel, so that gets a formula here.
* the closed form comes from the model's configuration alone (`closed_form_macs`).

All count linear layers, convolutions and attention products. None counts norms, activations,
softmax, sums or gathers: a shift costs 0 multiply-adds (but not 0 bytes).
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Operators that fvcore has no formula for and that, as reviewed, do no multiply-adds of the kinds
# counted here. Anything else that it does not know is named and makes the count incomplete.
_FREE = frozenset(
    """
    add add_ sub rsub mul mul_ div neg pow sqrt exp sigmoid tanh softmax gelu silu relu clone copy_ expand
    expand_as repeat mean sum pad floor_divide remainder arange stack cat index_select index select slice
    embedding where clamp ge gt lt le eq ne zeros ones zeros_like ones_like fill_ roll flip scalar_tensor full
    full_like masked_fill masked_fill_ bernoulli_ div_ rand unflatten fill new_zeros type_as bitwise_not diagonal
    rms_norm avg_pool2d max_pool2d relu_ silu_ gelu_ hardtanh_ sin cos meshgrid repeat_interleave outer
    clamp_min linalg_vector_norm
""".split()
)


@dataclass(frozen=True)
class Macs:
    """Multiply-adds per clip by counter; a counter that failed has None and its reason in `problems`."""

    by_counter: dict[str, int | None]
    problems: dict[str, str]

    @property
    def agreed(self) -> bool:
        """All counters have a figure, and it is the same integer."""
        return len(set(self.by_counter.values())) == 1 and None not in self.by_counter.values()

    @property
    def status(self) -> str:
        return "agreed" if self.agreed else "disputed"

    @property
    def value(self) -> int | None:
        """The agreed count; if disputed, the dispatcher's, which saw what really ran."""
        return self.by_counter.get("torch")


def count_macs(model: nn.Module, clip_shape: Iterable[int]) -> Macs:
    """Count one clip's forward pass, in eval mode and without gradients.

    Args:
        clip_shape: (C, T, H, W).
    """
    device = next(model.parameters()).device
    clip = torch.zeros(1, *clip_shape, device=device)
    was_training = model.training
    model.eval()
    # torch's counter hooks gradients of what enters a module, and stumbles over a parameter that does
    frozen = [p for p in model.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    counts: dict[str, int | None] = {}
    problems: dict[str, str] = {}
    try:
        with torch.no_grad():
            for name, counter in (("fvcore", _fvcore), ("torch", _torch), ("closed form", _closed_form)):
                try:
                    counts[name] = counter(model, clip)
                except Exception as error:  # a counter's failure is a result: reported beside the others
                    counts[name], problems[name] = None, f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        model.train(was_training)
        for parameter in frozen:
            parameter.requires_grad_(True)
    return Macs(counts, problems)


def _fvcore(model: nn.Module, clip: torch.Tensor) -> int:
    with warnings.catch_warnings():  # fvcore scripts a function when imported, which torch deprecates
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model, clip).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.set_op_handle("aten::scaled_dot_product_attention", _fused_attention)
    for norm in ("layer_norm", "group_norm", "batch_norm", "adaptive_avg_pool2d"):
        # A handle of None would leave fvcore's own in place.
        analysis.set_op_handle(f"aten::{norm}", _nothing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total = int(analysis.total())
        unknown = {op for op in analysis.unsupported_ops() if op.removeprefix("aten::") not in _FREE}
    if unknown:
        raise NotImplementedError(f"fvcore cannot count {', '.join(sorted(unknown))}")
    return total


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _fused_attention(inputs: list[Any], outputs: list[Any]) -> int:
    q, k, v = (value.type().sizes() for value in inputs[:3])
    # batch·heads × queries × keys × (channels of the scores + channels of the values)
    return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _torch(model: nn.Module, clip: torch.Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    ours: dict[Any, Any] = {}
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is not None:
        ours[fused] = _flash_for_cpu
    with FlopCounterMode(display=False, custom_mapping=ours) as counter:
        model(clip)
    total = counter.get_total_flops()
    return total // 2


def _flash_for_cpu(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    # FlopCounterMode hands formulas the tensors' shapes and wants twice the multiply-adds.
    return 2 * math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _closed_form(model: nn.Module, clip: torch.Tensor) -> int:
    return sum(model.closed_form_macs().values())  # type: ignore[operator]
