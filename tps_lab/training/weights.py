"""Weights to begin with: an image model's or a video model's. Files are read as tensors only.

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

from tps_lab.backbones import _weights
from tps_lab.errors import InputError, unknown
from tps_lab.results import shipped

if TYPE_CHECKING:
    from torch import nn

KINDS = ("timm", "image:FILE", "zoo:NAME", "official:FILE", "run:FOLDER")

_NAMED = tuple(kind.partition(":")[0] for kind in KINDS if ":" in kind)


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
        from tps_lab.backbones import load_official

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
