"""Neighbourhood attention in 3D (NATTEN): a window around every patch, in space and time.

Source: Hassani et al., CVPR 2023, arXiv 2204.07143; dilated, arXiv 2209.15001; generalised to any dimension and
stride, arXiv 2504.16922; code SHI-Labs/NATTEN. The window is centred on the query and pushed inside at the ends
of an axis, so that every query sees equally many keys. With dilation d it takes every d-th place. O(M·window)
pairs are allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.relations import Place, Relation
from tps_lab.errors import InputError


@dataclass(frozen=True)
class Neighbourhood(Relation):
    """Each patch attends to a window of patches around it in space and time; at the ends of the clip and the
    edges of the frame the window is pushed inside.

    Args:
        window_frames: frames of the window; 0 is about half of the clip, 3 at least.
        window: patches along each side; 0 is about half of the frame, 3 at least.
        dilation_frames, dilation: take every d-th frame, every d-th patch.
    """

    name = "natten"
    title = "NATTEN"
    rank, looks = 200, {"": Look("#00798c", "s", "dotted")}

    window_frames: int = 0
    window: int = 0
    dilation_frames: int = 1
    dilation: int = 1

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        time = near(self, "window_frames", query.t, key.t, grid.frames, self.dilation_frames)
        rows = near(self, "window", query.h, key.h, grid.height, self.dilation)
        return time & rows & near(self, "window", query.w, key.w, grid.width, self.dilation)


def near(variant: Any, option: str, query: Any, key: Any, length: int, step: int = 1) -> Any:
    """Whether `key` is in the window of `query` on an axis of `length`, of whose places every `step`-th counts.

    Raises:
        InputError: the window, an option of the variant, is longer than the axis.
    """
    places = length // step
    size = getattr(variant, option) or min(places, max(3, places // 2 | 1))
    if size < 1 or step < 1 or size * step > length:
        fits = f"at most {option}={places}" if 1 <= step <= length else f"a dilation of 1 to {length}"
        raise InputError(f"{variant} does not fit an axis of {length}: {fits} (0 is about half of it)")
    first = np.clip(query // step - size // 2, 0, (length - query % step + step - 1) // step - size)
    return (query % step == key % step) & (key // step >= first) & (key // step < first + size)
