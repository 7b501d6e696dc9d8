"""Multiply-adds per clip: counted three ways that share nothing, and what the model needs of them.

* fvcore traces the model and adds up its operators. It knows no fused attention (counts 0), so it
  gets a handler for that here, and it counts norms, which nobody else does, so those are left out.
* torch's dispatcher shows every kernel as it runs (`trace.Recorder`), and torch has formulas for them. Kernels
  that have none are held against a reviewed list (`operators`).
* the closed form comes from the model's configuration alone (`closed_form_macs`).

All count linear layers, convolutions and attention products. None counts norms, activations,
softmax, sums or gathers: a shift costs 0 multiply-adds (but not 0 bytes). fvcore cannot count a backward pass.

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

import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tps_lab.errors import one_line
from tps_lab.measure.operators import NO_MACS_TRACED, refuse
from tps_lab.measure.step import device_of
from tps_lab.measure.trace import Recorder


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
    clip = torch.zeros(1, *clip_shape, device=device_of(model))
    was_training = model.training
    model.eval()
    counts: dict[str, int | None] = {}
    problems: dict[str, str] = {}
    try:
        with torch.no_grad():
            for name, counter in {"fvcore": by_fvcore, "torch": by_torch, "closed form": _closed_form}.items():
                try:
                    counts[name] = counter(model, clip)
                except Exception as error:  # a counter's failure is a result: reported beside the others
                    counts[name], problems[name] = None, one_line(error)
    finally:
        model.train(was_training)
    return Macs(counts, problems)


def by_fvcore(model: nn.Module, clip: torch.Tensor) -> int:
    """fvcore's count, with a handler for fused attention and without norms."""
    with warnings.catch_warnings():  # fvcore scripts a function when imported, which torch deprecates
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model, clip).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.set_op_handle("aten::scaled_dot_product_attention", _fused_attention)
    analysis.set_op_handle("aten::einsum", _einsum)
    for norm in ("layer_norm", "group_norm", "batch_norm", "adaptive_avg_pool2d"):
        # A handle of None would leave fvcore's own in place.
        analysis.set_op_handle(f"aten::{norm}", _nothing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total = int(analysis.total())
        refuse("fvcore", {op for op in analysis.unsupported_ops() if op.removeprefix("aten::") not in NO_MACS_TRACED})
    return total


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _fused_attention(inputs: list[Any], outputs: list[Any]) -> int:
    q, k, v = (value.type().sizes() for value in inputs[:3])
    # batch·heads × queries × keys × (channels of the scores + channels of the values)
    return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    """One multiply-add for each combination of its letters; fvcore itself rounds to four digits."""
    terms = inputs[0].toIValue().partition("->")[0].split(",")
    shapes = (value.type().sizes() for value in inputs[1].node().inputs())
    lengths = {k: v for term, shape in zip(terms, shapes, strict=True) for k, v in zip(term, shape, strict=True)}
    return math.prod(lengths.values())


def by_torch(model: nn.Module, clip: torch.Tensor) -> int:
    """What torch's formulas give for the kernels that run."""
    with Recorder() as recorder:
        model(clip)
    recorder.check("torch's counter")
    return recorder.found.macs()


def _closed_form(model: nn.Module, clip: torch.Tensor) -> int:
    return sum(model.closed_form_macs().values())  # type: ignore[operator]


# ---------------------------------------------------------------------- executed and needed


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
