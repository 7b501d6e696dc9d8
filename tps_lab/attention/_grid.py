"""A clip's tokens, and the groups in which they meet. NumPy only.

A partition of the tokens is one line, the group of token (t, h, w); `partition` turns that line into
the order in which tokens are gathered and put back (`Routes`).

Shapes: T frames (after tubelets), H×W patches, P prefix tokens (class token, registers), M tokens in
all, G groups of S slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tps_lab.errors import InputError
from tps_lab.plugins import told

Labels = Callable[[Any, Any, Any], Any]  # (t, h, w) → label of the token's group


class Place(NamedTuple):
    """Frame, row and column of patches: arrays that broadcast against those of another place."""

    t: Any
    h: Any
    w: Any


@dataclass(frozen=True)
class Grid:
    """The tokens of one clip, in the order in which models hold them.

    `prefix_of` says whose the P prefix tokens are. "frame": each frame has its own, in front of
    its patches, as if the frames were separate images. "clip": one set for the whole clip, in
    front of everything (ViViT, TimeSformer).
    """

    frames: int
    height: int
    width: int
    prefix: int = 0
    prefix_of: Literal["frame", "clip"] = "frame"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise InputError(
                f"a picture must be as large as a patch, or larger: this one holds {self.height}×{self.width} patches"
            )

    @property
    def per_frame(self) -> int:
        """Tokens per frame that travel with it."""
        return self.height * self.width + (self.prefix if self.prefix_of == "frame" else 0)

    @property
    def clip_prefix(self) -> int:
        """Prefix tokens that belong to no frame."""
        return self.prefix if self.prefix_of == "clip" else 0

    @property
    def tokens(self) -> int:
        """M: all tokens of the clip."""
        return self.clip_prefix + self.frames * self.per_frame

    def coordinates(self) -> np.ndarray:
        """(t, h, w) of every token that belongs to a frame, int array (3, T·per_frame).

        A frame's prefix tokens have h = w = -1.
        """
        patches = np.indices((self.height, self.width)).reshape(2, -1)
        in_frame = np.concatenate([np.full((2, self.per_frame - patches.shape[1]), -1), patches], axis=1)
        t = np.repeat(np.arange(self.frames), self.per_frame)
        return np.concatenate([t[None], np.tile(in_frame, self.frames)])

    def frames_apart(self, around: bool) -> np.ndarray:
        """How many frames apart two frames are, the shorter way round the clip if `around`: int (T, T)."""
        t = np.arange(self.frames)
        apart = np.abs(t[:, None] - t)
        return np.minimum(apart, self.frames - apart) if around else apart

    def route(self, routes: Callable[[Grid], Routes]) -> Routes:
        """A mixer's routes on this grid; a grid cut into windows asks per window."""
        return routes(self)


@dataclass(frozen=True, eq=False)
class Routes:
    """Where tokens go to meet, and where the results go afterwards.

    Indices count the T·per_frame tokens of `Grid.coordinates`; -1 means "a zero".

    Args:
        gather: (G, S), which token fills each slot of each group.
        scatter: (T·per_frame,), which slot of the flattened G·S every token reads its result from.
        regions: (G, S), or None: slots of a group see each other only where these labels are equal.
            For groups that hold several neighbourhoods (rolled windows) or holes (-1).
    """

    gather: np.ndarray
    scatter: np.ndarray
    regions: np.ndarray | None = None

    def may_see(self, prefix: int = 0) -> np.ndarray | None:
        """The attention mask of every group with `prefix` more tokens in front: bool (G, S', S').

        None where all see all. A prefix token sees all but holes and is seen by all; a hole sees
        holes, so that no row of a softmax is empty.
        """
        if self.regions is None:
            return None
        groups, slots = self.regions.shape
        mask = np.ones((groups, prefix + slots, prefix + slots), bool)
        mask[:, prefix:, prefix:] = self.regions[:, :, None] == self.regions[:, None]
        mask[:, :prefix, prefix:] = (self.regions >= 0)[:, None]
        return mask

    @property
    def is_permutation(self) -> bool:
        """Every token sits in exactly one slot and reads its result from that same slot."""
        flat = self.gather.ravel()
        return flat.size == self.scatter.size and bool(np.array_equal(flat[self.scatter], np.arange(flat.size)))

    @property
    def is_identity(self) -> bool:
        """Tokens already stand in the right order: grouping them is a reshape."""
        in_order = np.arange(self.scatter.size)
        return np.array_equal(self.gather.ravel(), in_order) and np.array_equal(self.scatter, in_order)


def partition(grid: Grid, group: Labels, region: Labels | None = None, pad: bool = False) -> Routes:
    """Routes for "attention inside the groups", `group` being the one line of the variant.

    Args:
        group: label of the group that token (t, h, w) belongs to.
        region: label, 0 or more, of the part of its group that a token sees; None is all of it.
        pad: fill smaller groups up with holes that no token sees; their cost is counted.

    Raises:
        InputError: the groups are not all of one size (one batched attention needs that).
    """
    t, h, w = grid.coordinates()
    try:
        given = np.asarray(group(t, h, w))
    except Exception as error:
        raise InputError(f"a partition's line fails: {told(error)}") from error
    if given.shape not in ((), t.shape):
        raise InputError(f"a partition gives a label to each of {t.size} tokens, or one to all, got {given.shape}")
    labels = np.broadcast_to(given, t.shape)
    _, groups, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(set(sizes)) > 1 and not pad:
        raise InputError(f"one batched attention needs groups of equal size, got sizes {sorted(set(sizes.tolist()))}")
    order = np.argsort(labels, kind="stable")
    # the slot of each token: where its group begins, and its place among the tokens of the group
    place = np.arange(t.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    scatter = np.empty_like(order)
    scatter[order] = groups[order] * sizes.max() + place
    gather = np.full(len(sizes) * sizes.max(), -1)
    gather[scatter] = np.arange(t.size)
    gather = gather.reshape(len(sizes), -1)
    if region is None and not (gather < 0).any():
        return Routes(gather, scatter)
    regions = np.full(gather.size, -1)
    regions[scatter] = 0 if region is None else region(t, h, w)
    return Routes(gather, scatter, regions.reshape(gather.shape))
