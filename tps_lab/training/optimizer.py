"""AdamW's groups of parameters, and the learning rate at every step."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError
from tps_lab.training.config import Recipe

if TYPE_CHECKING:
    from torch import nn


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for AdamW: by factor on the learning rate, the largest first, with and without weight decay.

    Norms, biases and position embeddings have no weight decay. The factor of the classifier is 1.
    """
    factors = _factors(model, recipe)
    groups = []
    for factor in sorted(set(factors.values()), reverse=True) or [1.0]:
        decayed: list[Any] = []
        plain: list[Any] = []
        for name, p in model.named_parameters():
            if factors[name] == factor and p.requires_grad:
                (decayed if _decays(name, p, recipe) else plain).append(p)
        lr = recipe.lr * factor
        groups += [{"params": decayed, "weight_decay": recipe.weight_decay, "lr": lr}]
        groups += [{"params": plain, "weight_decay": 0.0, "lr": lr}]
    return groups


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Where a recipe trains the classifier alone: nothing else gets a gradient, so no backward pass goes beyond it.

    Raises:
        InputError: the model has no classifier to train.
    """
    if recipe.rates.backbone:
        return
    head = [*model.get_classifier().parameters()]  # type: ignore[operator]
    if not head:
        raise InputError("recipe.rates.backbone = 0 trains the classifier alone, and this model has none")
    model.requires_grad_(False)
    for parameter in head:
        parameter.requires_grad_(True)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Factor on the peak learning rate at a step: linear warm-up, then cosine to zero."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def _decays(name: str, parameter: Any, recipe: Recipe) -> bool:
    """Whether a parameter is pulled towards zero: a weight matrix is."""
    if parameter.ndim <= 1 or name.endswith(("_embed", "_token")):
        return False
    return recipe.rates.decay_bias_tables or not name.endswith("relative_position_bias_table")


def _factors(model: Any, recipe: Recipe) -> dict[str, float]:
    """Parameter → factor on the peak learning rate."""
    rates = recipe.rates
    names = [name for name, _ in model.named_parameters()]
    factors = dict.fromkeys(names, 1.0)
    if rates.backbone != 1 or rates.layer_decay != 1:
        head = {id(p) for p in model.get_classifier().parameters()}
        is_head = {name: id(p) in head for name, p in model.named_parameters()}
        layers = _layers(model) if rates.layer_decay != 1 else {}
        last = max(layers.values(), default=0) + 1
        for name in names:
            if not is_head[name]:
                factors[name] = rates.backbone * rates.layer_decay ** (last - layers.get(name, last))
    return factors


def _layers(model: Any) -> dict[str, int]:
    """Parameter → how deep it lies, by timm's own grouping of the image model; the classifier's is not asked."""
    from timm.models._manipulate import group_with_matcher

    named = ((name, p) for name, p in model.named_parameters() if not re.search(r"\bhead\b", name))
    return group_with_matcher(named, model.group_matcher(coarse=False), reverse=True)
