"""What can be said about a pattern at once, from its tile, the border and the numbers of frames and blocks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tps_lab.attention import Grid, parse
from tps_lab.attention._heard import heard_of
from tps_lab.patterns import Border, ShiftPattern, gallery


@lru_cache(maxsize=64)
def evenness_gap(pattern: ShiftPattern) -> float:
    """How unevenly offsets lie: largest difference between an offset's share near some place and overall.

    "Near" is a 3×3 neighbourhood of the repeated tile. 0 is perfectly even (every neighbourhood
    holds every offset alike), above 0.4 one can see heaps. The paper asks for an even distribution
    (arXiv 2207.13259, section 3.2) and gives no measure; this one is ours.
    """
    tile = pattern.offsets_on(pattern.rows, pattern.columns)
    gap = 0.0
    for offset in pattern.offsets:
        here = (tile == offset).astype(float)
        near = sum(np.roll(here, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
        gap = max(gap, float(np.abs(near - here.mean()).max()))
    return gap


def warnings(pattern: ShiftPattern, frames: int, heard_THW: np.ndarray) -> list[str]:
    """What somebody who draws a pattern would want to be told.

    Args:
        heard_THW: the patches that one has heard of after all blocks.
    """
    said = []
    same = [name for name, known in gallery.items() if known == pattern]
    moved = [
        name for name, known in gallery.items() if name not in same and _is_moved(pattern, known) and pattern != known
    ]
    if same:
        said.append(f"This is the pattern {same[0]}.")
    elif moved:
        said.append(f"This is the pattern {moved[0]}, begun at another corner of its tile.")
    if (gap := evenness_gap(pattern)) > 0.4:
        said.append(
            f"Uneven: somewhere an offset's share of the 3×3 patches around differs by {100 * gap:.0f} points from "
            f"its share of the whole."
        )
    missing = np.flatnonzero(~heard_THW.any((1, 2)))
    if len(missing):
        some = ", ".join(map(str, missing[:6])) + (" …" if len(missing) > 6 else "")
        said.append(f"Never heard of: nothing from {len(missing)} of {frames} frames ({some}) gets to the middle one.")
    return said


def symmetry(pattern: ShiftPattern, border: Border) -> tuple[str, str]:
    """Which changes of the order of frames leave such a model's answer as it is: in two words, and explained.

    Of a model without a temporal position embedding, whose other parts treat frames alike.
    """
    if pattern.offsets == (0,):
        return "any order", "nothing can be learnt from motion: frames never meet"
    if len(pattern.offsets) == 1 and border == "circular":
        return "any order", "all patches are moved alike, so frames stay whole and never meet"
    if border != "circular":
        return "none", "its ends tell the model where the clip begins"
    return "turning", "a clip that starts at another frame and goes on around gets the same answer"


def heard_by_the_middle(
    pattern: ShiftPattern, grid: tuple[int, int, int], depth: int, every: int, border: Border
) -> list[np.ndarray]:
    """What the clip's middle patch has heard of after each block of a ViT: bool (T, H, W) each."""
    frames, height, width = grid
    variant = parse("tps", pattern=pattern, every=every, border=border)
    middle = (frames // 2 * height + height // 2) * width + width // 2
    return [row.reshape(grid) for row in heard_of(variant, Grid(*grid), depth, middle)]


def _is_moved(pattern: ShiftPattern, known: ShiftPattern) -> bool:
    """Whether one tile is the other, rolled."""
    if (pattern.rows, pattern.columns) != (known.rows, known.columns):
        return False
    tile, other = np.array(pattern.tile), np.array(known.tile)
    return any(
        np.array_equal(np.roll(tile, (i, j), (0, 1)), other) for i in range(known.rows) for j in range(known.columns)
    )
