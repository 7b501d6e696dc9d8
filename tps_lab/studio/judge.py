"""What can be said about a pattern at once, from its tile, the border and the numbers of frames and blocks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tps_lab.attention import Grid, parse, receptive_field
from tps_lab.measure.caching_allocator import WORKSPACE_ON_HOPPER
from tps_lab.measure.cuda_kernels import Gpu, sum_buffer
from tps_lab.patterns import Border, ShiftPattern

CHANNELS, BATCH = 384, 8  # of the ViT-S whose costs are shown, and clips of its training step
_MLP = 4  # hidden width, in C
_IN_BLOCK = 8 + 2 * _MLP  # 16, see above
_AT_PEAK = _MLP + 1
_ADAM = 2  # states per weight
WORKSPACES = 2 * WORKSPACE_ON_HOPPER  # of forward's and of backward's thread


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


def symmetry(pattern: ShiftPattern, border: Border) -> str:
    """Which changes of the order of frames leave such a model's answer as it is: "any order", "cyclic" (a clip
    that starts at another frame and goes on around) or "none".

    Of a model without a temporal position embedding, whose other parts treat frames alike.
    """
    if len(pattern.offsets) == 1 and (pattern.offsets == (0,) or border == "circular"):
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
        "symmetry": symmetry(pattern, border),
        "macs": variant.macs(grid, blocks, CHANNELS),
        # there and back, each read and written, 4 bytes a number
        "moved_bytes": 2 * 2 * 4 * grid.tokens * CHANNELS * shifts if pattern.offsets != (0,) else 0,
        "training_bytes": training_bytes(frames, rows, columns, blocks, CHANNELS, BATCH),
    }


def training_bytes(
    frames: int, rows: int, columns: int, depth: int, channels: int, batch: int = 8, patch: int = 16, classes: int = 174
) -> int:
    """Peak bytes of a training step of a ViT on clips of `frames` × `rows` × `columns` patches, by hand, at once.

    Counted are float32 tensors of a plain ViT under AdamW with fused attention, in units of one token's C
    channels. Backward needs of every block: its input, the first norm's result, queries, keys and values (3),
    the attention's result, the input of the second norm, that norm's result, and the MLP's 4 C twice (before
    and after its activation): 16 C. Outside of blocks stand the clip's pixels, the embedded patches and the
    last norm. The peak is at the start of backward, where the last MLP's gradients join (5 C, and those of one
    weight). cuBLAS has its workspaces besides. Statistics of norms and of the softmax, and what memory blocks
    have to spare, are left out, about 2 %. A test holds the figure within 3 % of the prediction.

    The same for spatial attention and patch shift, but for the shift's table of places;
    `tps_lab.measure.predicted_memory` runs the real step.
    """
    tokens, pixels = batch * frames * rows * columns, 3 * patch * patch
    block = (4 + 2 * _MLP) * channels**2 + (9 + _MLP) * channels  # weights, biases and norms
    weights = depth * block + (pixels + 1 + rows * columns + 2) * channels + (channels + 1) * classes
    floats = tokens * (depth * _IN_BLOCK * channels + pixels + (2 + _AT_PEAK) * channels)
    buffer = sum_buffer((tokens, channels), (channels, 1), [0], gpu=Gpu())
    return 4 * (floats + (1 + _ADAM) * weights + _MLP * channels**2) + buffer + WORKSPACES
