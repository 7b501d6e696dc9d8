"""Multiply-adds of layers by formula, for the closed forms of the families."""

from __future__ import annotations

import math

from torch import nn


def linear_macs(module: nn.Module) -> int:
    """Multiply-adds per token of all linear layers inside a module."""
    return sum(part.in_features * part.out_features for part in module.modules() if isinstance(part, nn.Linear))


def conv_macs(conv: nn.Conv2d, height: int, width: int) -> int:
    """Multiply-adds of a convolution whose *output* map is height × width."""
    per_place = conv.out_channels * (conv.in_channels // conv.groups) * math.prod(conv.kernel_size)
    return height * width * per_place


def convs_macs(module: nn.Module, height: int, width: int) -> int:
    """Of all convolutions inside a module, all with an output map of height × width."""
    return sum(conv_macs(part, height, width) for part in module.modules() if isinstance(part, nn.Conv2d))


def strided(size: int, stride: int) -> int:
    """Length of a map after a convolution with that stride and "same" padding."""
    return -(-size // stride)
