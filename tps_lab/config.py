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


class _Group(BaseModel):
    """A few settings that belong together; a group at its defaults is no part of a run's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rates(_Group):
    """Learning rates and weight decay that differ between the parts of a model."""

    backbone: float = Field(1.0, gt=0, description="factor on the peak rate for all but the classifier")
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor from one layer down to the next")
    decay_bias_tables: bool = Field(True, description="weight decay on relative position biases too")


class Regularise(_Group):
    """What keeps a large model from learning its clips by heart; None leaves the backbone's own."""

    head_dropout: float | None = Field(None, ge=0, lt=1)
    drop_path: float | None = Field(None, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0, description="alpha of its Beta distribution; 0 is off")
    cutmix: float = Field(0.0, ge=0, description="likewise; with both, one of them by chance for each batch")


class Compute(_Group):
    """How the same step is computed in less memory or time."""

    accumulate: int = Field(1, ge=1, description="parts that a step's batch is taken in, one after another")
    checkpointing: bool = Field(False, description="compute activations again in the backward pass")
    compile: bool = Field(False, description="torch.compile")


class Recipe(BaseModel):
    """How to train: AdamW, linear warm-up, cosine to zero, gradient clipping."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(500, ge=1)
    batch: int = Field(24, ge=1, description="clips per step, over all processes and accumulated parts")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.05, ge=0)
    beta2: float = Field(0.99, gt=0, lt=1)
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps")
    clip_norm: float = Field(1.0, gt=0)
    precision: Literal["no", "bf16", "fp16"] = "no"
    validate_every: int = Field(100, ge=1, description="steps between validations")
    epochs: float | None = Field(
        None, gt=0, description="passes over the clips, instead of steps; validates after each"
    )
    warmup_epochs: float | None = Field(None, ge=0, description="instead of warmup; goes with epochs")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are kept and tested; 0 is off")
    rates: Rates = Rates()
    regularise: Regularise = Regularise()
    compute: Compute = Compute()

    def resolved(self, clips: int) -> Recipe:
        """With steps in place of epochs, for so many training clips.

        Raises:
            InputError: epochs that are less than one step, or warm-up that is longer than all of it.
        """
        if self.epochs is None:
            if self.warmup_epochs is not None:
                raise InputError("recipe.warmup_epochs goes with recipe.epochs; with steps, recipe.warmup is a share")
            return self
        steps = round(self.epochs * clips / self.batch)
        if not steps:
            raise InputError(
                f"recipe.epochs = {self.epochs} of {clips} clips are less than one step of {self.batch}; "
                "give more epochs or a smaller recipe.batch"
            )
        warmup = self.warmup if self.warmup_epochs is None else self.warmup_epochs / self.epochs
        if warmup > 1:
            raise InputError(f"recipe.warmup_epochs = {self.warmup_epochs} is more than recipe.epochs = {self.epochs}")
        every = max(1, round(clips / self.batch))
        return self.model_copy(update={"steps": steps, "warmup": warmup, "validate_every": every})

    def content(self) -> dict[str, Any]:
        """All that is not at its default, with the first fields always: what a run's identity is made of.

        A field that is added later and is left alone changes no run's identity; neither do steps and
        validate_every where epochs decide.
        """
        always = [name for name, field in Recipe.model_fields.items() if name not in _LATER]
        later = [name for name in _LATER if getattr(self, name) != Recipe.model_fields[name].default]
        found = self.model_dump(mode="json", include={*always, *later})
        for name in later:
            value = getattr(self, name)
            if isinstance(value, _Group):
                found[name] = value.model_dump(mode="json", exclude_defaults=True)
        return found


# fields younger than the first published runs
_LATER = ("epochs", "warmup_epochs", "ema", "rates", "regularise", "compute")


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
    weights: str = Field("", description="to begin with: timm, image:FILE, official:FILE or run:FOLDER")
    workers: int | None = Field(None, ge=0, description="processes that read clips; None asks data and machine")

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
        content = self.content() | {"data_version": data_sets.parse(self.data).version}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def content(self) -> dict[str, Any]:
        """What makes this run another than others, as plain values.

        Neither what it is called, who watches it nor how many processes read its clips changes its figures.
        """
        left_out = {"name", "trackers", "workers", *(() if self.weights else ("weights",))}
        return self.model_dump(mode="json", exclude=left_out) | {"recipe": self.recipe.content()}

    def resolved(self, clips: int) -> RunConfig:
        """With steps in place of epochs; see `Recipe.resolved`."""
        return self.model_copy(update={"recipe": self.recipe.resolved(clips)})

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


def make(values: Mapping[str, Any], where: str = "the configuration") -> RunConfig:
    """A `RunConfig` from nested or dotted keys ("recipe.steps", "data.path"), with errors in one line.

    Raises:
        InputError: an unknown key, with the nearest valid one, or a value that does not fit.
    """
    nested: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key, value in values.items():
        head, *inside = key.split(".")
        if head == "data" and len(inside) == 1:
            options[inside[0]] = value
        elif not inside or head != "recipe":
            nested[key] = _merged(nested.get(key), value)
        else:
            for name in reversed(inside):
                value = {name: value}
            nested[head] = _merged(nested.get(head), value)
    if options:
        nested["data"] = str(data_sets.parse(nested.get("data", RunConfig.model_fields["data"].default), **options))
    try:
        return RunConfig(**nested)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error)}") from None


def _merged(earlier: Any, later: Any) -> Any:
    """Nested keys of two dictionaries in one; of anything else the later."""
    if not (isinstance(earlier, dict) and isinstance(later, dict)):
        return later
    return earlier | {key: _merged(earlier.get(key), value) for key, value in later.items()}


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = [*RunConfig.model_fields, *(f"recipe.{field}" for field in _names(Recipe))]
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4) or difflib.get_close_matches(
            "recipe." + key, known, n=1, cutoff=0.4
        )
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown key '{key}'; {hint}expected one of {', '.join(known)}"
    if isinstance(first.get("ctx", {}).get("error"), InputError):
        return str(first["ctx"]["error"])
    return f"{key} = {first['input']!r}: {first['msg']}"


def _names(model: type[BaseModel]) -> list[str]:
    """Dotted names of a model's fields; of a group those inside it."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        group = field.annotation
        inside = _names(group) if isinstance(group, type) and issubclass(group, _Group) else ()
        found += [f"{name}.{inner}" for inner in inside] or [name]
    return found
