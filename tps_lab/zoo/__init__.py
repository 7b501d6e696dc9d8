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

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import nn

    from tps_lab.results import runs

_HERE = Path(__file__).parent

# name → the settings that differ from the defaults. 1,000 steps: with the quickstart's 500 the orders still change.
_LONG = {"recipe.steps": 1000}
MODELS: dict[str, dict[str, Any]] = {
    "opposites/spatial": {"attention": "spatial"} | _LONG,
    "opposites/tps": {"attention": "tps(pattern=C)"} | _LONG,
    "opposites/tps+tcs": {"attention": "tps+tcs"} | _LONG,
    "opposites/divided": {"attention": "divided"} | _LONG,
    "opposites/joint": {"attention": "joint"} | _LONG,
    # an image model, to begin video models with: weights=zoo:still/spatial. As many pictures a step as 24 clips have.
    "still/spatial": {"attention": "spatial", "data": "still", "recipe.batch": 384, "recipe.validate_every": 250}
    | _LONG,
}


def names() -> list[str]:
    """The models that there are."""
    return list(MODELS)


def run(name: str) -> runs.Run:
    """The run that a model is from: its row, configuration, predictions and environment.

    Raises:
        InputError: no such model.
    """
    from tps_lab.results import runs

    return runs.Run(_folder(name))


def load(name: str) -> nn.Module:
    """A trained model, in eval mode on the CPU, in float32.

    Raises:
        InputError: no such model.
    """
    from tps_lab.training.train import restore

    return restore(run(name))


def _folder(name: str) -> Path:
    if name not in MODELS:
        raise unknown("model of the zoo", name, MODELS)
    folder = _HERE / name
    if not (folder / "model.safetensors").is_file():
        raise InputError(f"{name} is missing from this installation; make it with: python -m tps_lab.zoo {name}")
    return folder
