"""Video models by name, small and with random weights, for `certify`: ours and those of other libraries.

Sizes are chosen so that a certificate takes seconds; what a model can tell of order does not depend on them.
Positions that a library fixes at training size are kept as that library makes them.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from tps_lab import plugins
from tps_lab.attention import parse
from tps_lab.backbones import create_model
from tps_lab.data import opened
from tps_lab.errors import InputError, shortened, unknown
from tps_lab.explain import certificates
from tps_lab.explain.certificates import Certificate
from tps_lab.results import runs
from tps_lab.training.model import restore


@dataclass(frozen=True)
class Subject:
    """A model that can be certified.

    Args:
        name: "torchvision:r3d_18".
        make: the model, with random weights; a file's factory may give (model, shape of a clip).
        shape, axes: of its clips; empty if not known.
        truth: what its definition says about order: order-blind, cyclic, "blind to steps of 2" or sees order.
        why: in the definition's words.
    """

    name: str
    make: Callable[[], Callable[[Tensor], Any]]
    shape: tuple[int, ...]
    axes: str
    truth: str
    why: str


class PerFrame(nn.Module):
    """An image model frame by frame; answers are averaged, or the largest taken."""

    def __init__(self, image_model: nn.Module, largest: bool = False) -> None:
        super().__init__()
        self.image_model, self.largest = image_model, largest

    def forward(self, clips_BCTHW: Tensor) -> Tensor:
        b, _, t, *_ = clips_BCTHW.shape
        answers = self.image_model(clips_BCTHW.transpose(1, 2).flatten(0, 1)).unflatten(0, (b, t))
        return answers.amax(1) if self.largest else answers.mean(1)


class Patches(nn.Module):
    """A vision tower of the Qwen-VL family as a video model: clips become its list of patches and its grid."""

    def __init__(self, tower: nn.Module, patch: int, tubelet: int, merge: int) -> None:
        super().__init__()
        self.tower, self.patch, self.tubelet, self.merge = tower, patch, tubelet, merge

    def patches(self, clips_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (B·N, C·tubelet·p·p), those that are merged next to each other, and the grid (B, 3) of T, H, W."""
        b, t, c, h, w = clips_BTCHW.shape
        p, m, steps = self.patch, self.merge, t // self.tubelet
        x = clips_BTCHW.reshape(b, steps, self.tubelet, c, h // p // m, m, p, w // p // m, m, p)
        x = x.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(-1, c * self.tubelet * p * p)
        return x, torch.tensor([[steps, h // p, w // p]] * b)

    def forward(self, clips_BTCHW: Tensor) -> Tensor:
        x, grid = self.patches(clips_BTCHW)
        out = self.tower(x, grid_thw=grid)
        tokens = getattr(out, "pooler_output", None)
        tokens = getattr(out, "last_hidden_state", out) if tokens is None else tokens
        tokens = tokens[0] if isinstance(tokens, tuple) else tokens
        return tokens.reshape(len(clips_BTCHW), -1, tokens.shape[-1])


class VideoAndText(nn.Module):
    """A whole Qwen-VL model: the clip as patches between a few words; the last token's features."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        vision = model.config.vision_config
        self.model, self.config = model, model.config
        self.cut = Patches(nn.Identity(), vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size)

    def forward(self, clips_BTCHW: Tensor) -> Tensor:
        answers = []
        for clip in clips_BTCHW[:, None]:
            x, grid = self.cut.patches(clip)
            video = int(grid.prod()) // self.cut.merge**2
            ids = torch.tensor([[3, self.config.vision_start_token_id, *[self.config.video_token_id] * video, 4, 5]])
            kinds = 2 * (ids == self.config.video_token_id).int()  # 0 text, 1 image, 2 video
            takes_kinds = "mm_token_type_ids" in inspect.signature(self.model.forward).parameters
            known = {"mm_token_type_ids": kinds} if takes_kinds else {}
            out = self.model(
                input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values_videos=x, video_grid_thw=grid, **known
            )
            answers.append(out.last_hidden_state[:, -1])
        return torch.cat(answers)


_SEES, _BLIND = "sees order", "order-blind"


def _ours(attention: str, truth: str, why: str, frames: int = 8, **options: Any) -> Subject:
    def make() -> nn.Module:
        return create_model("vit_micro", attention, frames=frames, num_classes=10, **options)

    time = ", time embedded" if options.get("temporal_position") else ""
    return Subject(f"{attention}{time}", make, (3, frames, 32, 32), "CTHW", truth, why)


def _torchvision(name: str, why: str, size: int = 16, **options: Any) -> Subject:
    def make() -> nn.Module:
        import torchvision.models.video as models

        return getattr(models, name)(weights=None, **options)

    return Subject(f"torchvision:{name}", make, (3, 8, size, size), "CTHW", _SEES, why)


def _s3d() -> nn.Module:
    """Its average is over 2×7×7 places of a clip of 224²; here over the 1×2×2 of a smaller one."""
    from torchvision.models.video import s3d

    model = s3d(weights=None, num_classes=10)
    model.avgpool = nn.AvgPool3d((1, 2, 2), 1)
    return model


def _mvit() -> nn.Module:
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    block = {"kernel_q": [3, 3, 3], "kernel_kv": [3, 3, 3], "stride_q": [1, 1, 1], "stride_kv": [1, 2, 2]}
    blocks = [MSBlockConfig(1, 32, 32, **block) for _ in range(4)]  # type: ignore[arg-type]
    return MViT((64, 64), 8, blocks, True, False, dropout=0, num_classes=10, rel_pos_embed=True, proj_after_attn=True)


_SMALL = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip


def _transformers(name: str, model: str, why: str, truth: str = _SEES, **options: Any) -> Subject:
    def make() -> nn.Module:
        library = _library("transformers")
        config = getattr(library, model.replace("ForVideoClassification", "Config"))
        return getattr(library, model)(config(**{**_SMALL, **options}))

    return Subject(f"transformers:{name}", make, (8, 3, 32, 32), "TCHW", truth, why)


def _qwen(family: str, **vision: Any) -> Any:
    """A small model of a Qwen-VL family: vision tower and language model, with a vocabulary of 16 words."""
    library = _library("transformers")
    small = {"depth": 3, "num_heads": 2, "patch_size": 4, "hidden_size": 32, "spatial_merge_size": 2} | vision
    text = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 16, "rope_parameters": _ROPE, "rope_scaling": _ROPE, "head_dim": 16,
        "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    words = {"image_token_id": 10, "video_token_id": 11, "vision_start_token_id": 12, "vision_end_token_id": 13}
    config = getattr(library, f"{family}Config")(text_config=text, vision_config=small, **words)
    return getattr(library, f"{family}Model")(config)


_ROPE = {"rope_type": "default", "type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}


def _tower(name: str, family: str, **vision: Any) -> Subject:
    def make() -> nn.Module:
        return Patches(_qwen(family, **vision).visual, patch=4, tubelet=2, merge=2)

    why = "attention stays inside steps of two frames, positions are of height and width"
    return Subject(f"transformers:{name}-tower", make, (8, 3, 32, 32), "TCHW", "blind to steps of 2", why)


def _whole(name: str, family: str, **vision: Any) -> Subject:
    def make() -> nn.Module:
        return VideoAndText(_qwen(family, **vision))

    why = "its language model reads from left to right and gets a position in time"
    return Subject(f"transformers:{name}", make, (8, 3, 32, 32), "TCHW", _SEES, why)


def _timm(name: str, largest: bool = False) -> Subject:
    def make() -> nn.Module:
        sized: dict[str, Any] = {"img_size": size} if name.startswith("vit_tiny") else {}
        return PerFrame(timm.create_model(name, num_classes=10, **sized), largest)

    pooled = "it takes the largest of" if largest else "it takes the mean of"
    size = 32 if name in ("resnet18", "vit_tiny_patch16_224") else 224
    suffix = ":max" if largest else ""
    return Subject(f"timm:{name}{suffix}", make, (3, 4, size, size), "CTHW", _BLIND, f"{pooled} its frames' answers")


def _library(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise InputError(f"{name} is not installed: pip install 'tps_lab[{name}]'")
    return importlib.import_module(name)


_Q25 = {"out_hidden_size": 32, "intermediate_size": 48, "window_size": 16, "fullatt_block_indexes": [1]}
_Q3 = {"out_hidden_size": 32, "intermediate_size": 48, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}

# fmt: off
SUBJECTS: dict[str, Subject] = {subject.name: subject for subject in (
    _ours("spatial", _BLIND, "frames meet in the mean only", temporal_position=False),
    _ours("joint", _BLIND, "attention without positions treats all tokens as a set", temporal_position=False),
    _ours("joint", _SEES, "each time step has an embedding", temporal_position=True),
    _ours("divided", _BLIND, "its attention over time has no positions", temporal_position=False),
    _ours("tps", "cyclic", "shifts go round the ends of the clip", temporal_position=False),
    _ours("tps(border=zero)", _SEES, "shifts fall off the ends of the clip", temporal_position=False),
    _ours("causal", _SEES, "a frame sees those before it", temporal_position=False),
    _torchvision("r3d_18", "its 3D convolutions see zeros ahead and behind", num_classes=10),
    _torchvision("mc3_18", "its first stage has 3D convolutions", num_classes=10),
    _torchvision("r2plus1d_18", "it has convolutions over time", num_classes=10),
    Subject("torchvision:s3d", _s3d, (3, 8, 64, 64), "CTHW", _SEES, "it has convolutions over time"),
    _torchvision("swin3d_t", "each distance in time has a bias", size=32, num_classes=10),
    Subject("torchvision:mvit", _mvit, (3, 8, 64, 64), "CTHW", _SEES, "each distance in time has a bias"),
    _transformers("timesformer", "TimesformerForVideoClassification", "each time step has an embedding", num_frames=8),
    _transformers("timesformer-joint", "TimesformerForVideoClassification", "each time step has an embedding",
                  num_frames=8, attention_type="joint_space_time"),
    _transformers("vivit", "VivitForVideoClassification", "each tubelet has an embedding", num_frames=8,
                  tubelet_size=[2, 8, 8]),
    _transformers("videomae", "VideoMAEForVideoClassification", "all tubelets have sines of their own", num_frames=8),
    _transformers("vjepa2", "VJEPA2ForVideoClassification", "queries and keys turn with time", frames_per_clip=8,
                  crop_size=32, hidden_size=48, num_pooler_layers=1, pred_hidden_size=48, pred_num_hidden_layers=1,
                  pred_num_attention_heads=2),
    _tower("qwen2-vl", "Qwen2VL", embed_dim=32),
    _tower("qwen2.5-vl", "Qwen2_5_VL", **_Q25),
    _tower("qwen3-vl", "Qwen3VL", **_Q3),
    _whole("qwen2-vl", "Qwen2VL", embed_dim=32),
    _whole("qwen2.5-vl", "Qwen2_5_VL", **_Q25),
    _timm("resnet18"),
    _timm("resnet18", largest=True),
    _timm("vit_tiny_patch16_224"),
)}
# fmt: on


def find(text: str, frames: int | None = None) -> Subject:
    """A known model, "timm:ANY" frame by frame, an attention variant of ours, or "FILE.py:factory".

    Our variants are looked at without an embedding of time. A file's code is run: name only files that you
    trust. Its factory takes nothing and returns the model, or the
    model and the shape of a clip.

    Raises:
        InputError: there is no such model, file or factory.
    """
    head = text.partition("(")[0]
    own = ":" not in head
    if text in SUBJECTS and not (own and frames):
        return SUBJECTS[text]
    file, _, factory = text.rpartition(":") if ".py:" in text else (text, "", "")
    if file.endswith(".py"):
        return _from_file(Path(file), factory)
    if text.startswith("timm:"):
        name = text.removeprefix("timm:").removesuffix(":max")
        if not timm.is_model(name):
            every = timm.list_models()
            near = [known for known in every if name and known.startswith(name)]
            near = near or difflib.get_close_matches(name, every) or ["resnet18"]
            raise InputError(f"unknown timm model '{shortened(name)}'; expected one such as {', '.join(near[:5])}")
        return _timm(name, text.endswith(":max"))
    if "/" in head:
        raise InputError(f"no such run folder: {shortened(text, 200)}")
    if own:
        return _ours(str(parse(text)), "", "", frames or 8, temporal_position=False)
    raise unknown("model", text, SUBJECTS)


def _from_file(file: Path, factory: str) -> Subject:
    if not file.is_file():
        raise InputError(f"no such file: {file}")
    if not factory:
        raise InputError(f"name a function of the file: {file}:FACTORY")
    made = getattr(plugins.read(file), factory, None)
    if not callable(made):
        raise InputError(f"{file} has no function '{factory}' that makes a model")
    return Subject(f"{file.name}:{factory}", made, (), "", "", "")


def certify(
    text: str,
    shape: Sequence[int] | None = None,
    axes: str | None = None,
    values: tuple[float, float] | None = None,
    data: str | None = None,
) -> Certificate:
    """The certificate of what a command line names: a known model, a file's factory, or the folder of a run.

    Args:
        shape, axes, values, data: as for `tps_lab.certify`; what the model says of itself where they are None.
    """
    if Path(text).is_dir():
        return _of_run(Path(text), shape, axes, values, data)
    subject = find(text, opened(data).clip_shape[1] if data else None)
    _check_axes(axes, subject.axes, text)
    torch.manual_seed(0)
    try:
        made = subject.make()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a file's factory can fail in any way
        raise InputError(f"{text} could not be built: {plugins.told(error)}") from error
    if isinstance(made, tuple) and len(made) != 2:
        raise InputError(f"{text} gave {len(made)} things, expected the model, or the model and the shape of a clip")
    model, own = made if isinstance(made, tuple) else (made, subject.shape)
    shape, axes = shape or own, axes or subject.axes or None
    if not shape:
        raise InputError(f"{text} does not say what clips it takes: give --shape, e.g. 3x8x32x32")
    return certificates.certify(model, shape, axes=axes, values=values, data=data, name=subject.name)


def _check_axes(given: str | None, known: str, of: str) -> None:
    """Refuse other axes than the known ones: as clips of other axes, a model that is blind would seem to see."""
    if known and given is not None and given.upper().removeprefix("B") != known:
        raise InputError(f"clips of {of} have the axes {known}, not {shortened(given)}: leave --axes out")


def _of_run(
    folder: Path,
    shape: Sequence[int] | None,
    axes: str | None,
    values: tuple[float, float] | None,
    data: str | None,
) -> Certificate:
    _check_axes(axes, "CTHW", str(folder))
    run = runs.open_run(folder)
    on = data or run.config.get("data")
    if not on:
        raise InputError(f"{folder}: config.yaml names no data; give --data")
    model: Any = restore(run, opened(on))
    if shape is not None and tuple(shape) != tuple(model.clip_shape):
        takes, given = ("x".join(map(str, sizes)) for sizes in (model.clip_shape, shape))
        raise InputError(f"the model of {folder} takes clips of {takes}, not {given}: leave --shape out")
    return certificates.certify(
        model, model.clip_shape, axes="CTHW", values=values, data=on, trained=True, name=str(run.row["label"])
    )


def listed() -> list[dict[str, Any]]:
    """The known models as plain data."""
    return [
        {"name": s.name, "clip_shape": list(s.shape), "axes": s.axes, "truth": s.truth, "why": s.why}
        for s in SUBJECTS.values()
    ]


def text() -> str:
    """The known models for a terminal."""
    wide = max(len(name) for name in SUBJECTS) + 2
    return "\n".join(f"{s.name:<{wide}}{s.truth:<21}{s.why}" for s in SUBJECTS.values())
