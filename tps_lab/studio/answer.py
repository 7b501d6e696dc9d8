"""From what the studio is asked to what it shows, as plain data. Every field's mistake becomes a message."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tps_lab.attention import Grid, parse
from tps_lab.errors import InputError
from tps_lab.patterns import BORDERS, ShiftPattern
from tps_lab.studio import clips, judge
from tps_lab.studio.memory import training_bytes
from tps_lab.viz.mosaics import offset_colour

CHANNELS, BATCH = 384, 8  # of the ViT-S whose costs are shown, and clips of its training step
_LIMITS = {"rows": (1, 32), "columns": (1, 32), "frames": (2, 64), "depth": (1, 24), "every": (1, 4)}


@dataclass(frozen=True)
class Asked:
    """All that can be chosen.

    Args:
        pattern: what mixes.
        rows, columns: of patches in a frame.
        frames: of the clip.
        depth: blocks of the model.
        every: shift in every k-th block.
        border: what enters at the clip's ends.
        clip: a name of `clips.names()` or a path.
        frame: which mixed frame is shown.
    """

    pattern: ShiftPattern
    rows: int = 14
    columns: int = 14
    frames: int = 16
    depth: int = 12
    every: int = 2
    border: Any = "circular"
    clip: str = "moving digit"
    frame: int = 8


def read(given: Mapping[str, Any]) -> tuple[Asked | None, dict[str, str]]:
    """What was asked, or what is wrong with it: field → one line."""
    wrong: dict[str, str] = {}
    numbers = {}
    for name, (low, high) in _LIMITS.items():
        try:
            numbers[name] = int(str(given.get(name, getattr(Asked, name))).strip())
            if not low <= numbers[name] <= high:
                raise ValueError
        except ValueError:
            wrong[name] = f"{name} must be a whole number from {low} to {high}, got '{given.get(name)}'"
    if (border := str(given.get("border", "circular"))) not in BORDERS:
        wrong["border"] = f"border must be one of {', '.join(BORDERS)}, got '{border}'"
    try:
        pattern = ShiftPattern.parse(str(given.get("tile", "C")))
        if max(pattern.rows, pattern.columns) > 12:
            raise InputError(f"a tile of {pattern.rows}×{pattern.columns} is too large to edit here: at most 12×12")
        if "frames" in numbers:
            pattern.check_fits(numbers["frames"])
    except InputError as error:
        wrong["tile"] = str(error)
    clip = str(given.get("clip") or clips.names()[0]).strip()
    if not wrong:
        try:
            clips.load(clip, numbers["frames"])
        except InputError as error:
            wrong["clip"] = str(error)
    if wrong:
        return None, wrong
    try:
        frame = int(given.get("frame", numbers["frames"] // 2))
    except (TypeError, ValueError):
        frame = numbers["frames"] // 2
    frame = min(max(frame, 0), numbers["frames"] - 1)
    return Asked(pattern, **numbers, border=border, clip=clip, frame=frame), {}


def answer(asked: Asked) -> dict[str, Any]:
    """All that is shown, ready for JSON; pictures as data URIs of PNG."""
    pattern, grid = asked.pattern, (asked.frames, asked.rows, asked.columns)
    heard = judge.heard_by_the_middle(pattern, grid, asked.depth, asked.every, asked.border)
    clip = clips.load(asked.clip, asked.frames)
    return {
        "tile": [list(row) for row in pattern.tile],
        "text": pattern.text,
        "name": str(pattern) if str(pattern) != pattern.text else "",
        "colours": {str(k): _css(offset_colour(k)) for k in range(-asked.frames + 1, asked.frames)},
        "frame": asked.frame,
        "mixed": _png(mixed(clip, asked)),
        "original": _original(asked.clip, asked.frames, asked.frame),
        "strip": _strip(asked.clip, asked.frames),
        "heard": _png(_heard_picture(heard[-1])),
        "facts": facts(asked, heard),
        "costs_of": f"Costs are those of a ViT-S of {asked.depth} block{'s' * (asked.depth > 1)} in float32.",
        "warnings": judge.warnings(pattern, asked.frames, heard[-1]),
        "copy": copies(asked),
    }


def facts(asked: Asked, heard: list[np.ndarray]) -> list[dict[str, str]]:
    """Name, figure and explanation of each fact."""
    pattern = asked.pattern
    variant: Any = parse("tps", pattern=pattern, every=asked.every, border=asked.border)
    grid = Grid(asked.frames, asked.rows, asked.columns)
    first_full = next((n for n, row in enumerate(heard) if row.all()), None)
    shifted = sum(variant.is_on(index, asked.depth) for index in range(asked.depth))
    macs = variant.macs(grid, asked.depth, CHANNELS)
    memory = training_bytes(asked.frames, asked.rows, asked.columns, asked.depth, CHANNELS, BATCH)
    moved = 2 * 2 * 4 * grid.tokens * CHANNELS * shifted if pattern.offsets != (0,) else 0
    full = f", all after block {first_full}" if first_full is not None else ""
    reach = pattern.reach()
    return [
        _fact("Frames mixed", f"{pattern.frames_mixed}", "distinct frames in one mixed frame"),
        _fact("Shifted patches", f"{100 * pattern.shifted_share:.0f} %", "share of the tile whose offset is not 0"),
        _fact("Unevenness", f"{100 * judge.evenness_gap(pattern):.0f} points", "0: even everywhere; above 40: heaps"),
        _fact("Reach of a layer", f"{reach} frame{'s' * (reach != 1)}", "largest difference between two offsets"),
        _fact("Heard of", f"{100 * heard[-1].mean():.0f} %", f"of the clip's patches by the middle one{full}"),
        _fact("Symmetry", *judge.symmetry(pattern, asked.border)),
        _fact("Attention", f"{macs / 1e9:.2f} G", "multiply-adds per clip, as for spatial attention"),
        _fact("Moved by shifting", f"{moved / 2**20:.0f} MiB", "per clip, read and written; spatial: 0"),
        _fact(
            "Training memory", f"{memory / 2**30:.2f} GiB",
            f"predicted peak of a step of {BATCH} clips with AdamW, as for spatial attention",
        ),
    ]  # fmt: skip


def copies(asked: Asked) -> dict[str, str]:
    """The pattern to take along: as text, for a grid file, as Python."""
    text, variant = asked.pattern.text, parse("tps", pattern=asked.pattern, every=asked.every, border=asked.border)
    return {
        "text": text,
        "yaml": f'attention: ["{variant}"]',
        "python": f'tps_lab.create_model("vit_small_patch16_224", "{variant}", frames={asked.frames})',
    }


# ---------------------------------------------------------------------- pictures


def mixed(clip_THWC: np.ndarray, asked: Asked) -> np.ndarray:
    """The mixed frame in pixels, patches outlined in the colours of their offsets."""
    side = clip_THWC.shape[1]
    source = asked.pattern.source_frames(asked.frames, asked.rows, asked.columns, asked.border)[asked.frame]
    y, x = np.indices((side, side))
    row, column = y * asked.rows // side, x * asked.columns // side
    from_frame = source[row, column]
    pixels = np.where((from_frame >= 0)[..., None], clip_THWC[from_frame, y, x], 0)
    edge = np.zeros((side, side), bool)
    edge[:-1] |= np.diff(row, axis=0) > 0
    edge[:, :-1] |= np.diff(column, axis=1) > 0
    edge[1:] |= np.diff(row, axis=0) > 0
    edge[:, 1:] |= np.diff(column, axis=1) > 0
    offsets = asked.pattern.offsets_on(asked.rows, asked.columns)
    shades = np.array([np.multiply(255, offset_colour(k, palest=0.5)) for k in asked.pattern.offsets])
    which = np.searchsorted(asked.pattern.offsets, offsets)[row, column]
    outlined = edge & (offsets[row, column] != 0)
    return np.where(outlined[..., None], shades[which], pixels).astype(np.uint8)


@lru_cache(maxsize=64)  # writing pictures takes most of the time, and a click in the tile changes neither of these
def _original(clip: str, frames: int, frame: int) -> str:
    return _png(clips.load(clip, frames)[frame])


@lru_cache(maxsize=8)
def _strip(clip: str, frames: int) -> str:
    small = clips.load(clip, frames)[:, ::4, ::4]
    apart = [np.pad(frame, ((0, 0), (0, 2), (0, 0)), constant_values=255) for frame in small]
    return _png(np.concatenate(apart, axis=1))


def _heard_picture(heard_THW: np.ndarray) -> np.ndarray:
    """Frames side by side, a cell per patch: blue heard of, pale not, black the one that asks."""
    frames, height, width = heard_THW.shape
    cells = np.where(heard_THW[..., None], np.array([0, 114, 178]), np.array([236, 236, 236]))
    cells[frames // 2, height // 2, width // 2] = 0
    cell = max(1, 56 // max(height, width))
    cells = np.pad(cells.repeat(cell, 1).repeat(cell, 2), ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=255)
    return np.concatenate(list(cells), axis=1).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels, np.uint8)).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _css(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _fact(name: str, figure: str, about: str) -> dict[str, str]:
    return {"name": name, "figure": figure, "about": about}
