"""What a run is: a model, a data set, a recipe and a seed, checked before anything starts."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from tps_lab import data as data_sets
from tps_lab import specs
from tps_lab.attention import Variant, variants
from tps_lab.attention import parse as parse_variant
from tps_lab.backbones._options import SAID_BY_A_RUN, TemporalPosition, refuse_files, refuse_ours
from tps_lab.errors import InputError, shortened
from tps_lab.results.groups import usual_start

_TEXT_FORMS = ("attention", "data", "backbone")  # keys with options of their own inside: attention.pattern
_LARGEST_SEED = 2**32 - 1  # NumPy's
# objects inside a configuration, text in files
_Attention = Annotated[Variant, PlainValidator(lambda given: parse_variant(given)), PlainSerializer(str)]
_Data = Annotated[data_sets.Data, PlainValidator(lambda given: data_sets.parse(given)), PlainSerializer(str)]


def _switch_or_start(given: Any) -> Any:
    found = given if given in (None, "sines", "zeros") else specs.switch(given)
    if found is None and given is not None:
        raise InputError(f"temporal_position must be true, false, sines, zeros or null, got {shortened(repr(given))}")
    return found


class _Keys(BaseModel):
    """Keys that are all known, with finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, about: ValidationInfo) -> Any:
        if isinstance(value, bool) and "bool" not in str(cls.model_fields[about.field_name or ""].annotation):
            raise ValueError("a switch is no value here")
        return value

    @field_validator("*")
    @classmethod
    def _one_zero(cls, value: Any) -> Any:
        return 0.0 if isinstance(value, float) and value == 0 else value  # -0.0 would be another run, and print so


class _Group(_Keys):
    """A few settings that belong together; a group at its defaults is no part of a run's identity."""


class Rates(_Group):
    """Learning rates and weight decay that differ between the parts of a model."""

    backbone: float = Field(
        1.0, ge=0, description="factor on the peak rate for all but the classifier; 0 trains the classifier alone"
    )
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

    accumulate: int = Field(1, ge=1, le=10**6, description="parts that a step's batch is taken in, one after another")
    checkpointing: bool = Field(False, description="compute activations again in the backward pass")
    compile: bool = Field(False, description="torch.compile")


class Recipe(_Keys):
    """How to train: AdamW, linear warm-up, cosine to zero, gradient clipping."""

    # raised when the same recipe trains otherwise: loop, optimizer, order of the clips, accuracy
    version: ClassVar[int] = 1

    steps: int = Field(500, ge=1, le=10**9)
    batch: int = Field(24, ge=1, le=10**6, description="clips per step, over all processes and accumulated parts")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.05, ge=0)
    beta2: float = Field(0.99, gt=0, lt=1)
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps")
    clip_norm: float = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of autocast; weights stay float32")
    validate_every: int = Field(100, ge=1, le=10**9, description="steps between validations")
    epochs: float | None = Field(
        None, gt=0, le=10**6, description="passes over the clips, instead of steps; validates after each"
    )
    warmup_epochs: float | None = Field(None, ge=0, description="instead of warmup; goes with epochs")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are kept and tested; 0 is off")
    rates: Rates = Rates()
    regularise: Regularise = Regularise()
    compute: Compute = Compute()

    @field_validator("precision", mode="before")
    @classmethod
    def _fp32_by_its_old_name(cls, value: Any) -> Any:
        return "fp32" if value == "no" else value

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


