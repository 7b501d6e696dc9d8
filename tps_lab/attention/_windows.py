"""Attention inside windows: how a variant's groups look on a map that is cut into windows. NumPy only.

A variant says which tokens meet on a grid. In a windowed model it says so on the grid of one
window, (T, window height, window width), so tiles and groups restart in every window by
themselves; this file puts the windows where they belong on the map. Cyclic roll, padding, window
partition and the variant's own regrouping end up in one index, so they are one gather.

Shapes: as in `_core`; A places in a window (height × width), S slots in a group, E extents of a
bias table: it has (2·E_t - 1)·(2·E_h - 1)·(2·E_w - 1) rows, ordered by (Δt, Δh, Δw).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from tps_lab.attention._core import Mixer
from tps_lab.attention._grid import Grid, Routes
from tps_lab.errors import InputError

PositionBias = Literal["diagonal", "frame0"]
Extent = tuple[int, int, int]


@dataclass(frozen=True)
class WindowGrid(Grid):
    """A clip's tokens, and the windows that a block cuts its maps into.

    Args:
        window: (P, height, width). P > 1 lets P successive (mixed) frames of a window attend to
            each other, as Video Swin's windows do.
        roll: (time, down, right), by how much the map is rolled back before it is cut. The parts
            that a window then holds of both ends of the map do not see each other. The map is
            padded with zeros to whole windows, which are seen as timm lets them be seen.
    """

    window: tuple[int, int, int] = (1, 7, 7)
    roll: tuple[int, int, int] = (0, 0, 0)

    @property
    def inside(self) -> Grid:
        """The grid of one window, over all frames."""
        return Grid(self.frames, *self.window[1:])

    @property
    def length(self) -> int:
        """P, or all frames if there are not more."""
        return min(self.window[0], self.frames)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every place of every window, int (windows, A): the patch there (-1 where padded), and its region."""
        patches = np.arange(self.height * self.width).reshape(self.height, self.width)
        patches = np.roll(patches, (-self.roll[1], -self.roll[2]), (0, 1))
        sides = list(zip(patches.shape, self.window[1:], self.roll[1:], strict=True))
        spare = [(0, -size % window) for size, window, _ in sides]
        patches = np.pad(patches, spare, constant_values=-1)
        down, right = (_regions(-(-size // window) * window, window, roll) for size, window, roll in sides)
        return self._cut(patches), self._cut(3 * down[:, None] + right)

    def _cut(self, map_HW: np.ndarray) -> np.ndarray:
        h, w = self.window[1:]
        rows, columns = map_HW.shape[0] // h, map_HW.shape[1] // w
        return map_HW.reshape(rows, h, columns, w).swapaxes(1, 2).reshape(rows * columns, h * w)

    def in_window(self, routes: Callable[[Grid], Routes]) -> Routes:
        """Routes on the grid of one window, with P successive frames merged; regions are the frames'."""
        found, inside, p = routes(self.inside), self.inside, self.length
        if p == 1:
            return found
        if inside.frames % p:
            raise InputError(f"a temporal window of {p} must divide the {inside.frames} frames of tokens")
        if not holds_frames(found, inside):
            raise InputError("a temporal window joins frames, so it needs a variant that attends inside single frames")
        roll = self.roll[0] if p < inside.frames else 0
        area = inside.per_frame
        moved = np.roll(np.arange(found.gather.size).reshape(inside.frames, area), -roll, 0).ravel()
        region = np.repeat(_regions(inside.frames, p, roll), area).reshape(-1, p * area)
        scatter = np.where(found.scatter >= 0, np.argsort(moved)[found.scatter], -1)
        return Routes(found.gather.ravel()[moved].reshape(-1, p * area), scatter, region)

    def route(self, routes: Callable[[Grid], Routes]) -> Routes:
        patch, region = self.places()
        one = self.in_window(routes)
        area = patch.shape[1]
        per_map = self.height * self.width
        # place of every slot; one that holds a border's zero has the place that it stands at
        place = np.where(one.gather >= 0, one.gather, np.arange(one.gather.size).reshape(one.gather.shape)) % area
        there = patch[:, place]  # (windows, groups, S)
        gather = np.where((one.gather >= 0) & (there >= 0), one.gather // area * per_map + there, -1)
        at = np.empty((2, per_map), int)  # window and place of every patch
        real = patch >= 0
        at[:, patch[real]] = np.nonzero(real)
        slot = one.scatter.reshape(self.frames, area)[:, at[1]]
        scatter = np.where(slot >= 0, at[0] * one.gather.size + slot, -1)
        apart = 9 * one.regions + region[:, place] if one.regions is not None else region[:, place]
        return Routes(gather.reshape(-1, one.gather.shape[1]), scatter.ravel(), apart.reshape(-1, one.gather.shape[1]))


def _regions(size: int, window: int, roll: int) -> np.ndarray:
    """Which positions of a rolled axis may see each other: 0 up to the last window, then 1 and 2 for its two parts."""
    at = np.arange(size)
    return np.where(roll > 0, (at >= size - window).astype(int) + (at >= size - roll), 0)


def holds_frames(routes: Routes, grid: Grid) -> bool:
    """Group t is (mixed) frame t, its slots in the frame's own order."""
    place = np.arange(grid.per_frame)
    fits = routes.gather.shape == (grid.frames, grid.per_frame)
    return fits and bool(np.all((routes.gather < 0) | (routes.gather % grid.per_frame == place)))


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """All that a windowed attention needs to know about who meets whom.

    Groups whose slots have the same relative positions and the same mask are of one kind and stand
    together, so that each kind is one call of fused attention with one mask.

    Args:
        routes: of the whole map, groups in the order of their kinds.
        bias_index: int (D, S, S), rows of the bias table, query × key.
        region: int (R, S), which slots see each other.
        kinds: (groups, which of D, which of R) in the order of the groups.
    """

    routes: Routes
    bias_index: np.ndarray
    region: np.ndarray
    kinds: tuple[tuple[int, int, int], ...]
    extent: Extent


@lru_cache(maxsize=32)  # blocks of a stage share theirs
def plan(
    mixer: Mixer, grid: WindowGrid, position_bias: PositionBias = "diagonal", extent: Extent | None = None
) -> WindowPlan:
    """Lay a mixer out on windows.

    Args:
        position_bias: "diagonal", offsets between the tokens of a group (arXiv 2207.13259, section
            3.2); "frame0", offsets to where mixed frame 0 has its keys from, which is what the
            released code computes (its index over frame × frame is sliced [::16], not [::17]).
        extent: of the bias table; 0 asks what the offsets need, None does so for all axes.

    Raises:
        InputError: "frame0" where groups are not single (mixed) frames.
    """
    one = grid.in_window(mixer.routes)
    query = slot_coordinates(mixer, grid, one)
    key = query
    if position_bias == "frame0":
        if grid.length > 1 or not holds_frames(one, grid.inside):
            raise InputError("position_bias=frame0 is the released code's index, for attention inside single frames")
        key = np.broadcast_to(query[:1], query.shape)
    origin = key[:, :1]
    both = np.concatenate([query - origin, key - origin], axis=1)
    apart = np.zeros_like(one.gather) if one.regions is None else one.regions
    kept, bias_of = _distinct(np.concatenate([both.reshape(len(both), -1), apart], axis=1))
    query, key = np.split(both[kept], 2, axis=1)
    slots = query.shape[1]
    meets = apart[kept, :, None] == apart[kept, None]
    needed = [int(np.abs(query[:, :, None, axis] - key[:, None, :, axis])[meets].max()) + 1 for axis in range(3)]
    extent = _extent(needed, grid, extent or (0, 0, 0))
    bias_index = np.zeros((len(kept), slots, slots), int)
    for axis, reach in enumerate(extent):
        # what lies beyond the table are masked pairs only
        offset = np.clip(query[:, :, None, axis] - key[:, None, :, axis], 1 - reach, reach - 1)
        bias_index = bias_index * (2 * reach - 1) + offset + (reach - 1)

    routes = grid.route(mixer.routes)
    assert routes.regions is not None
    kept, which = _distinct(routes.regions)
    # masks are equal up to the regions' names
    region = np.array([np.unique(one, return_inverse=True)[1].reshape(-1) for one in routes.regions[kept]])
    kept_regions, renamed = _distinct(region)
    region_of = renamed[which]
    kind = np.tile(bias_of, len(routes.gather) // len(one.gather)) * len(kept_regions) + region_of
    order = np.argsort(kind, kind="stable")
    rank = np.argsort(order)
    scatter = np.where(routes.scatter >= 0, rank[routes.scatter // slots] * slots + routes.scatter % slots, -1)
    names, counts = np.unique(kind, return_counts=True)
    r = len(kept_regions)
    kinds = tuple((int(n), int(k // r), int(k % r)) for k, n in zip(names, counts, strict=True))
    return WindowPlan(Routes(routes.gather[order], scatter), bias_index, region[kept_regions], kinds, extent)


def slot_coordinates(mixer: Mixer, grid: WindowGrid, one: Routes) -> np.ndarray:
    """(t, h, w) inside the window by which a slot's relative position is counted: int (groups, S, 3).

    Where its token comes from; where the slot itself stands, if the mixer's bias does not move or
    a border has put a zero there.
    """
    inside = grid.inside
    if one.gather.size != inside.tokens:
        return inside.coordinates().T[one.gather]
    # merged frames stand rolled, those from the clip's start after those of its end
    t = np.arange(inside.frames) + (grid.roll[0] if 1 < grid.length < inside.frames else 0)
    own = t[:, None] % inside.frames * inside.per_frame + np.arange(inside.per_frame)
    token = np.where((one.gather >= 0) & mixer.bias_moves, one.gather, own.reshape(one.gather.shape))
    coordinates = inside.coordinates().T[token]
    coordinates[..., 0] += np.repeat(t // inside.frames * inside.frames, inside.per_frame).reshape(token.shape)
    return coordinates


def _extent(needed: list[int], grid: WindowGrid, wanted: Extent) -> Extent:
    t, h, w = needed
    sizes = (t, grid.window[1] if h > 1 else 1, grid.window[2] if w > 1 else 1)
    return tuple(want or size for want, size in zip(wanted, sizes, strict=True))  # type: ignore[return-value]


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First of each distinct row, and for every row which of them it equals; in order of appearance."""
    seen: dict[bytes, int] = {}
    kept: list[int] = []
    which = np.empty(len(rows), int)
    for i, row in enumerate(np.ascontiguousarray(rows)):
        if (text := row.tobytes()) not in seen:
            seen[text] = len(kept)
            kept.append(i)
        which[i] = seen[text]
    return np.array(kept), which
