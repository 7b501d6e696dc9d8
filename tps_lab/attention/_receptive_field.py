"""The receptive field of one token: `Variant.influence` for a single row, in milliseconds. NumPy only.

A matrix of all pairs has (T·H·W)² entries: 10 million for 16 frames of 14×14 patches, too many to
multiply while somebody drags a slider. One token's row needs sets only: what it reads from in the
last step, what those read from in the step before, and so on back to the input.
"""

from __future__ import annotations

import numpy as np

from tps_lab.attention._core import Mixer, Variant
from tps_lab.attention._grid import Grid


def receptive_field(variant: Variant, grid: Grid, depth: int, token: int) -> list[np.ndarray]:
    """All tokens that can influence one token after 0, 1, … `depth` blocks: bool (M,) each, residuals counted.

    The model grows at its end: after n blocks means after the first n of `depth`.

    Args:
        token: in the order of `Grid`, 0 to M - 1.
    """
    steps = [_steps(variant, grid, index, depth) for index in range(depth)]
    found = []
    for blocks in range(depth + 1):
        field = np.zeros(grid.tokens, bool)
        field[token] = True
        for step in reversed([step for block in steps[:blocks] for step in block]):
            field = field | step.sources(field)
        found.append(field)
    return found


class _Step:
    """One mixing step: from a set of readers to all that they read."""

    def __init__(self, mixer: Mixer, grid: Grid, skipped: int = 0) -> None:
        self.mixer, self.grid, self.skipped = mixer, grid, skipped
        if not mixer.is_partition:
            self.matrix = mixer.sees(grid)
            return
        routes = grid.route(mixer.routes)
        groups, slots = routes.gather.shape
        rows = np.repeat(np.arange(groups), slots)
        if routes.regions is not None:
            pairs = np.stack([rows, routes.regions.ravel()])
            rows = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
        real = routes.gather.ravel() >= 0
        self.held, self.row_of_held = routes.gather.ravel()[real], rows[real]
        self.read = np.where(routes.scatter >= 0, rows[routes.scatter], -1)  # the part that a token reads
        self.parts = int(rows.max()) + 1

    def sources(self, readers: np.ndarray) -> np.ndarray:
        full = np.zeros_like(readers)
        full[self.skipped :] = self._of_those_in_it(readers[self.skipped :])
        return full

    def _of_those_in_it(self, readers: np.ndarray) -> np.ndarray:
        if not self.mixer.is_partition:
            return self.matrix[readers].any(0)
        p = self.grid.clip_prefix
        prefix, inside = readers[:p], readers[p:]
        parts = np.zeros(self.parts, bool)
        read = self.read[inside]
        parts[read[read >= 0]] = True
        if prefix.any():
            parts[:] = True
        field = np.zeros(len(inside), bool)
        field[self.held[parts[self.row_of_held]]] = True
        if self.mixer.content_from != (0,):
            frames = field.reshape(self.grid.frames, -1)
            moved = np.zeros_like(frames)
            for offset in self.mixer.content_from:  # frame t holds what was in t + offset
                source = np.arange(self.grid.frames) + offset
                valid = (source >= 0) & (source < self.grid.frames)
                moved[source[valid]] |= frames[valid]
            field = moved.ravel()
        clip_level = np.full(p, parts.any())
        return np.concatenate([clip_level, field])


def _steps(variant: Variant, grid: Grid, index: int, depth: int) -> list[_Step]:
    *extra, last = variant.block(index, depth)
    steps = [
        (mixer, _Step(mixer, mixer.step_grid(grid), grid.tokens - mixer.step_grid(grid).tokens)) for mixer in extra
    ]
    before = [step for mixer, step in steps if mixer.place == "before"]
    after = [step for mixer, step in steps if mixer.place == "after"]
    return [*before, _Step(last, grid), *after]