class RunConfig(_Keys):
    """One run. Its identity is the hash of all of it but the name, with the data's version."""

    attention: _Attention = Field(
        "tps",
        description="a variant with its options: tps(pattern=A); see tps-lab list attention",
        validate_default=True,
    )
    backbone: str = Field("vit_micro", description="with its options: swin_micro(position_bias=frame0)")
    tubelet: int = Field(1, ge=1, le=10**4, description="frames per token along time")
    temporal_position: Annotated[TemporalPosition, BeforeValidator(_switch_or_start)] = Field(
        None, description="an embedding of time; sines or zeros: how it starts; None asks the variant"
    )
    data: _Data = Field(
        "opposites",
        description="a data set with its options: order(gap=4); see tps-lab list data",
        validate_default=True,
    )
    recipe: Recipe = Recipe()
    seed: int = Field(0, ge=0, le=_LARGEST_SEED, description="of weights and of the order of clips")
    name: str | None = Field(None, description="of the run's folder; None takes the variant's label")
    trackers: tuple[str, ...] = Field((), description="Accelerate's: tensorboard, wandb, mlflow, trackio, …")
    weights: str = Field("", description="to begin with: timm, image:FILE, zoo:NAME, official:FILE or run:FOLDER")
    workers: int | None = Field(None, ge=0, le=512, description="processes that read clips; None asks data and machine")

    def model_post_init(self, _: Any) -> None:
        # normal forms, so that one backbone, and one start, has one identity however it was written
        object.__setattr__(self, "backbone", backbone_text(*self.model))
        if self.temporal_position == usual_start(self.weights):
            object.__setattr__(self, "temporal_position", True)

    @property
    def model(self) -> tuple[str, dict[str, Any]]:
        """The backbone's name and its options, as `create_model` takes them."""
        name, options = backbone_parts(self.backbone)
        refuse_ours(options, self.attention, SAID_BY_A_RUN)
        refuse_files(options)
        return name, options

    @property
    def identity(self) -> str:
        """Eight hexadecimal digits."""
        content = self.content() | {"data_version": self.data.version}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def content(self) -> dict[str, Any]:
        """What makes this run another than others, as plain values.

        Neither what it is called, who watches it nor how many processes read its clips changes its figures.
        """
        left_out = {"name", "trackers", "workers", *(() if self.weights else ("weights",))}
        recipe = self.recipe.content()
        if recipe["precision"] == "fp32":
            recipe["precision"] = "no"  # as the first runs were written; they keep their identities
        return self.model_dump(mode="json", exclude=left_out) | {"recipe": recipe}

    def resolved(self, clips: int) -> RunConfig:
        """With steps in place of epochs; see `Recipe.resolved`."""
        return self.model_copy(update={"recipe": self.recipe.resolved(clips)})

    @property
    def folder(self) -> str:
        """The run folder's name: readable, and different for every configuration."""
        readable = self.name or f"{self.attention.label}-seed{self.seed}"
        safe = "".join(c if c.isalnum() or c in "+-." else "_" for c in readable).strip("_.")
        return f"{safe[:60]}-{self.identity}"


def backbone_text(name: str, options: Mapping[str, Any]) -> str:
    """A backbone's text form, its options in alphabetical order: one model, one text."""
    return specs.written(name, {key: _option_text(value) for key, value in sorted(options.items())})


