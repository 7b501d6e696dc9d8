"""What the studio's page says of a pattern, in Python: what its program is held against."""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_lab.attention import Grid, parse, receptive_field
from tps_lab.patterns import Border, ShiftPattern
from tps_lab.studio.judge import evenness_gap, training_bytes

CHANNELS, BATCH = 384, 8  # of the ViT-S whose costs are shown, and clips of its training step


def symmetry(
    pattern: ShiftPattern, border: Border, frames: int, rows: int, columns: int, blocks: int, every: int
) -> str:
    """Which changes of the order of frames leave such a model's answer as it is: "any order", "cyclic" (a clip
    that starts at another frame and goes on around) or "none".

    Of a model without a temporal position embedding, whose other parts treat frames alike.
    """
    shown = np.unique(pattern.offsets_on(rows, columns) % (frames if border == "circular" else 10**6))
    if blocks < every or (len(shown) == 1 and (shown[0] == 0 or border == "circular")):
        return "any order"
    return "cyclic" if border == "circular" else "none"


def receptive_fields(
    pattern: ShiftPattern, grid: tuple[int, int, int], depth: int, every: int, border: Border
) -> list[np.ndarray]:
    """The receptive field of the clip's middle patch after each block of a ViT: bool (T, H, W) each."""
    frames, height, width = grid
    variant = parse("tps", pattern=pattern, every=every, border=border)
    middle = (frames // 2 * height + height // 2) * width + width // 2
    return [row.reshape(grid) for row in receptive_field(variant, Grid(*grid), depth, middle)]


def facts(
    pattern: ShiftPattern, frames: int, rows: int, columns: int, blocks: int, every: int, border: Border
) -> dict[str, Any]:
    """All figures that the page shows of a pattern, under the names that its program has for them.

    Costs are those of a ViT-S: `CHANNELS` wide, float32, `BATCH` clips in a training step.
    """
    grid = Grid(frames, rows, columns)
    variant: Any = parse("tps", pattern=pattern, every=every, border=border)
    fields = receptive_fields(pattern, (frames, rows, columns), blocks, every, border)
    shifts = sum(variant.is_on(index, blocks) for index in range(blocks))
    return {
        "frames_mixed": pattern.frames_mixed,
        "shifted_share": pattern.shifted_share,
        "unevenness": evenness_gap(pattern),
        "reach": pattern.reach(),
        "coverage": [float(after.mean()) for after in fields],
        "first_full": next((n for n, after in enumerate(fields) if after.all()), -1),
        "unreached": np.flatnonzero(~fields[-1].any((1, 2))).tolist(),
        "symmetry": symmetry(pattern, border, frames, rows, columns, blocks, every),
        "macs": variant.macs(grid, blocks, CHANNELS),
        # there and back, each read and written, 4 bytes a number
        "moved_bytes": 2 * 2 * 4 * grid.tokens * CHANNELS * shifts if pattern.offsets != (0,) else 0,
        "training_bytes": training_bytes(frames, rows, columns, blocks, CHANNELS, BATCH),
    }
