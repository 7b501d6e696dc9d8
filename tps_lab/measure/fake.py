"""Models without weights: every tensor has a shape, a type and strides, and no memory behind it.

A model is built on torch's "meta" device, then each of its tensors is replaced by a fake CPU tensor,
because on meta itself fused attention falls apart into its unfused parts. `FakeTensorMode` is
torch's, and not a public name: this file is the only one that touches it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def fake_mode() -> AbstractContextManager[Any]:
    """Inside it, tensors that are made have no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's collector, which looks for cycles that steps on fake tensors do not make: a quarter faster."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def weightless(make: Callable[[], nn.Module], mode: AbstractContextManager[Any], device: str = "cpu") -> nn.Module:
    """The model that `make` makes, its parameters and buffers fake tensors of `mode`, on a device that need not exist.

    >>> model = weightless(lambda: create_model("vit_base_patch16_224"), fake_mode())  # doctest: +SKIP
    """
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
