"""The authors' checkpoints: PST (TPS's released code) and Video Swin, in mmaction's layout.

Both name their parameters as Swin does (github.com/MartinXM/TPS and
github.com/SwinTransformer/Video-Swin-Transformer, `models/swin_transformer.py`); what differs from
timm is converted here:

* the patch embedding is a 3D convolution, ours one over the frames of a tubelet stacked as
  channels: (C, 3, tubelet, h, w) → (C, tubelet·3, h, w);
* patch merging closes stage i, in timm it opens stage i + 1. Both concatenate the patches at
  (0, 0), (1, 0), (0, 1), (1, 1), norm, then reduce, so its weights stay as they are;
* the classifier is `cls_head.fc_cls`, here `head.fc`;
* index buffers and masks follow from shapes and are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from tps_lab.attention import parse
from tps_lab.backbones import _options, _weights
from tps_lab.backbones.swin import VideoSwin
from tps_lab.errors import InputError, shortened

_BUFFER = re.compile(r"(relative_position_index(_old)?|attn_mask)$")
_SWIN = "swin_tiny_patch4_window7_224"  # of which sizes and depths are said


@dataclass
class LoadReport:
    """What became of every key of a checkpoint, and what was assumed about it.

    Args:
        used: the checkpoint's name → the model's, taken as it is.
        converted: the checkpoint's name → the model's name and what was changed.
        skipped: the checkpoint's name → why it is not needed.
        assumed: what the checkpoint does not say.
    """

    used: dict[str, str] = field(default_factory=dict)
    converted: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.used)} keys used, {len(self.converted)} converted, {len(self.skipped)} skipped"]
        for title, keys in (("used", self.used), ("converted", self.converted), ("skipped", self.skipped)):
            parts += [f"  {title}: {name} → {what}" for name, what in keys.items()]
        return "\n".join([*parts, *(f"  assumed: {what}" for what in self.assumed)])


def load_official(
    source: str | Path | Mapping[str, Any],
    *,
    attention: str | None = None,
    frames: int = 32,
    size: int = 224,
    window: int = 7,
    num_classes: int | None = None,
    **options: Any,
) -> nn.Module:
    """A video model with the weights of a released PST or Video Swin checkpoint.

    Widths, depths, heads, tubelet and temporal window are read from the weights. The bias index
    of a PST is the released code's (position_bias="frame0"), with which its weights were trained.

    Args:
        source: a file (.safetensors, or torch's format, of which only weights are read and no code
            is run) or a state dict; with or without `state_dict`, `backbone.` and `cls_head.`.
        attention: a variant; None is the PST's, or spatial attention with Video Swin's temporal
            window, whichever the checkpoint holds.
        frames: frames per clip; a PST's tables fit one number only.
        size: height and width in pixels.
        window: height and width of the windows in patches, which a bias table's rows do not say.
        num_classes: another number than the checkpoint's leaves its classifier out.
        **options: of `VideoSwin`: position_bias, temporal_window, bias_over_time.

    Returns:
        The model in eval mode; `model.load_report` is the `LoadReport`.

    Raises:
        InputError: not such a checkpoint, or names and shapes do not match.
    """
    if not isinstance(source, (str, Path, Mapping)):
        raise InputError(f"an official checkpoint is a file or a state dict, got {shortened(repr(source))}")
    _options.check_numbers(frames=frames, window=window)
    _options.check_size(size)
    report = LoadReport()
    given = _weights.tensors_in(source) if isinstance(source, Mapping) else _weights.read(Path(source))
    weights = {
        re.sub(r"^(module\.)?(backbone\.|cls_head\.)?", "", name): (name, value) for name, value in given.items()
    }
    for short, (name, _) in list(weights.items()):
        if _BUFFER.search(short):
            report.skipped[name] = "a buffer, computed from shapes"
    has_old_index = any(short.endswith("_old") for short in weights)
    has_index = any(_BUFFER.search(short) for short in weights)
    tensors = {short: pair for short, pair in weights.items() if not _BUFFER.search(short)}

    shape = _Architecture({short: value for short, (_, value) in tensors.items()}, window)
    time = frames // shape.tubelet
    is_pst = has_old_index or (not has_index and shape.temporal_window == time)
    if attention is None and not has_index:
        kind = "a PST" if is_pst else "a Video Swin"
        report.assumed.append(f"{kind}, from bias tables over {2 * shape.temporal_window - 1} time offsets")
    defaults: dict[str, Any]
    if attention is None and not is_pst:
        attention, defaults = "spatial", {"temporal_window": shape.temporal_window}
    else:
        attention = attention or "tps+tcs(order=tcs-tps)"
        defaults = {"bias_over_time": True, "position_bias": "frame0"}
    if "temporal_window" in options:
        defaults.pop("position_bias", None)

    classifier = tensors.get("fc_cls.weight")
    found = 0 if classifier is None else len(classifier[1])
    if num_classes is not None and num_classes != found:
        for short in [short for short in tensors if short.startswith("fc_cls.")]:
            report.skipped[tensors.pop(short)[0]] = f"a classifier of {found} classes; {num_classes} are asked for"
    if "fc_cls.weight" not in tensors and num_classes:
        report.assumed.append(f"no classifier is loaded: that of {num_classes} classes is untrained")
    image_model = shape.image_model(size, found if num_classes is None else num_classes)
    model = VideoSwin(image_model, parse(attention), frames, shape.tubelet, **(defaults | options))
    model.made_with = {"image_model": _SWIN, "options": shape.arguments | defaults | options}
    state = _converted(tensors, report)
    _check(state, model)
    model.load_state_dict({name: value for name, (_, value) in state.items()}, strict=False)
    model.load_report = report  # type: ignore[assignment]
    return model.eval()


class _Architecture:
    """A Swin's numbers, read from the shapes of its weights."""

    def __init__(self, tensors: Mapping[str, Tensor], window: int) -> None:
        def shape(name: str, axes: int) -> tuple[int, ...]:
            if name not in tensors or tensors[name].ndim != axes:
                has = f"has shape {tuple(tensors[name].shape)}" if name in tensors else "is missing"
                raise InputError(f"not a PST or Video Swin checkpoint: {name}, of {axes} axes, {has}")
            return tuple(tensors[name].shape)

        self.width, self.channels, self.tubelet, self.patch, _ = shape("patch_embed.proj.weight", 5)
        places = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", name) for name in tensors]
        blocks = sorted({(int(place[1]), int(place[2])) for place in places if place})
        stages = range(1 + max((stage for stage, _ in blocks), default=-1))
        self.depths = tuple(sum(stage == wanted for stage, _ in blocks) for wanted in stages)
        table = "layers.{}.blocks.0.attn.relative_position_bias_table"
        self.heads = tuple(shape(table.format(stage), 2)[1] for stage in stages)
        hidden, width = shape("layers.0.blocks.0.mlp.fc1.weight", 2)
        rows, area = shape(table.format(0), 2)[0], (2 * window - 1) ** 2
        offsets, rest = divmod(rows, area)
        if rest or offsets % 2 == 0:
            raise InputError(
                f"a bias table of {rows} rows is not (2·P - 1)·{area} for windows of {window}×{window}: give window="
            )
        self.temporal_window = (offsets + 1) // 2
        self.arguments: dict[str, Any] = {
            "patch_size": self.patch,
            "embed_dim": self.width,
            "depths": self.depths,
            "num_heads": self.heads,
            "window_size": window,
            "mlp_ratio": hidden / width,
            "qkv_bias": "layers.0.blocks.0.attn.qkv.bias" in tensors,
            "drop_rate": 0.5,
        }

    def image_model(self, size: int, classes: int) -> Any:
        try:
            return timm.create_model(
                _SWIN, img_size=size, in_chans=self.channels, num_classes=classes, **self.arguments
            )
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(f"timm cannot make this Swin: {error}") from error


