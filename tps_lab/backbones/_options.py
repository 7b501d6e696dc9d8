"""Options on their way to timm: what a model takes, and the size of its input."""

from __future__ import annotations

import copy
import difflib
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tps_lab.attention import Variant, variants
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from torch import nn

# What timm.create_model and its builder take on behalf of every model.
_BUILDER = frozenset(
    """
    pretrained_cfg scriptable exportable no_jit pretrained_strict in_chans drop_rate drop_path_rate global_pool device
    dtype
    """.split()
)
# With these timm reads files or addresses of its own accord, or makes something that is no classifier. Options come
# out of files that others wrote, and weights come by `weights=` alone.
_READS = frozenset(
    """
    checkpoint_path pretrained_cfg_overlay cache_dir default_cfg pretrained_filter_fn pretrained_custom_load
    kwargs_filter feature_cfg features_only feature_cls out_indices model_cls model_cfg hf_hub_id
    """.split()
)


def timm_options(family: type) -> set[str]:
    """Names of the options that a timm model class takes, or nothing if it takes any."""
    found: set[str] = set()
    for cls in family.__mro__:
        parameters = inspect.signature(vars(cls)["__init__"]).parameters if "__init__" in vars(cls) else {}
        found |= {name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return found
    return set()


def refuse_files(options: Mapping[str, Any]) -> None:
    """Refuse options that make timm read a file, fetch one, or run what it holds.

    Raises:
        InputError: there is one.
    """
    for name, value in options.items():
        tag = isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value)
        if name in _READS or (name == "pretrained_cfg" and not (value is None or tag)):
            what = "takes a tag only, such as augreg_in21k" if name == "pretrained_cfg" else "is not taken"
            raise InputError(f"backbone option '{name}' {what}: weights come by weights=, which reads tensors only")


def check_options(options: Mapping[str, Any], family: type, variant: Variant) -> None:
    """Refuse options that neither the variant nor the timm model takes, with the nearest that they do."""
    refuse_files(options)
    theirs = timm_options(family)
    for name in options:
        if not theirs or name in theirs | _BUILDER:
            continue
        own = sorted(variant.options())
        near = difflib.get_close_matches(name, [*own, *sorted(theirs)], n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        elsewhere = [other for other, cls in variants().items() if name in cls.options()]
        hint += f"it is an option of {', '.join(elsewhere)}; " if elsewhere else ""
        raise InputError(
            f"unknown option '{name}'; {hint}attention variant '{variant.name}' takes "
            f"{', '.join(own) or 'none'}; timm's {family.__name__} takes {', '.join(sorted(theirs))}"
        )


def size_argument(family: type, size: int | tuple[int, int] | None) -> dict[str, Any]:
    """How timm.create_model is told the input size: by `img_size`, or for models of any size by their card."""
    if size is None:
        return {}
    height, width = check_size(size)
    theirs = timm_options(family)
    if not theirs or "img_size" in theirs:
        return {"img_size": (height, width)}
    return {"pretrained_cfg_overlay": {"input_size": (3, height, width)}}


def set_size(image_model: Any, size: int | tuple[int, int] | None) -> nn.Module:
    """The image model, changed to take images of this size; tables are resized as timm does."""
    if size is None:
        return image_model
    height, width = check_size(size)
    if hasattr(image_model, "set_input_size"):
        try:
            image_model.set_input_size(img_size=(height, width))
        except (AssertionError, ValueError) as error:
            raise InputError(f"{type(image_model).__name__} cannot take {height}×{width} pixels: {error}") from error
    else:
        channels = image_model.pretrained_cfg["input_size"][0]
        image_model.pretrained_cfg = {**image_model.pretrained_cfg, "input_size": (channels, height, width)}
    return image_model


def copy_of(image_model: nn.Module) -> nn.Module:
    """A deep copy, without what models keep from an earlier forward pass (which may hold a graph)."""
    for module in image_model.modules():
        if getattr(module, "attention_bias_cache", None):
            module.attention_bias_cache = {}  # type: ignore[assignment]
    return copy.deepcopy(image_model)


def check_size(size: Any) -> tuple[int, int]:
    """Height and width from a number of pixels or a pair of them."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise InputError(f"size must be a number of pixels or (height, width), got {size!r}")
    return pair[0], pair[1]
