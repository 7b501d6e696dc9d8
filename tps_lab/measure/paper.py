"""Published multiply-adds beside those of the models built here: `tps-lab cost --paper`.

Models are built on torch's meta device, without memory for weights, and counted by their closed
form, which other tests hold equal to fvcore's and torch's counters. Counted are linear layers,
convolutions and attention products, padded places included; norms, activations, softmax and sums
are not. All figures are for one view (one clip, one crop).

Sources: arXiv 2207.13259, tables 2e, 3 and 4 (PST); 2106.13230 (Video Swin); 2102.05095 as since
corrected (TimeSformer); 2103.15691, table 2 (ViViT). The PST paper prints whole G, of T and B only;
the tenths that its rows are held to are the same Swins counted by hand: per block 12·N·C² and
2·N·(P·49)·C for N tokens of C channels and windows of P×7×7, per merging 8·N/4·C², the embedding and
the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import timm
import torch

from tps_lab.backbones import videoize
from tps_lab.text import table as table_of

PST, VIDEO_SWIN, TIMESFORMER, VIVIT = "TPS, ECCV 2022", "Video Swin", "TimeSformer", "ViViT"

_NORMS = "the printed figure seems to count norms, activations and softmax too, which are left out here"


@dataclass(frozen=True)
class Published:
    """One published model and how to build it.

    Args:
        name: the row's, as its paper calls it.
        backbone: timm's name.
        clip: (frames, tubelet), at 224 × 224 pixels.
        printed: G as the paper prints it; None where it prints none.
        expected: G to a tenth by hand; None holds the model to `printed`.
        views: that the paper averages its accuracy over, crops × clips; figures are per view.
        explained: why `printed` differs by more than the tolerance or than its own rounding.
    """

    name: str
    source: str
    backbone: str
    attention: str
    clip: tuple[int, int]
    printed: float | None
    expected: float | None = None
    temporal_window: int = 1
    class_token: bool = True
    views: str = "1×1"
    classes: int = 400
    explained: str = ""


# Swin's letter and size; G for windows of 1, 2, 8 and 16 frames by hand, and as the TPS paper prints them; and what
# Video Swin's paper prints for 8
_SWINS: tuple[tuple[str, str, tuple[float, ...], tuple[float | None, ...], float | None], ...] = (
    ("T", "tiny", (72.1, 74.3, 87.8, 105.7), (72, 74, 88, 106), 87.9),
    ("S", "small", (140.1, 143.7, 165.7, 194.9), (None,) * 4, 165.9),
    ("B", "base", (247.2, 252.1, 281.3, 320.4), (247, 252, 282, 321), 281.6),
    ("L", "large", (552.1, 559.4, 603.3, 661.8), (None,) * 4, None),
)
_WINDOWS = (1, 2, 8, 16)


def _swins() -> Iterator[Published]:
    for letter, size, expected, printed, video_swin in _SWINS:
        backbone, clip = f"swin_{size}_patch4_window7_224", (32, 2)
        names = (f"PST-{letter}", f"PST-{letter}†", f"Swin-{letter} local", f"Swin-{letter} joint")
        for name, window, by_hand, figure in zip(names, _WINDOWS, expected, printed, strict=True):
            attention = "tps+tcs(order=tcs-tps)" if window < 8 else "spatial"
            why = _NORMS if letter == "B" and window >= 8 else ""
            yield Published(f"{name} {window}×7×7", PST, backbone, attention, clip, figure, by_hand, window,
                            views="3×1", classes=174, explained=why)  # fmt: skip
        if video_swin is not None:
            yield Published(f"Video Swin-{letter}", VIDEO_SWIN, backbone, "spatial", clip, video_swin,
                            temporal_window=8, views="3×4", explained=_NORMS)  # fmt: skip


# ViT-B's paper and row, attention, (frames, tubelet), printed G, class token, views
_VITS: tuple[tuple[str, str, str, tuple[int, int], float, bool, str], ...] = (
    (TIMESFORMER, "space-only", "spatial", (8, 1), 141, True, "3×1"),
    (TIMESFORMER, "joint", "joint", (8, 1), 180, True, "3×1"),
    (TIMESFORMER, "divided", "divided", (8, 1), 196, True, "3×1"),
    (VIVIT, "model 1, joint", "joint", (32, 2), 455.2, True, "3×4"),
    (VIVIT, "model 2, encoder", "factorised-encoder", (32, 2), 284.4, True, "3×4"),
    (VIVIT, "model 3, self", "factorised-self", (32, 2), 372.3, False, "3×4"),
    (VIVIT, "model 4, dot", "factorised-dot", (32, 2), 277.1, False, "3×4"),
)


def _vits() -> Iterator[Published]:
    for source, name, attention, clip, printed, class_token, views in _VITS:
        yield Published(name, source, "vit_base_patch16_224", attention, clip, printed, class_token=class_token,
                        views=views, explained=_NORMS)  # fmt: skip


def published() -> list[Published]:
    """All rows, the paper's own models first."""
    return [*_swins(), *_vits()]


