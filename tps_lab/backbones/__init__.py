"""2D image transformers turned into video models.

`create_model` makes one by name, `videoize` turns a timm model that you have. A family of image
models is one file here and one line in `_families`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.attention import Variant, parse
from tps_lab.backbones import _options, _weights
from tps_lab.backbones._paper import PAPER, Preset
from tps_lab.errors import InputError, one_line, shortened, unknown
from tps_lab.lazy import timm, torch

if TYPE_CHECKING:
    from torch import nn

    from tps_lab.backbones._options import TemporalPosition
    from tps_lab.backbones._video_model import VideoModel

__all__ = ["PAPER", "SMALL", "backbones", "create_model", "load_official", "videoize"]

# Image models of our own naming, for tasks that train in minutes on a laptop: a timm name and what
# is different. timm's usual initialisation (0.02) is meant for widths of several hundred; Xavier's
# ("jax") lets these narrow ones learn.
_MICRO = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 64,
    "depth": 4,
    "num_heads": 4,
    "mlp_ratio": 2,
    "class_token": False,
    "global_pool": "avg",
    "weight_init": "jax",
}
# Two stages of two blocks, plain and moved windows in each: of 24×24 pixels, 6×6 patches and then 3×3.
_MICRO_SWIN = {
    "img_size": 24,
    "patch_size": 4,
    "window_size": 3,
    "embed_dim": 32,
    "depths": (2, 2),
    "num_heads": (2, 4),
    "mlp_ratio": 2,
    "drop_path_rate": 0.0,
    "weight_init": "jax",
}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_micro": ("vit_tiny_patch16_224", _MICRO),
    "vit_micro_cls": ("vit_tiny_patch16_224", _MICRO | {"class_token": True, "global_pool": "token"}),
    "swin_micro": ("swin_tiny_patch4_window7_224", _MICRO_SWIN),
    "vit_mini": ("vit_tiny_patch16_224", _MICRO | {"patch_size": 4, "embed_dim": 128, "depth": 6, "mlp_ratio": 4}),
}


def backbones() -> list[str]:
    """Names that `create_model` takes: ours, the paper's, then timm's of every family."""
    return [*SMALL, *PAPER, *(name for name in timm.list_models() if _family_of(name))]


def create_model(
    name: str,
    attention: Variant | str | None = None,
    *,
    frames: int | None = None,
    tubelet: int | None = None,
    num_classes: int = 1000,
    size: int | tuple[int, int] | None = None,
    pretrained: bool | str | Path = False,
    temporal_position: TemporalPosition = None,
    **options: Any,
) -> nn.Module:
    """A video model by the name of its 2D backbone; clip (B, 3, T, H, W) to (B, num_classes).

    Args:
        name: one of `backbones()`.
        attention: a variant or its text form, such as "tps(pattern=C)"; None is "tps", or what a
            model of the paper has.
        frames: frames per clip; None is 8, or what a model of the paper takes.
        tubelet: frames per token along time; None is 1, or what a model of the paper has.
        num_classes: outputs.
        size: height and width in pixels (one number, or both); None keeps the backbone's own.
        pretrained: load timm's image weights (needs a network or timm's cache), or those of a file.
        temporal_position: learned embedding per time step; None asks the variant. It starts as sines and
            cosines, with `pretrained` at zero, or as "sines" or "zeros" ask for.
        **options: fields of the variant (pattern="A", every=1), then what a family adds (of windowed
            models position_bias, temporal_window, bias_over_time: see `swin.VideoSwin`), then
            arguments of the timm model.

    Raises:
        InputError: unknown name or option, or parts that do not fit each other.

    >>> model = create_model("vit_micro", "tps", pattern="A", frames=8, num_classes=12)
    """
    if not isinstance(name, str):
        raise InputError(f"a backbone is given by its name, such as 'vit_micro', got {shortened(repr(name))}")
    if not isinstance(pretrained, (bool, str, Path)):
        raise InputError(f"pretrained must be True, False or a file, got {shortened(repr(pretrained))}")
    preset = PAPER.get(name) or Preset(*SMALL.get(name, (name, {})))
    chosen = parse(attention or preset.attention)
    ours = {key: options.pop(key) for key in list(options) if key in chosen.options()}
    added = preset.added | {key: options.pop(key) for key in list(options) if key in _added()}
    timm_name, given = preset.timm_name, preset.arguments
    family = _family_by_name(name, timm_name)
    _options.check_options(options, family, chosen)
    numbers = {"frames": frames, "tubelet": tubelet, "num_classes": num_classes}
    _options.check_numbers(**{key: value for key, value in numbers.items() if value is not None})
    _options.check_kinds(options, family)
    _options.check_sizes(options)
    arguments = given | _options.size_argument(family, size) | options
    try:
        _options.check_buildable(lambda: timm.create_model(timm_name, **arguments), options | {"size": size})
        if isinstance(pretrained, bool):
            with _weights.asking_briefly() if pretrained else nullcontext():
                image_model = timm.create_model(timm_name, pretrained=pretrained, **arguments)
        else:
            image_model = _weights.image_model(timm_name, Path(pretrained), arguments)
    except InputError:
        raise
    except OSError as error:
        why = "no network, and not in timm's cache" if "connection" in str(error) else str(error).splitlines()[0]
        raise InputError(f"cannot get timm's weights of '{timm_name}' ({why}); give a file that holds them") from error
    except (TypeError, AssertionError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        why = shortened(one_line(error).removesuffix(": "), 200)
        asked = _options.as_given(options | {"size": size})
        raise InputError(f"timm cannot make '{name}'{asked}: {why}") from error
    frames, tubelet = frames or preset.frames, tubelet or preset.tubelet
    # From zeros, joint and divided attention take several times as long to find out that frames have an order.
    # Image weights begin with zeros all the same, and so with the image model's answers, as papers do.
    sines = temporal_position == "sines" or (not pretrained and temporal_position != "zeros")
    model = _convert(image_model, parse(chosen, **ours), frames, tubelet, num_classes, temporal_position, sines, added)
    model.made_with = {"image_model": name, "options": added | options}  # type: ignore[assignment]
    return model


def videoize(
    image_model: nn.Module,
    attention: Variant | str = "tps",
    *,
    frames: int = 8,
    tubelet: int = 1,
    num_classes: int | None = None,
    size: int | tuple[int, int] | None = None,
    temporal_position: TemporalPosition = None,
    **options: Any,
) -> nn.Module:
    """A video model with the weights of an image model, which is copied and left as it is.

    Arguments as for `create_model`; num_classes None keeps the image model's head, size None its
    input size. Another size resizes position embeddings and bias tables as timm does. A temporal
    position embedding starts at zero, so that the image model's function is undisturbed at first; as
    "sines" it disturbs that, and attention finds the order of frames in fewer steps.
    """
    if not isinstance(image_model, torch.nn.Module):
        raise InputError(f"videoize takes an image model, got {shortened(repr(image_model))}")
    if not any(isinstance(image_model, family) for family in _families()):
        _refuse_wrapped(image_model)
        raise _options.cannot_convert(image_model, backbones())
    added = {key: options.pop(key) for key in list(options) if key in _added()}
    _options.check_numbers(frames=frames, tubelet=tubelet)
    if num_classes is not None:
        _options.check_numbers(num_classes=num_classes)
    copied = _options.set_size(_options.copy_of(image_model), size)
    sines = temporal_position == "sines"
    model = _convert(copied, parse(attention, **options), frames, tubelet, num_classes, temporal_position, sines, added)
    card = getattr(image_model, "pretrained_cfg", None) or {}
    model.made_with = {"image_model": card.get("architecture", ""), "options": added}  # type: ignore[assignment]
    return model


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuse what only holds an image model that can be converted, as torch.compile's modules do, and name it."""
    from tps_lab.backbones._video_model import VideoModel

    kind = type(model).__name__
    if isinstance(model, VideoModel):
        raise InputError(f"videoize takes an image model, and this {kind} is a video model already")
    for name, part in model.named_modules():
        if isinstance(part, tuple(_families())):
            raise InputError(f"videoize takes an image model, and this {kind} holds one: give its '{name}'")


