"""Small trained models that ship with the package: for notebooks, the studio and tests, without training first.

    >>> from tps_lab import zoo
    >>> model = zoo.load("opposites/tps+tcs")            # clip (B, 3, 16, 24, 24) → logits (B, 12)
    >>> zoo.run("opposites/spatial").row["ceiling_pct"]
    50.0

`still/spatial` is an image model: what a video model of the same backbone can begin with
(`weights=zoo:still/spatial`).

Each is a run's folder (`tps_lab.runs`) whose weights are rounded to half precision; its README.md is
the model card, and the figures there are those of the rounded weights. `python -m tps_lab.zoo NAME`
makes one again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tps_lab.errors import InputError, shortened
from tps_lab.results.shipped import MODELS, folder

if TYPE_CHECKING:
    from torch import nn

    from tps_lab.results import runs


def names() -> list[str]:
    """The models that there are."""
    return list(MODELS)


def run(name: str) -> runs.Run:
    """The run that a model is from: its row, configuration, predictions and environment.

    Raises:
        InputError: no such model.
    """
    from tps_lab.results import runs

    if not isinstance(name, str):
        raise InputError(
            f"a model of the zoo is given by its name, such as '{names()[0]}', got {shortened(repr(name))}"
        )
    return runs.Run(folder(name))


def load(name: str) -> nn.Module:
    """A trained model, in eval mode on the CPU, in float32.

    Raises:
        InputError: no such model.
    """
    from tps_lab.training.train import restore

    return restore(run(name))
