"""An image model with weights from a file, with no network: by timm's names or those that timm converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from tps_lab.backbones.official import _read
from tps_lab.errors import InputError

_CLASSIFIERS = ("head.fc.weight", "head.weight", "classifier.weight", "fc.weight")


def from_file(timm_name: str, path: Path, arguments: dict[str, Any]) -> nn.Module:
    """The timm model with the file's weights, its classifier included; all of them must fit.

    Args:
        path: .safetensors, or torch's format, of which only tensors are read and no code is run. By timm's
            names, or as a run with spatial attention kept them (`model.safetensors`).
        arguments: of the timm model; another input size resizes position embeddings as timm does.

    Raises:
        InputError: the file cannot be read, or is another model's.
    """
    weights = {_timm_name(name): value for name, value in _read(path).items()}
    classifier = next((weights[name] for name in _CLASSIFIERS if name in weights), None)
    classes = 0 if classifier is None else len(classifier)
    overlay = arguments.pop("pretrained_cfg_overlay", {}) | {
        "state_dict": weights, "num_classes": classes, "source": "", "custom_load": False,
    }  # fmt: skip
    try:
        return timm.create_model(
            timm_name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay, **arguments
        )
    except (RuntimeError, KeyError, IndexError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"{path} does not hold the weights of '{timm_name}': {' '.join(lines[1:3] or lines)[:400]}"
        ) from None


def _timm_name(name: str) -> str:
    """The name in timm's model of a weight of a video model around it, with spatial attention; others as they are."""
    return name.removeprefix("image_model.").replace(".attn.attention.", ".attn.")
