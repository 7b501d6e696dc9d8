"""The runs that ship with the package: how each was made, and where it lies. `tps_lab.zoo` gives their models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tps_lab.errors import InputError, unknown

_ZOO = Path(__file__).parents[1] / "zoo"

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


def folder(name: str) -> Path:
    """The run's folder of a shipped model.

    Raises:
        InputError: no such model, or it was left out of this installation.
    """
    if name not in MODELS:
        raise unknown("model of the zoo", name, MODELS)
    found = _ZOO / name
    if not (found / "model.safetensors").is_file():
        raise InputError(f"{name} is missing from this installation; make it with: python -m tps_lab.zoo {name}")
    return found