def load_official(source: Any, **options: Any) -> nn.Module:
    """A video model with the TPS or Video Swin authors' weights; see `official.load_official`."""
    from tps_lab.backbones.official import load_official

    return load_official(source, **options)


def _convert(
    image_model: nn.Module,
    variant: Variant,
    frames: int,
    tubelet: int,
    num_classes: int | None,
    temporal_position: TemporalPosition,
    sines: bool,
    added: dict[str, Any],
) -> nn.Module:
    if temporal_position not in (None, True, False, "sines", "zeros"):  # any other text would count as true
        given = shortened(repr(temporal_position))
        raise InputError(f"temporal_position must be True, False, None, 'sines' or 'zeros', got {given}")
    from tps_lab.backbones._video_model import start_with_sines

    for family, make in _families().items():
        if isinstance(image_model, family):
            if foreign := added.keys() - inspect.signature(make).parameters.keys():
                raise InputError(f"{', '.join(sorted(foreign))}: not for a {family.__name__}, which has no windows")
            _options.check_tokens(frames // tubelet, image_model)
            if num_classes is not None and num_classes != image_model.num_classes:
                image_model.reset_classifier(num_classes)  # type: ignore[operator]
            wanted = None if temporal_position is None else bool(temporal_position)
            model = make(image_model, variant, frames, tubelet, wanted, **added)
            if sines:
                start_with_sines(getattr(model, "temporal_embed", None))
            return model
    raise _options.cannot_convert(image_model, backbones())


@functools.cache
def _families() -> dict[type, Callable[..., nn.Module]]:
    from timm.models.beit import Beit
    from timm.models.eva import Eva
    from timm.models.maxxvit import MaxxVit
    from timm.models.pvt_v2 import PyramidVisionTransformerV2
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2
    from timm.models.tiny_vit import TinyVit
    from timm.models.vision_transformer import VisionTransformer

    from tps_lab.backbones.beit import VideoBEiT
    from tps_lab.backbones.eva import VideoEva
    from tps_lab.backbones.maxvit import VideoMaxViT
    from tps_lab.backbones.pvt import VideoPVT
    from tps_lab.backbones.swin import VideoSwin
    from tps_lab.backbones.tiny_vit import VideoTinyViT
    from tps_lab.backbones.vit import VideoViT

    return {
        VisionTransformer: VideoViT,
        Eva: VideoEva,
        Beit: VideoBEiT,
        SwinTransformer: VideoSwin,
        SwinTransformerV2: VideoSwin,
        PyramidVisionTransformerV2: VideoPVT,
        TinyVit: VideoTinyViT,
        MaxxVit: VideoMaxViT,
    }


def _added() -> set[str]:
    """Options that some family adds to what all of them take."""
    return {
        name
        for make in _families().values()
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _family_of(timm_name: str) -> type | None:
    """The image models' class of the family that lists a timm name."""
    module = timm.model_entrypoint(timm_name).__module__
    for family, video in _families().items():
        modules = {family.__module__, *(f"timm.models.{name}" for name in getattr(video, "timm_modules", ()))}
        if module in modules and re.match(getattr(video, "timm_names", ""), timm_name):
            return family
    return None


def family_class(name: str) -> type[VideoModel]:
    """The class here that turns a backbone into a video model.

    Raises:
        InputError: unknown name, or of no family.
    """
    timm_name = (PAPER.get(name) or Preset(*SMALL.get(name, (name, {})))).timm_name
    found: Any = _families()[_family_by_name(name, timm_name)]
    return found


def _family_by_name(name: str, timm_name: str) -> type:
    """The image models' class of the family of a timm name; the error says why there is none."""
    if "(" in name:
        raise InputError(f"options of a backbone are keyword arguments, such as depth=2, got {shortened(repr(name))}")
    if not timm.is_model(timm_name):
        raise unknown("backbone", name, _nearest(name))
    if family := _family_of(timm_name):
        return family
    with torch.device("meta"):  # built to see why, at no cost of memory
        image_model = timm.create_model(timm_name)
    if isinstance(image_model, tuple(_families())):  # some members of a family differ: it says in what
        _convert(image_model, parse("spatial"), 8, 1, None, None, False, {})
    raise _options.cannot_convert(image_model, backbones(), name)


def _nearest(name: str) -> list[str]:
    import difflib

    return [*SMALL, *PAPER, *difflib.get_close_matches(name, backbones()[len(SMALL) + len(PAPER) :], n=5)]