@lru_cache(maxsize=8)
def _image_model(backbone: str, class_token: bool, classes: int) -> Any:
    options = {} if class_token else {"class_token": False, "global_pool": "avg"}
    with torch.device("meta"):
        return timm.create_model(backbone, num_classes=classes, **options)  # type: ignore[arg-type]


def row(model: Published) -> dict[str, Any]:
    """Build one published model and compare.

    Returns:
        name, source, clip, views, convention, macs (ours, one view), macs_all_views, params, printed_g and
        expected_g, misfit_pct from what the row is held to, tolerance, status "fits", "misfit" or "not
        printed", and note.
    """
    frames, tubelet = model.clip
    image = _image_model(model.backbone, model.class_token, model.classes)
    windowed = {"temporal_window": model.temporal_window} if model.backbone.startswith("swin") else {}
    if model.attention.startswith("tps+tcs"):
        windowed["bias_over_time"] = True
    made: Any = videoize(image, model.attention, frames=frames, tubelet=tubelet, **windowed)  # type: ignore[arg-type]
    macs = sum(made.closed_form_macs().values())
    held_to = model.expected if model.expected is not None else model.printed
    ours = macs / 1e9
    status: Literal["fits", "misfit", "not printed"] = "not printed"
    tolerance, note, misfit = "", "", None
    if held_to is not None:
        allowed, tolerance = (0.1, "0.1 G") if model.expected is not None else (0.01 * held_to, "1 %")
        misfit = round(100 * (ours / held_to - 1), 3)
        status = "fits" if abs(ours - held_to) <= allowed else "misfit"
        # a figure that is printed whole or to a tenth is right to half of its last digit
        half = 0.5 if float(model.printed or 0).is_integer() else 0.05
        if model.printed is not None and abs(ours - model.printed) > half:
            note = f"{ours - model.printed:+.2f} G from the printed {model.printed:g}: {model.explained}"
        if status == "misfit" and not model.explained:
            note = f"{ours - held_to:+.2f} G, and no explanation is known"
    return {
        "name": model.name,
        "source": model.source,
        "clip": f"{frames}×224×224, tubelet {tubelet}",
        "views": model.views,
        "convention": "multiply-adds of one view",
        "macs": macs,
        "macs_all_views": macs * math.prod(int(factor) for factor in model.views.split("×")),
        "params": sum(p.numel() for p in made.parameters()),
        "printed_g": model.printed,
        "expected_g": model.expected,
        "misfit_pct": misfit,
        "tolerance": tolerance,
        "status": status,
        "note": note,
    }


def table() -> list[dict[str, Any]]:
    """`row` of every published model."""
    return [row(model) for model in published()]


def text(rows: list[dict[str, Any]]) -> str:
    """The table for the terminal, misfits and their explanations below it."""
    heads = "model,source,clip,views,params M,ours,by hand,printed,misfit,× views,status".split(",")
    cells = []
    for one in rows:
        shown = [f"{one[key]:g}" if one[key] is not None else "–" for key in ("expected_g", "printed_g")]
        misfit = "–" if one["misfit_pct"] is None else f"{one['misfit_pct']:+.2f} %"
        status = one["status"] + (f" ({one['tolerance']})" if one["tolerance"] else "")
        figures = [f"{one['params'] / 1e6:.1f}", f"{one['macs'] / 1e9:.2f}", *shown, misfit]
        total = f"{one['macs_all_views'] / 1e9:.1f}"
        cells.append([one["name"], one["source"], one["clip"], one["views"], *figures, total, status])
    above = (
        "Multiply-adds of one view (1 clip, 1 crop) in G: linear layers, convolutions, attention products; "
        "× views: of all views."
    )
    notes = [f"  {one['source']}, {one['name']}: {one['note']}" for one in rows if one["note"]]
    found = f"{above}\n\n{table_of(heads, cells, left=(0, 1, 2, 3, 10))}\n"
    return "\n".join([found, *(["Where ours is not the printed figure:", *notes] if notes else [])])