def backbone_parts(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of a backbone's text form, as values."""
    name, texts = specs.split("backbone", text)
    return name, {key: _literal(value) for key, value in texts.items()}


def backbone_with(text: str, **options: Any) -> str:
    """A backbone's text form with further options, as values or as text."""
    name, said = backbone_parts(text)
    return backbone_text(name, said | {key: _literal(value) for key, value in options.items()})


def _option_text(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    # text that reads as a number, a switch or a list needs quotes to stay text
    return specs.text_in_quotes(value) if _literal(value) == value else json.dumps(value)


def _literal(text: Any) -> Any:
    """What an option of a timm model means; nothing declares its type, so it is read as Python reads it."""
    if not isinstance(text, str) or isinstance(text, specs.Quoted):
        return str(text) if isinstance(text, str) else text
    for read in (specs.switch, specs.number):
        if (value := read(text)) is not None:
            return value
    if text.lower() in ("none", "null", "~"):
        return None
    try:
        return ast.literal_eval(text) if text[:1] in "([" and len(text) <= 1000 else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def keys() -> dict[str, str]:
    """Every key of a run → what it is, with its default: `--set` and YAML files take them."""
    found = {}
    for name, field in _fields(RunConfig):
        default = "none" if field.default is None else "" if field.default in ("", ()) else f"{field.default}"
        parts = [field.description or "", f"[{default.lower() if isinstance(field.default, bool) else default}]"]
        found[name] = " ".join(part for part in parts if part != "[]" and part)
    return found


def means_text(path: tuple[str | int, ...]) -> bool:
    """Whether what stands at a path of a YAML file is text by the key that it belongs to.

    The path may go on behind the key: to a place in a list, or to what a case is called.
    """
    names = [part for i, part in enumerate(path) if isinstance(part, str) and not (i == 2 and path[1] == "cases")]
    pairs = (f"{head}.{name}" for head, name in pairwise(names))
    return any(name in _PROSE or name in _text_keys() for name in (*names, *pairs))


_PROSE = ("title", "question", "about", "like", "source", "baseline", "compare", "across", "measures")


def typed(key: str, text: str) -> Any:
    """What a text means as the value of a key, by the key's declared type.

    Text that does not fit stays as it is, for `make` to refuse with the reason.

    >>> typed("recipe.precision", "no"), typed("recipe.lr", "1e-3"), typed("data.frames", "8")
    ('no', 0.001, 8)
    """
    if key in _text_keys():
        return str(text)
    head, _, option = key.partition(".")
    if head == "backbone" and option:
        return _literal(text)
    if head in ("attention", "data") and option:
        fields = [cls.options()[option] for cls in _specs(head) if option in cls.options()]
        try:
            return specs.value_of(fields[0], text) if fields else text
        except InputError:
            return text
    annotation = dict(_fields(RunConfig)).get(key)
    if annotation is None:
        return text
    if text.lower() in ("none", "null", "~") and type(None) in getattr(annotation.annotation, "__args__", ()):
        return None
    if key == "trackers":
        return tuple(part.strip() for part in text.strip("[]() ").split(",") if part.strip())
    if isinstance(whole := specs.whole(text), int):  # 1e3, 0x10
        return whole
    try:
        return TypeAdapter(annotation.annotation).validate_python(text)
    except ValidationError:
        return text


@cache
def _text_keys() -> frozenset[str]:
    """Keys whose values are meant as text, so that "no", "007" and "2024-01-01" stay what they are.

    Of one option's name in several variants or data sets, text in one of them decides.
    """
    found = {
        key for key, field in _fields(RunConfig) if "str" in str(field.annotation) or "Lit" in str(field.annotation)
    }
    found |= set(_TEXT_FORMS)
    found -= {"trackers", "temporal_position"}  # the words of the one, and true and false, mean what they say
    for head in ("attention", "data"):
        for cls in _specs(head):
            found |= {f"{head}.{name}" for name, field in cls.options().items() if specs.kind_of(field) == "text"}
    return frozenset(found)


def _specs(head: str) -> list[type[specs.Spec]]:
    return [*(variants() if head == "attention" else data_sets.data_sets()).values()]


def _fields(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of a model's fields; of a group those inside it."""
    for name, field in model.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from _fields(group, f"{before}{name}.")
        else:
            yield before + name, field


def make(values: Mapping[str, Any], where: str = "the configuration") -> RunConfig:
    """A `RunConfig` from nested or dotted keys ("recipe.steps", "data.path"), with errors in one line.

    Raises:
        InputError: an unknown key, with the nearest valid one, or a value that does not fit.
    """
    nested: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {head: {} for head in _TEXT_FORMS}
    for key, value in values.items():
        head, *inside = key.split(".")
        if head in _TEXT_FORMS and len(inside) == 1:
            options[head][inside[0]] = value
        elif not inside or head != "recipe":
            nested[key] = merged(nested.get(key), value)
        else:
            for name in reversed(inside):
                value = {name: value}
            nested[head] = merged(nested.get(head), value)
    for head, given in options.items():
        if given:
            nested[head] = _with_options(head, nested.get(head, RunConfig.model_fields[head].default), given)
    try:
        return RunConfig(**nested)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error)}") from None
    except UnicodeEncodeError as error:  # pydantic passes on no message that quotes half a character
        raise InputError(f"{where}: {error.object.encode('utf-8', 'backslashreplace').decode()}") from None


def _with_options(head: str, given: Any, options: Mapping[str, Any]) -> Any:
    """A variant or a data set with further options, or a backbone's text."""
    if not isinstance(given, (str, specs.Spec)):
        default = RunConfig.model_fields[head].default
        raise InputError(f"{head} must be text, such as '{default}', got {shortened(repr(given))}")
    if head == "backbone":
        return backbone_with(str(given), **options)
    # lists of YAML are tuples here; a tile stays a list of rows
    read: Any = {name: tuple(v) if isinstance(v, list) and not any(isinstance(i, list) for i in v) else v
            for name, v in options.items()}  # fmt: skip
    parse: Any = parse_variant if head == "attention" else data_sets.parse
    return parse(given, **read)


def merged(earlier: Any, later: Any) -> Any:
    """Two dictionaries in one, the later keys over the earlier ones, nested ones too; of anything else the later."""
    if not (isinstance(earlier, dict) and isinstance(later, dict)):
        return later
    return earlier | {key: merged(earlier.get(key), value) for key, value in later.items()}


def over(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """A run's keys, the later over the earlier, however each is written: recipe.lr is recipe: {lr: …} too, and an
    option that a later text form says inside it counts for more than that option's own key before.

    >>> over({"data": "opposites", "data.frames": 8, "data.size": 16}, {"data": "opposites(frames=12)"})
    {'data': 'opposites(frames=12)', 'data.size': 16}
    """
    return unsaid(_dotted(earlier), later) | _dotted(later)


def unsaid(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier values without options ("data.frames") that a text form among the later says inside it."""
    said = set()
    for head in _TEXT_FORMS:
        if isinstance(later.get(head), (str, specs.Spec)):
            with suppress(InputError):  # `make` says what is wrong with it
                said |= {f"{head}.{option}" for option in specs.split(head, str(later[head]))[1]}
    return {key: value for key, value in earlier.items() if key not in said}


def _dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    """With the recipe's groups as dotted keys: of one setting there is one key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inside = isinstance(value, dict) and key.partition(".")[0] == "recipe"
        found |= _dotted({f"{key}.{name}": inner for name, inner in value.items()}) if inside else {key: value}
    return found


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = [name for name, _ in _fields(RunConfig)]
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4) or difflib.get_close_matches(
            "recipe." + key, known, n=1, cutoff=0.4
        )
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown key '{shortened(key)}'; {hint}expected one of {', '.join(known)}"
    if isinstance(first.get("ctx", {}).get("error"), InputError):
        return str(first["ctx"]["error"])
    return f"{key} = {shortened(repr(first['input']))}: {first['msg']}"
