"""Why an image model cannot become a video model, and which ones can."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError

if TYPE_CHECKING:
    from torch import nn

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
