"""Multiply-adds per clip, counted three ways that share nothing; with a backward pass, two ways.

* fvcore traces the model and adds up its operators. It knows no fused attention (counts 0), so it
  gets a handler for that here, and it counts norms, which nobody else does, so those are left out.
* torch's dispatcher counter sees every kernel as it runs; its unit is twice ours. It passes over
  kernels that it has no formula for, so those are held against a reviewed list (`operators`).
* the closed form comes from the model's configuration alone (`closed_form_macs`).

All count linear layers, convolutions and attention products. None counts norms, activations,
softmax, sums or gathers: a shift costs 0 multiply-adds (but not 0 bytes).
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from tps_lab.measure.as_cuda import backward
from tps_lab.measure.fused import Attention
from tps_lab.measure.operators import NO_MACS_TRACED, Kernels, formulas, refuse


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
    clip = torch.zeros(1, *clip_shape, device=next(model.parameters()).device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            counters = {"fvcore": _fvcore, "torch": _torch, "closed form": _closed_form}
            return _all_counts({name: partial(counter, model, clip) for name, counter in counters.items()})
    finally:
        model.train(was_training)


def count_training(make: Callable[[], nn.Module], fused: bool = True) -> Macs:
    """Count forward and backward pass of one clip with its cross-entropy, all weights learning, frozen ones too.

    Nothing is computed: the model that `make` makes has no memory for its weights. fvcore cannot
    count a backward pass, so there are two counters.

    Args:
        fused: attention in one kernel, whose backward computes the scores again; False keeps them.
    """
    from tps_lab.measure.fake import fake_mode, weightless
    from tps_lab.measure.work import work

    mode = fake_mode()
    model = weightless(make, mode).requires_grad_(True)

    def dispatched() -> int:
        with mode, _counter() as counter, Attention(fused):
            clip = torch.zeros(1, *model.clip_shape)  # type: ignore[misc]
            label = torch.zeros(1, dtype=torch.long)
            backward(nn.functional.cross_entropy(model.train()(clip), label))
        return counter.macs()

    def formula() -> int:
        return work(model, fused=fused).executed["forward + backward"]

    return _all_counts({"torch": dispatched, "closed form": formula})


def count_without_running(make: Callable[[], nn.Module]) -> Macs:
    """Count one clip's forward pass of the model that `make` makes: nothing is computed, no weight needs memory.

    fvcore, which needs values, is no counter of these.
    """
    from tps_lab.measure.trace import trace

    def formula() -> int:
        with torch.device("meta"):
            return sum(make().closed_form_macs().values())  # type: ignore[operator]

    return _all_counts({"torch": lambda: trace(make).macs(), "closed form": formula})


def copy_without_weights(model: nn.Module) -> nn.Module:
    """A copy of a model on torch's meta device, made without memory for it."""
    memo: dict[int, Any] = {}
    for held in (model.parameters(), model.buffers()):
        for tensor in held:
            empty = torch.empty_like(tensor, device="meta", requires_grad=False)
            parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if parameter else empty
    return copy.deepcopy(model, memo)


def _all_counts(counters: dict[str, Callable[[], int]]) -> Macs:
    counts: dict[str, int | None] = {}
    problems: dict[str, str] = {}
    for name, counter in counters.items():
        try:
            counts[name] = counter()
        except Exception as error:  # a counter's failure is a result: reported beside the others
            counts[name], problems[name] = None, f"{type(error).__name__}: {error}".splitlines()[0]
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
        refuse("fvcore", {op for op in analysis.unsupported_ops() if op.removeprefix("aten::") not in NO_MACS_TRACED})
    return total


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _fused_attention(inputs: list[Any], outputs: list[Any]) -> int:
    q, k, v = (value.type().sizes() for value in inputs[:3])
    # batch·heads × queries × keys × (channels of the scores + channels of the values)
    return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _torch(model: nn.Module, clip: torch.Tensor) -> int:
    with _counter() as counter:
        model(clip)
    return counter.macs()


class _NoModules(nullcontext):
    """Instead of the counter's own tracker, which hooks gradients and stumbles over parameters given to a module."""

    parents = ("Global",)


class _counter:
    """torch's counter with our formulas, and beneath it the kernels that nobody knows."""

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        self.flops, self.seen = FlopCounterMode(display=False), Kernels()
        self.flops.flop_registry = dict(formulas())
        self.flops.mod_tracker = _NoModules()  # type: ignore[assignment]

    def __enter__(self) -> _counter:
        self.seen.__enter__()
        self.flops.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.flops.__exit__(*error)
        self.seen.__exit__(*error)

    def macs(self) -> int:
        self.seen.check()
        return self.flops.get_total_flops() // 2  # it counts multiplications and additions


def _closed_form(model: nn.Module, clip: torch.Tensor) -> int:
    return sum(model.closed_form_macs().values())  # type: ignore[operator]