def _converted(tensors: Mapping[str, tuple[str, Tensor]], report: LoadReport) -> dict[str, tuple[str, Tensor]]:
    """The model's name → (the checkpoint's name, tensor)."""
    state = {}
    for short, (name, value) in tensors.items():
        ours, done = short, ""
        if short == "patch_embed.proj.weight":
            value = value.transpose(1, 2).flatten(1, 2)
            done = "3D convolution → 2D over a tubelet's frames as channels"
        elif merging := re.match(r"layers\.(\d+)(\.downsample\..*)", short):
            ours, done = f"layers.{int(merging[1]) + 1}{merging[2]}", "patch merging opens the next stage"
        elif short.startswith("fc_cls."):
            ours, done = short.replace("fc_cls.", "head.fc."), "classifier"
        ours = f"image_model.{ours}"
        state[ours] = (name, value)
        if done:
            report.converted[name] = f"{ours} ({done})"
        else:
            report.used[name] = ours
    return state


def _check(state: Mapping[str, tuple[str, Tensor]], model: VideoSwin) -> None:
    """Refuse what does not match, naming all of it; only a classifier may be absent."""
    wanted = model.state_dict()
    wrong = [f"{name} {tuple(value.shape)} has no place" for ours, (name, value) in state.items() if ours not in wanted]
    for ours, tensor in wanted.items():
        if ours not in state:
            if not ours.startswith("image_model.head.fc."):
                wrong.append(f"{ours} {tuple(tensor.shape)} is missing")
        elif state[ours][1].shape != tensor.shape:
            name, value = state[ours]
            wrong.append(f"{name} has shape {tuple(value.shape)}, the model's {ours} {tuple(tensor.shape)}")
    if wrong:
        more = f" … and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise InputError(f"the checkpoint does not match the model: {'; '.join(wrong[:8])}{more}")
