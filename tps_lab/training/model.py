"""From a configuration to a model with its first weights, and what can be said of it before training.

Weights to begin with are an image model's or a video model's. Files are read as tensors only.

    timm             timm's own for the backbone, from its cache or the network
    image:FILE       an image model's weights, by timm's names or the original ones that timm converts,
                     or of a run here with spatial attention and clips of one frame
    zoo:NAME         likewise, those of a model that ships with the package: still/spatial
    official:FILE    the TPS or Video Swin authors' (arXiv 2207.13259, 2106.13230), e.g. of Kinetics-400
    run:FOLDER       those of a run here

A classifier of another number of classes is left out; anything else that does not fit is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import data
from tps_lab.backbones import _weights, create_model, load_official
from tps_lab.errors import InputError, unknown
from tps_lab.lazy import torch
from tps_lab.results import runs, shipped
from tps_lab.training.config import Recipe, RunConfig, make

if TYPE_CHECKING:
    from torch import nn

KINDS = ("timm", "image:FILE", "zoo:NAME", "official:FILE", "run:FOLDER")

_NAMED = tuple(kind.partition(":")[0] for kind in KINDS if ":" in kind)


def build(config: RunConfig, clips: data.Clips) -> nn.Module:
    """The model of a run, with the weights that its seed gives it, or those that it asks to begin with.

    Raises:
        InputError: no such model, or weights that are not there or do not fit.
    """
    torch.manual_seed(config.seed)
    channels, frames, height, _ = clips.clip_shape
    name, options = config.model
    regularise = config.recipe.regularise
    for option, rate in (("drop_rate", regularise.head_dropout), ("drop_path_rate", regularise.drop_path)):
        if rate is not None:
            options[option] = rate
    if config.weights:
        options |= image_weights(config.weights)
    model = create_model(
        name,
        config.attention,
        frames=frames,
        tubelet=config.tubelet,
        num_classes=len(clips.classes),
        size=height,
        temporal_position=config.temporal_position,
        in_chans=channels,
        **options,
    )
    if config.weights:
        fill(model, config.weights)
    return model


def to_train(config: RunConfig, clips: data.Clips) -> nn.Module:
    """`build` as a training step finds it: what the recipe does not train wants no gradients."""
    model = build(config, clips)
    freeze(model, config.recipe)
    return model


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


def restore(run: runs.Run, clips: data.Clips | None = None, **changed: Any) -> nn.Module:
    """The trained model of a run, in eval mode on the CPU; weights are read as tensors only.

    Args:
        clips: the opened data, if it is at hand.
        **changed: keys of the configuration to change, such as another attention variant that takes
            the same weights.

    Raises:
        InputError: the run kept no weights, they do not fit the changed configuration, or its configuration is not the
            one that it was trained with.
    """
    file = run.path / "model.safetensors"
    if not file.exists():
        status = run.row.get("status") if (run.path / "row.json").exists() else "not finished"
        raise InputError(f"{run.path} holds no weights: the run is {status}")
    config = configured(run)
    if changed:
        config = make(run.config | {"weights": ""} | changed)
    model = build(config, clips or data.ready(config.data))
    _weights.fill(model, _weights.read(file), f"the weights of {run.path}")
    return model.eval()


def configured(run: runs.Run) -> RunConfig:
    """What a run was trained with; weights to begin with are left out, as it has its own.

    Raises:
        InputError: config.yaml cannot be read, or names another model than row.json does. The weights may fit both, as
            those of one patch shift fit every other, and the answers would be another model's.
    """
    asked = run.config | {"weights": ""}
    config = make(asked, f"{run.path}: config.yaml")
    row = run.row if (run.path / "row.json").exists() else {}
    trained = {key: row[key] for key in ("attention", "backbone", "tubelet") if row.get(key)}
    was = make(asked | trained, f"{run.path}: row.json")
    for key in trained:
        says, said = getattr(config, key), getattr(was, key)
        if says != said:
            raise InputError(
                f"{run.path}: config.yaml gives {key} = {says}, and row.json says that {said} was trained: one of them "
                "was changed since"
            )
    return config


def named(config: RunConfig) -> dict[str, Any]:
    """What a row says of a run by its configuration alone."""
    variant = config.attention
    return {
        "attention": str(variant),
        "label": variant.label,
        "variant": variant.name,
        "pattern": str(getattr(variant, "pattern", "")),
        "backbone": config.backbone,
        "data": str(config.data),
        "tubelet": config.tubelet,
    }


def describe(config: RunConfig, clips: data.Clips, model: nn.Module) -> dict[str, Any]:
    """The part of the row that is known before training."""
    _, frames, height, _ = clips.clip_shape
    image_model: Any = model.image_model
    grid: Any = getattr(model, "grid", None)  # one for the whole model, as a ViT has it
    patches = (grid.height, grid.width) if grid else getattr(image_model.patch_embed, "grid_size", None)
    stages: Any = getattr(image_model, "layers", None) or getattr(image_model, "stages", ())
    depth = len(getattr(image_model, "blocks", ())) or sum(len(stage.blocks) for stage in stages)
    recipe, start = config.recipe.content(), config.temporal_position
    embedded = getattr(model, "temporal_embed", None) is not None
    return {
        "id": config.folder,
        "name": config.name or config.attention.label,
        **named(config),
        "seed": config.seed,
        "frames": frames,
        "size": height,
        "temporal_position": start if isinstance(start, str) else embedded,
        "grid": [frames // config.tubelet, *patches] if patches else None,
        "channels": getattr(image_model, "embed_dim", image_model.num_features),
        "depth": depth,
        **recipe,
        **({"weights": config.weights} if config.weights else {}),
        "chance_pct": 100 / len(clips.classes),
        "ceiling_pct": None if clips.ceiling is None else 100 * clips.ceiling,
        "ceiling_reason": clips.ceiling_reason,
        "classes": list(clips.classes),
        "twins": clips.clips_per_scene,
        "data_notes": list(clips.notes),
    }


# ---------------------------------------------------------------------- weights to begin with


def image_weights(text: str) -> dict[str, Any]:
    """Arguments of `create_model` for weights that an image model begins with; nothing for others."""
    kind, path = _split(text)
    if kind == "timm":
        return {"pretrained": True}
    return {"pretrained": path} if kind in ("image", "zoo") else {}


def shipped_file(text: str) -> Path | None:
    """The file that weights are read from, if it is one that ships with the package."""
    return _split(text)[1] if text.startswith("zoo:") else None


def fill(model: nn.Module, text: str) -> None:
    """Load a video model's weights into a model, in place; does nothing for an image model's.

    Raises:
        InputError: the file or folder is not there, is damaged, or is another model's.
    """
    kind, path = _split(text)
    if kind == "official":
        _, frames, size, _ = model.clip_shape  # type: ignore[misc]
        loaded = load_official(path, frames=frames, size=size).state_dict()
    elif kind == "run":
        loaded = _weights.read(path / "model.safetensors")
    else:
        return
    classifier = {name for name in model.state_dict() if name.startswith(f"{_name_of_classifier(model)}.")}
    own = model.state_dict()
    kept = {n: value for n, value in loaded.items() if n not in classifier or value.shape == own[n].shape}
    _weights.fill(model, kept, f"weights = {text}", may_lack=classifier)


def _name_of_classifier(model: Any) -> str | None:
    found = model.get_classifier()
    return next((name for name, module in model.named_modules() if module is found), None)


def _split(text: str) -> tuple[str, Path]:
    kind, colon, rest = text.partition(":")
    if text != "timm" and not (colon and rest and kind in _NAMED):
        raise unknown("weights", text, KINDS)
    if kind == "zoo":
        return kind, shipped.folder(rest) / "model.safetensors"
    path = Path(rest).expanduser()
    if text != "timm" and not path.exists():
        raise InputError(f"weights = {text}: there is no {path}")
    return kind, path
