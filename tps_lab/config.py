"""What a run is: a model, a data set, a recipe and a seed, checked before anything starts."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tps_lab import data as data_sets
from tps_lab import specs
from tps_lab.attention import Variant
from tps_lab.attention import parse as parse_variant
from tps_lab.errors import InputError


class Recipe(BaseModel):
    """How to train: AdamW, linear warm-up, cosine to zero, gradient clipping."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(500, ge=1)
    batch: int = Field(24, ge=1, description="clips per step, over all processes")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.05, ge=0)
    beta2: float = Field(0.99, gt=0, lt=1)
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps")
    clip_norm: float = Field(1.0, gt=0)
    precision: Literal["no", "bf16", "fp16"] = "no"
    validate_every: int = Field(100, ge=1, description="steps between validations")


class RunConfig(BaseModel):
    """One run. Its identity is the hash of all of it but the name, with the data's version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attention: str = "tps"
    backbone: str = Field("vit_micro", description="with its options: swin_micro(position_bias=frame0)")
    tubelet: int = Field(1, ge=1)
    temporal_position: bool | None = Field(None, description="None asks the variant")
    data: str = "opposites"
    recipe: Recipe = Recipe()
    seed: int = Field(0, ge=0)
    name: str | None = Field(None, description="of the run's folder; None takes the variant's label")
    trackers: tuple[str, ...] = Field((), description="Accelerate's: tensorboard, wandb, mlflow, trackio, …")

    def model_post_init(self, _: Any) -> None:
        # The normal form, so that one variant has one identity however it was written.
        object.__setattr__(self, "attention", str(parse_variant(self.attention)))
        object.__setattr__(self, "data", str(data_sets.parse(self.data)))
        object.__setattr__(self, "backbone", backbone_text(*self.model))

    @property
    def variant(self) -> Variant:
        return parse_variant(self.attention)

    @property
    def model(self) -> tuple[str, dict[str, Any]]:
        """The backbone's name and its options, as `create_model` takes them."""
        name, texts = specs.split("backbone", self.backbone)
        return name, {key: _literal(text) for key, text in texts.items()}

    @property
    def identity(self) -> str:
        """Eight hexadecimal digits."""
        # neither what a run is called nor who watches it changes its figures
        content = self.model_dump(exclude={"name", "trackers"}) | {"data_version": data_sets.parse(self.data).version}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> str:
        """The run folder's name: readable, and different for every configuration."""
        readable = self.name or f"{self.variant.label}-seed{self.seed}"
        safe = "".join(c if c.isalnum() or c in "+-." else "_" for c in readable).strip("_.")
        return f"{safe[:60]}-{self.identity}"


def backbone_text(name: str, options: Mapping[str, Any]) -> str:
    """A backbone's text form, its options in alphabetical order: one model, one text."""
    inside = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{name}({inside})" if inside else name


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.capitalize() if text.lower() in ("true", "false") else text)
    except (ValueError, SyntaxError):
        return text


def make(values: dict[str, Any], where: str = "the configuration") -> RunConfig:
    """A `RunConfig` from nested or dotted keys ("recipe.steps"), with errors in one line.

    Raises:
        InputError: an unknown key, with the nearest valid one, or a value that does not fit.
    """
    nested: dict[str, Any] = {}
    for key, value in values.items():
        head, dot, tail = key.partition(".")
        if dot and head == "recipe":
            nested.setdefault("recipe", {})[tail] = value
        else:
            nested[key] = value
    try:
        return RunConfig(**nested)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = [*RunConfig.model_fields, *(f"recipe.{field}" for field in Recipe.model_fields)]
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4) or difflib.get_close_matches(
            "recipe." + key, known, n=1, cutoff=0.4
        )
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown key '{key}'; {hint}expected one of {', '.join(known)}"
    if isinstance(first.get("ctx", {}).get("error"), InputError):
        return str(first["ctx"]["error"])
    return f"{key} = {first['input']!r}: {first['msg']}"
