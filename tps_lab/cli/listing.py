"""What there is and what it costs, as text for a terminal and as plain data for `--json`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tps_lab.patterns import ShiftPattern, gallery
from tps_lab.specs import Spec
from tps_lab.text import counted

KINDS = ("patterns", "attention", "data", "backbones", "ablations", "recipes", "settings", "executors")


def entries(kind: str) -> list[dict[str, Any]]:
    """What there is of one of `KINDS`: name, about, and what such a thing has besides."""
    if kind == "patterns":
        return [
            {"name": p.name, "about": p.note, "tile": p.text, "frames_mixed": p.frames_mixed} for p in gallery.values()
        ]
    if kind == "attention":
        from tps_lab.attention import variants

        return [_spec(name, cls) | {"stated": cls.stated} for name, cls in variants().items()]
    if kind == "data":
        from tps_lab.data import data_sets

        return [_spec(name, cls) for name, cls in data_sets().items()]
    if kind == "backbones":
        from tps_lab.backbones import PAPER, SMALL, backbones

        about = dict.fromkeys(SMALL, "small, ours") | dict.fromkeys(PAPER, "the TPS paper's, 32 frames, tubelet 2")
        return [{"name": name, "about": about.get(name, "timm")} for name in backbones()]
    if kind == "ablations":
        from tps_lab.ablate import grid

        return [{"name": str(file), "about": grid.about(file)} for file in grid.find()]
    if kind == "recipes":
        from tps_lab import recipes

        return [{"name": name, "about": recipes.about(name)} for name in recipes.names()]
    if kind == "settings":
        from tps_lab.training.config import keys

        inside = "every option of the {}, such as {}; see: tps-lab list {}"
        more = {
            "attention.…": inside.format("variant", "attention.pattern=A", "attention"),
            "data.…": inside.format("data set", "data.frames=8", "data"),
            "backbone.…": inside.format("backbone", "backbone.depth=6", "backbones"),
        }
        return [{"name": key, "about": about} for key, about in (keys() | more).items()]
    from tps_lab.ablate.executors import OPTIONS

    return [
        {"name": name, "about": "; ".join(f"{key}: {what}" for key, what in options.items()) or "no options"}
        for name, options in OPTIONS.items()
    ]


def _spec(name: str, cls: type[Spec]) -> dict[str, Any]:
    return {"name": name, "about": cls.summary(), "options": {k: str(f.default) for k, f in cls.options().items()}}


def text(found: Mapping[str, list[dict[str, Any]]], short: bool) -> str:
    """Listings as text; short shows one line an entry and few backbones."""
    parts = []
    for kind, entries in found.items():
        parts.append(f"{kind} ({len(entries)})")
        shown = entries[:6] if short and kind == "backbones" else entries
        width = max((len(entry["name"]) for entry in shown), default=0)
        for entry in shown:
            about = entry.get("about", "")
            if not short and entry.get("stated"):
                about += f" {entry['stated']}"
            if short:
                about = textwrap.shorten(about, 90, placeholder=" …")
            parts.append(f"  {entry['name']:<{width}}  {about}")
            if not short and entry.get("options"):
                options = ", ".join(f"{k}={v}" for k, v in entry["options"].items())
                parts.append(" " * (width + 4) + f"({options})")
            if not short and entry.get("tile"):
                parts.append(" " * (width + 4) + entry["tile"])
        if len(shown) < len(entries):
            parts.append(f"  … and {len(entries) - len(shown)} more: tps-lab list {kind}")
        parts.append("")
    return "\n".join(parts).rstrip()


def pattern_facts(pattern: ShiftPattern, height: int, width: int, frames: int, border: Any) -> dict[str, Any]:
    """What a pattern is and does on a grid of patches and a clip length."""
    source = pattern.source_frames(frames, height, width, border)
    middle = source[frames // 2]
    return {
        "name": str(pattern) if str(pattern) in gallery else "custom",
        "tile": [list(row) for row in pattern.tile],
        "frames_mixed": pattern.frames_mixed,
        "shifted_share": round(pattern.shifted_share, 4),
        "reach": pattern.reach(),
        "reach_without_shift_back": pattern.reach(shift_back=False),
        "reach_after_layers": {layers: pattern.reach(layers) for layers in (1, 2, 4, 6)},
        "grid": [height, width],
        "frames": frames,
        "border": border,
        "shifted_patches": int((pattern.offsets_on(height, width) != 0).sum()),
        "patches": height * width,
        "frames_in_middle_frame": sorted(int(f) for f in np.unique(middle[middle >= 0])),
    }


def pattern_text(
    pattern: ShiftPattern,
    facts: Mapping[str, Any],
    most: int | None = None,
    paint: Callable[[int, str], str] = lambda offset, word: word,
) -> str:
    """A pattern for the terminal: tile, mosaic, facts.

    Args:
        most: columns of the terminal; a mosaic that is wider ends with "…".
        paint: (offset, its text) → the text in its colour.
    """
    height, width = facts["grid"]

    def drawn(offsets: np.ndarray) -> str:
        words = [[f"{k:+d}" if k else "·" for k in row] for row in offsets.tolist()]
        wide = max(len(word) for row in words for word in row) + 1
        shown = len(words[0]) if most is None else max(1, (most - 4) // wide)
        lines = []
        for row, texts in zip(offsets.tolist(), words, strict=True):
            cells = (paint(k, f"{word:>{wide}}") for k, word in zip(row[:shown], texts[:shown], strict=True))
            lines.append(" " + "".join(cells) + " …" * (shown < len(row)))
        return "\n".join(lines)

    after = ", ".join(f"{reach} after {layers}" for layers, reach in facts["reach_after_layers"].items())
    frames = facts["frames"]
    # on a ring of 16 frames, 8 back is 8 ahead
    here = min(len({k % frames if facts["border"] == "circular" else k for k in pattern.offsets}), frames)
    few = f" in a longer clip, {here} in one of {counted(frames, 'frame')}" if facts["frames_mixed"] > here else ""
    return "\n".join(
        [
            f"pattern {facts['name']}" + (f": {pattern.note}" if pattern.note else ""),
            "",
            "tile (from how many frames earlier each patch comes)",
            drawn(np.array(pattern.tile)),
            "",
            f"on {height}×{width} patches",
            drawn(pattern.offsets_on(height, width)),
            "",
            f"frames mixed   {facts['frames_mixed']}" + few,
            f"shifted share  {100 * facts['shifted_share']:.1f} % of the tile, "
            f"{facts['shifted_patches']} of {facts['patches']} patches",
            f"reach          {facts['reach']} frames per layer, {facts['reach_without_shift_back']} without shift back",
            f"               {after} layers, with tokens of a frame meeting in between",
            f"border         {facts['border']}: mixed frame {facts['frames'] // 2} of {facts['frames']} holds frames "
            + ", ".join(map(str, facts["frames_in_middle_frame"])),
        ]
    )
