"""Weights from files, read as tensors only: no code of a file is ever run, and what does not fit a model is named."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError
from tps_lab.lazy import timm, torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_CLASSIFIERS = ("head.fc.weight", "head.weight", "classifier.weight", "fc.weight")
_NAMED = 4  # of what does not fit


def read(path: Path) -> dict[str, Tensor]:
    """Name → tensor of a file: .safetensors, or torch's format, of which only tensors are read.

    Raises:
        InputError: there is no such file, it is damaged, it holds anything but tensors, or numbers that are none.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        is_there = f"cannot read {path}: it is not a regular file"
        raise InputError(is_there if path.exists() else f"no such checkpoint: {path}")
    try:
        is_plain = path.suffix == ".safetensors"  # names and tensors, and nothing around them
        content = load_file(path) if is_plain else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip and safetensors each have errors of their own
        why = str(error).splitlines()[0]
        raise InputError(f"cannot read {path} as weights only (no code is run): {why}") from None
    found = content if is_plain else tensors_in(content)
    for name, value in found.items():
        short = value.is_floating_point() and value.itemsize == 1  # of these torch cannot always tell
        if not (value.float() if short else value).isfinite().all():
            raise InputError(f"the weights in {path} are not finite: {name} holds nan or inf")
    return found


def tensors_in(content: Any) -> dict[str, Tensor]:
    """A state dict, taken out of the `state_dict` or `model` that training programs put it into.

    Raises:
        InputError: it is none, or holds anything but tensors.
    """
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"expected a state dict (names → tensors), got {type(content).__name__}")
    odd = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise InputError(f"expected tensors only, got {', '.join(odd[:5])}")
    return dict(content)


def fill(model: nn.Module, weights: Mapping[str, Tensor], what: str, may_lack: Collection[str] = ()) -> None:
    """Load weights into a model, in place.

    Args:
        what: how an error calls the weights.
        may_lack: parameters of the model that stay as they are if there are no weights for them.

    Raises:
        InputError: names, shapes or kinds of number are another model's; the first few are named.
    """
    wanted = model.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in weights and name not in may_lack]
    for name, value in weights.items():
        if name not in wanted:
            wrong.append(f"{name} has no place")
        elif value.shape != wanted[name].shape:
            wrong.append(f"{name} is {tuple(value.shape)}, the model's {tuple(wanted[name].shape)}")
        elif value.is_floating_point() != wanted[name].is_floating_point():
            wrong.append(f"{name} is of {value.dtype}, the model's of {wanted[name].dtype}")
    if wrong:
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise InputError(f"{what} do not fit this model: {'; '.join(wrong[:_NAMED])}{more}")
    model.load_state_dict(weights, strict=False)


@contextmanager
def asking_briefly() -> Iterator[None]:
    """The hub asked once more where there is no answer, and in silence; by itself it asks six times in 23 seconds, for
    each of two files, and warns each time."""
    try:
        from huggingface_hub.utils import _http
    except ImportError:  # another version keeps this elsewhere, and asks as long as it likes
        yield
        return
    log = logging.getLogger(_http.__name__)
    level, ask = log.level, _http.http_backoff
    try:
        log.setLevel(logging.ERROR)
        _http.http_backoff = partial(ask, max_retries=1)
        yield
    finally:
        log.setLevel(level)
        _http.http_backoff = ask


def image_model(timm_name: str, path: Path, arguments: dict[str, Any]) -> nn.Module:
    """timm's model with a file's weights, its classifier included, with no network; all of them must fit.

    Args:
        path: of a file as `read` takes it, by timm's names or those that timm converts, or as a run with spatial
            attention kept them (`model.safetensors`).
        arguments: of the timm model; another input size resizes position embeddings as timm does.

    Raises:
        InputError: the file cannot be read, or is another model's.
    """
    weights = {_timm_name(name): value for name, value in read(path).items()}
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
