"""Multiply-adds that a model needs and that kernels run: "model" and "executed".

**Executed** is what the counters count: every multiplication of a linear layer, a convolution or an
attention product that some kernel carries out. **Model** is what the mathematics asks for: executed,
less

* padding: work on places beyond the edge of a map that windows do not divide, and on the zeros that
  enter at the ends of a clip, and pairs with them;
* masked pairs: scores that a mask takes away again (the two sides of a rolled window);
* copies of tokens: projecting a clip's class token in every group that it joins, or a frame that an
  "edge" border repeats, more than once;
* doubled sums: differential attention's fused form sums the values once for each of its two softmaxes;
* recomputation: the scores, which a fused backward pass computes again, and with gradient checkpointing
  the forward pass of the blocks.

A backward pass needs twice the multiply-adds of the forward pass (gradients of inputs and of weights,
or of both factors), but the pixels want no gradient. Source of the two words: Chowdhery et al. (PaLM),
arXiv 2204.02311, appendix B, whose "model FLOPs utilization" leaves recomputation out, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one clip, by closed form.

    Attributes:
        executed, model: for "forward", "backward" and "forward + backward".
        idle: what executed has more than model in the forward pass, by reason.
        recomputed: what fused attention computes again in the backward pass.
        products: of all attention, scores and sums of values, in the forward pass, as kernels run them.
        allowed_products: of these, what pairs need that are allowed to meet.
    """

    executed: dict[str, int]
    model: dict[str, int]
    idle: dict[str, int]
    recomputed: int
    products: int
    allowed_products: int

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "unit": "multiply-adds per clip",
            "executed": self.executed,
            "model": self.model,
            "idle_forward": self.idle,
            "recomputed_backward": self.recomputed,
            "attention_products_forward": self.products,
            "attention_products_allowed_forward": self.allowed_products,
        }


def work(model: nn.Module, fused: bool = True) -> Work:
    """Model against executed multiply-adds, from the model's configuration alone.

    Args:
        model: any of ours, also one without memory for its weights; all its weights learn.
        fused: attention in one kernel; False keeps its scores for the backward pass.
    """
    video: Any = model
    forward = sum(video.closed_form_macs().values())
    pixels = video.macs_without_input_gradient()
    attentions = list(video.attendings())
    idle: dict[str, int] = {}
    for one in attentions:
        for reason, macs in one.idle().items():
            idle[reason] = idle.get(reason, 0) + macs
    needed = forward - sum(idle.values())
    recomputed = sum(one.recomputed() for one in attentions) if fused else 0
    return Work(
        _passes(forward, 2 * forward - pixels + recomputed),
        _passes(needed, 2 * needed - pixels),
        {reason: macs for reason, macs in idle.items() if macs},
        recomputed,
        sum(one.products for one in attentions),
        sum(one.meetings.allowed * one.per_pair for one in attentions),
    )


def _passes(forward: int, backward: int) -> dict[str, int]:
    return {"forward": forward, "backward": backward, "forward + backward": forward + backward}
