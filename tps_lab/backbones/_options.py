"""Options on their way to timm: what a model takes, and the size of its input; and why some models cannot be made."""

from __future__ import annotations

import copy
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from tps_lab import children, specs
from tps_lab.attention import Variant, variants
from tps_lab.errors import InputError, shortened, unknown
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import nn

# An embedding of time: with or without, None as the variant asks; or with one, and what it starts as.
TemporalPosition = bool | Literal["sines", "zeros"] | None

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


# Where a run's configuration says what `create_model` takes besides options.
SAID_BY_A_RUN = {
    "name": "it stands before the bracket, as in vit_micro(depth=2)",
    "attention": "a key of its own: attention={}",
    "tubelet": "a key of its own: tubelet={}",
    "temporal_position": "a key of its own: temporal_position={}",
    "frames": "a clip's length belongs to the data set: data.frames={}",
    "size": "a clip's size belongs to the data set: data.size={}",
    "num_classes": "the data set says how many classes there are",
    "in_chans": "the data set says how many channels there are",
    "pretrained": "weights come by weights=, such as weights=timm",
}


def timm_options(family: type) -> dict[str, inspect.Parameter]:
    """The options that a timm model class takes by name, or nothing if it takes any."""
    found: dict[str, inspect.Parameter] = {}
    for cls in family.__mro__:
        parameters = inspect.signature(vars(cls)["__init__"]).parameters if "__init__" in vars(cls) else {}
        found = {n: p for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n != "self"} | found
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return found
    return {}


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


def refuse_ours(options: Mapping[str, Any], variant: Variant, said: Mapping[str, str]) -> None:
    """Refuse options of a backbone's text form that are said elsewhere: by the variant, or as `said` has it.

    Raises:
        InputError: there is one, and where it belongs.
    """
    for name, value in options.items():
        where = said.get(name)
        if name in variant.options():
            where = f"an option of the variant: {variant.name}({name}={{}})"
        if where:
            raise InputError(f"backbone option {name}: {where.format(shortened(str(value)))}")


def check_options(options: Mapping[str, Any], family: type, variant: Variant) -> None:
    """Refuse options that neither the variant nor the timm model takes, with the nearest that they do."""
    refuse_files(options)
    theirs = timm_options(family)
    for name in options:
        if not theirs or name in theirs or name in _BUILDER:
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


def check_numbers(**given: int | None) -> None:
    """Refuse what is no whole number from 1, or one beyond all use."""
    for name, value in given.items():
        least, most = _RANGES[name]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InputError(f"{name} must be a whole number from {least} to {most:,}, got {shortened(repr(value))}")


_LARGEST_SIZE = 16_384
_RANGES = {"frames": (1, 10_000), "tubelet": (1, 10_000), "num_classes": (0, 1_000_000), "window": (1, _LARGEST_SIZE)}
_DEEPEST, _WIDEST, _MOST_TOKENS = 1_000, 100_000, 10_000_000


_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def check_kinds(options: Mapping[str, Any], family: type) -> None:
    """Refuse values of another kind than timm's defaults, and texts that are none of those that timm names.

    What has no default to go by is left for timm to refuse.
    """
    known = timm_options(family)
    for name, value in options.items():
        default: Any = known[name].default if name in known else None
        row = isinstance(default, tuple)
        kind: Any = type(default[0] if row else default)
        parts = [part for part in _parts_of(value) if part is not None]
        if any(str(part).lower().lstrip("+-") in ("nan", "inf") for part in parts if isinstance(part, (str, float))):
            raise InputError(f"{name} must be finite, got {shortened(repr(value))}")
        lone = row and parts and not isinstance(value, (list, tuple))
        if kind in _KINDS and (lone or not all(_is_a(kind, part) for part in parts)):
            wanted = f"a list, each {_KINDS[kind]}" if row else _KINDS[kind]
            raise InputError(f"{name} must be {wanted}, got {shortened(repr(value))}")
        texts = get_args(known[name].annotation) if kind is str else ()
        if value is not None and "" in texts and value not in texts:
            raise unknown(name, str(value), filter(None, texts))


def _is_a(kind: type, value: Any) -> bool:
    if kind is bool:
        return isinstance(value, int) and value in (0, 1)
    read = specs.whole if kind is int else specs.number
    return not isinstance(value, (str, bool) if kind is float else (str, bool, float)) and read(value) is not None


def as_given(options: Mapping[str, Any]) -> str:
    """Options as an error names them: " with depth=2, drop_rate=0.1"."""
    given = ", ".join(f"{name}={shortened(repr(value))}" for name, value in options.items() if value is not None)
    return f" with {given}" if given else ""


