"""How unevenly a pattern's offsets lie, and the memory of a training step by hand; the page computes both, too."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tps_lab.measure.caching_allocator import WORKSPACE_ON_HOPPER
from tps_lab.measure.cuda_kernels import Gpu, sum_buffer
from tps_lab.patterns import ShiftPattern

_PATCH, _CLASSES = 16, 174
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


def training_bytes(frames: int, rows: int, columns: int, depth: int, channels: int, batch: int) -> int:
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
    tokens, pixels = batch * frames * rows * columns, 3 * _PATCH**2
    block = (4 + 2 * _MLP) * channels**2 + (9 + _MLP) * channels  # weights, biases and norms
    weights = depth * block + (pixels + 1 + rows * columns + 2) * channels + (channels + 1) * _CLASSES
    floats = tokens * (depth * _IN_BLOCK * channels + pixels + (2 + _AT_PEAK) * channels)
    buffer = sum_buffer((tokens, channels), (channels, 1), [0], gpu=Gpu())
    return 4 * (floats + (1 + _ADAM) * weights + _MLP * channels**2) + buffer + WORKSPACES
