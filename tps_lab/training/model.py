"""From a configuration to a model with its first weights, and what can be said of it before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tps_lab import data
from tps_lab.backbones import _weights, create_model
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.results import runs
from tps_lab.training.config import RunConfig, make

if TYPE_CHECKING:
    from torch import nn


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
        from tps_lab.training.weights import image_weights

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
        from tps_lab.training.weights import fill

        fill(model, config.weights)
    return model


def restore(run: runs.Run, clips: data.Clips | None = None, **changed: Any) -> nn.Module:
    """The trained model of a run, in eval mode on the CPU; weights are read as tensors only.

    Args:
        clips: the opened data, if it is at hand.
        **changed: keys of the configuration to change, such as another attention variant that takes
            the same weights.

    Raises:
        InputError: the run kept no weights, or they do not fit the changed configuration.
    """
    file = run.path / "model.safetensors"
    if not file.exists():
        status = run.row.get("status") if (run.path / "row.json").exists() else "not finished"
        raise InputError(f"{run.path} holds no weights: the run is {status}")
    config = make(run.config | {"weights": ""} | changed)
    model = build(config, clips or config.data.opened())
    _weights.fill(model, _weights.read(file), f"the weights of {run.path}")
    return model.eval()


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
    recipe = config.recipe.content()
    return {
        "id": config.folder,
        "name": config.name or config.attention.label,
        **named(config),
        "seed": config.seed,
        "frames": frames,
        "size": height,
        "temporal_position": getattr(model, "temporal_embed", None) is not None,
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