def check_sizes(options: Mapping[str, Any]) -> None:
    """Refuse options of a timm model that no machine could build, or that are not for a configuration to say."""
    for name, value in options.items():
        if name in ("device", "dtype") and value is not None:
            raise InputError(f"{name} is no option here: a model is moved by .to(); got {shortened(repr(value))}")
        if name == "dynamic_img_size" and value:
            raise InputError("dynamic_img_size: clips have one size here, which size= says; leave it out")
        most = _DEEPEST if name.startswith("depth") else _WIDEST
        least = 1 if name in ("img_size", "patch_size", "embed_dim", "depth", "depths", "num_heads", "in_chans") else 0
        for number in _numbers_in(value):
            if name.endswith("_rate") and not 0 <= number < 1:
                raise InputError(f"{name} must be from 0 to below 1, got {shortened(repr(value))}")
            if not (least <= number <= most and number == number):
                raise InputError(f"{name} must be from {least} to {most:,}, got {shortened(repr(value))}")


def check_buildable(make: Callable[[], nn.Module], options: Mapping[str, Any]) -> None:
    """Refuse a model whose weights this machine could not hold, before they are made."""
    if not any(number > 2_000 for value in options.values() for number in _numbers_in(value)):
        return
    with torch.device("meta"):
        needed = 4 * sum(p.numel() for p in make().parameters())
    held = children.memory_bytes()
    if needed > held // 2:
        raise InputError(f"a model of {needed / 2**30:,.0f} GiB of weights{as_given(options)}; this machine has "
                         f"{held / 2**30:.0f} GiB of memory")  # fmt: skip


def check_tokens(frames: int, image_model: Any) -> None:
    """Refuse a clip of more patches than can be told apart in memory."""
    patches = getattr(getattr(image_model, "patch_embed", None), "num_patches", None) or 1
    if frames * patches > _MOST_TOKENS:
        raise InputError(f"{frames:,} frames of {patches:,} patches are more than {_MOST_TOKENS:,} tokens")


def _numbers_in(value: Any) -> Iterator[float]:
    return (part for part in _parts_of(value) if isinstance(part, (int, float)) and not isinstance(part, bool))


def _parts_of(value: Any) -> Iterator[Any]:
    """What stands in lists, however deep; of anything else the value itself."""
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _parts_of(inner)
    else:
        yield value


def size_argument(family: type, size: int | tuple[int, int] | None) -> dict[str, Any]:
    """How timm.create_model takes the input size: by `img_size`, or for models of any size by their card."""
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
    pair = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(pair) != 2 or not all(type(side) is int and 0 < side <= _LARGEST_SIZE for side in pair):
        raise InputError(
            f"size must be a number of pixels up to {_LARGEST_SIZE:,}, or (height, width), got {shortened(repr(size))}"
        )
    return pair[0], pair[1]


# ---------------------------------------------------------------------- image models that cannot become video models

# One or two well-known members of each family; a test holds that all families are here.
EXAMPLES = (
    *("vit_small_patch16_224", "deit_small_patch16_224", "vit_small_patch14_dinov2", "vit_base_patch16_siglip_224"),
    *("eva02_small_patch14_224", "vit_small_patch16_dinov3", "beit_base_patch16_224"),
    *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("pvt_v2_b0", "tiny_vit_5m_224", "maxvit_tiny_tf_224"),
)


def cannot_convert(image_model: nn.Module, names: Iterable[str], name: str | None = None) -> InputError:
    """The error for an image model of no family: why, and names of models that can.

    Args:
        names: of all models that can, of which those near its own are given.
        name: its own; None looks it up in what timm knows of the model.
    """
    kind = type(image_model)
    name = name or (getattr(image_model, "pretrained_cfg", None) or {}).get("architecture") or kind.__name__
    near = difflib.get_close_matches(name, list(names), n=3)
    hint = f"; nearest to it: {', '.join(near)}" if near else ""
    return InputError(
        f"{name} ({kind.__module__}.{kind.__name__}) cannot become a video model: {_reason(image_model)}; "
        f"these can: {', '.join(EXAMPLES)} and others of their families{hint}"
    )


def _reason(image_model: nn.Module) -> str:
    kinds = {type(part).__name__ for part in image_model.modules()}
    found = sorted(kind for kind in kinds if _attends(kind.lower()))
    if not found:
        return "no attention between patches was found in it, which patches of other frames could join"
    return f"no family here knows its attention ({', '.join(found)}), what map of patches it sees and in which order"


def _attends(kind: str) -> bool:
    # by name, as there is nothing else to go by; pooling relates no patches to each other
    return ("attn" in kind or "attention" in kind or kind in ("litemla", "xca")) and "pool" not in kind


def check_patch_embed(image_model: Any) -> None:
    """Refuse patches that are not embedded by one convolution: those know neither frames nor tubelets."""
    from timm.layers.patch_embed import PatchEmbed

    if not isinstance(image_model.patch_embed, PatchEmbed):
        kind = type(image_model.patch_embed).__name__
        raise InputError(
            f"patches must be embedded by a single convolution, this model has {kind}; these can: {', '.join(EXAMPLES)}"
        )
