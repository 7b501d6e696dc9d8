"""A model as far as proofs go: its symmetry and its reach, from who attends to whom."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from timm.models.vision_transformer import VisionTransformer

from tps_lab.attention._core import Mixer, Variant
from tps_lab.attention._grid import Grid
from tps_lab.backbones.vit import VideoViT
from tps_lab.explain.symmetry import Order, Symmetry, swaps
from tps_lab.text import counted

_MOST_TOKENS = 4000  # who influences whom is a table of tokens × tokens


@dataclass(frozen=True, eq=False)
class Mixing:
    """A model as far as proofs go.

    Args:
        variant, grid, depth: how its tokens meet, which tokens, how many blocks.
        temporal_position: it has a learned embedding per time step.
        pools_jointly: the head pools a frame's tokens by something else than their mean or class token.
        frames_meet_behind: a module behind the blocks mixes all frames (factorised encoder); without a
            time embedding it treats them as a set.
        reads_class_tokens: the head reads the class token alone, so the last block matters as far as it shows there.
        tubelet: frames in a time step of the grid.
        outside: why nothing can be proved about this backbone; empty if something can.
    """

    variant: Variant
    grid: Grid
    depth: int
    temporal_position: bool
    pools_jointly: bool = False
    frames_meet_behind: bool = False
    reads_class_tokens: bool = False
    tubelet: int = 1
    outside: str = ""

    @property
    def blocks(self) -> str:
        """How many, in words."""
        return counted(self.depth, "block")

    @cached_property
    def mixers(self) -> list[tuple[Mixer, Grid, bool]]:
        """Every different attention of the model, the tokens that take part in it, and whether the head follows at
        once, so that what it gives to other tokens than the class tokens is read by nobody."""
        return self._mixers(range(self.depth))

    def _mixers(self, blocks: range) -> list[tuple[Mixer, Grid, bool]]:
        found: dict[tuple[Mixer, bool], Grid] = {}
        for index in blocks:
            *extra, last = self.variant.block(index, self.depth)
            found |= {(mixer, False): mixer.step_grid(self.grid) for mixer in extra}
            found[last, self.reads_class_tokens and index == self.depth - 1] = self.grid
        return [(mixer, grid, before_head) for (mixer, before_head), grid in found.items()]

    def keeps(self, order: Order) -> bool:
        """Whether the model gives a clip and the clip in this order of frames the same answer, whatever its weights.

        Args:
            order: (T,), a permutation of the time steps.
        """
        if np.array_equal(order, range(self.grid.frames)):
            return True
        if self.outside or self.temporal_position:
            return False
        return all(_keeps(*mixer, np.asarray(order)) for mixer in self.mixers)

    @cached_property
    def symmetry(self) -> Symmetry:
        """Which rearrangements of time steps leave the answer as it is, whatever the weights."""
        return Symmetry.find(self.grid.frames, self.keeps)

    @property
    def symmetry_of_frames(self) -> Symmetry:
        """Which rearrangements of frames do so."""
        return self.symmetry.in_frames(self.tubelet)

    @property
    def order_from(self) -> str:
        """Where in the model order begins to matter; empty if nowhere, or if nothing is proved."""
        if self.outside or self.symmetry.blind:
            return ""
        if self.temporal_position and not self.frames_meet_behind:
            return "before block 0"
        for index in range(self.depth):
            for order in swaps(self.grid.frames):
                if not all(_keeps(*mixer, order) for mixer in self._mixers(range(index, index + 1))):
                    return f"block {index}"
        return "behind the last block" if self.temporal_position else ""

    @cached_property
    def windows(self) -> list[np.ndarray]:
        """For each place of a token in its frame, which frames influence it: bool (T, T), row = its time.

        Empty if a token of the whole clip carries the answer, or frames meet behind the blocks.
        """
        if self.outside or self.grid.clip_prefix or self.frames_meet_behind:
            return []
        influence = self.variant.influence(self.grid, self.depth)
        t, n = self.grid.frames, self.grid.per_frame
        frames: np.ndarray = np.any(influence.reshape(t, n, t, n), axis=3)  # (T, places, T)
        if self.pools_jointly:
            frames = np.any(frames, axis=1, keepdims=True)
        return list({frames[:, place].tobytes(): frames[:, place] for place in range(frames.shape[1])}.values())

    @cached_property
    def _apart(self) -> np.ndarray:
        """How far apart two frames are."""
        grid = dataclasses.replace(self.grid, frames=self.tubelet * self.grid.frames)
        return grid.frames_apart(around=self.symmetry.period == 1 or self.variant.ends_meet)

    @property
    def reach(self) -> int | None:
        """How many frames away from its own, at most, a token is influenced from; None if the answer sees all frames
        together."""
        steps, frames = self.grid.frames, self.tubelet
        apart = self._apart.reshape(steps, frames, steps, frames).min(1).max(-1)  # of a step's furthest frame
        return max(int((apart * window).max()) for window in self.windows) if self.windows else None

    @cached_property
    def distances(self) -> list[int]:
        """How far apart frames are that influence one token, 0 included; empty if the answer sees all together."""
        rows = {row.tobytes(): np.repeat(row, self.tubelet) for window in self.windows for row in window}
        return sorted({int(d) for row in rows.values() for d in np.unique(self._apart[np.ix_(row, row)])})

    @property
    def span(self) -> int | None:
        """The largest of `distances`; None as for `reach`."""
        return max(self.distances, default=None)

    @cached_property
    def own_place_after(self) -> int | None:
        """In how few blocks in a row most patches meet their own place at another time; None if they never do."""
        return self.variant.own_place_after(self.grid, self.depth)

    @property
    def components(self) -> int:
        """Into how many sets of tokens the clip falls that never exchange anything; 1 if all meet."""
        from scipy.sparse.csgraph import connected_components

        if self.outside or self.frames_meet_behind:
            return 1
        return int(connected_components(self.variant.influence(self.grid, self.depth), directed=False)[0])

    def alike(
        self, one: Sequence[int] | np.ndarray, other: Sequence[int] | np.ndarray
    ) -> Literal["", "symmetry", "reach"]:
        """Why two clips must get the same answer; empty if nothing forces it.

        Args:
            one, other: (T,), which picture each time step shows.
        """
        a, b = np.asarray(one), np.asarray(other)
        if self.outside:
            return ""
        if self.symmetry.joins(a, b):
            return "symmetry"
        if self.windows and all(self._seen(a, window) == self._seen(b, window) for window in self.windows):
            return "reach"
        return ""

    def _seen(self, clip: np.ndarray, window: np.ndarray) -> Counter[Any]:
        """How often each content of a window is seen; counted by its place too, as far as places differ."""
        frames = len(clip)
        found: Counter[Any] = Counter()
        for s in range(frames):
            later = np.flatnonzero(np.roll(window[s], -s))  # where the window lies, seen from its token
            found[s % self.symmetry.period, later.tobytes(), clip[(s + later) % frames].tobytes()] += 1
        return found


def _keeps(mixer: Mixer, grid: Grid, before_head: bool, order: np.ndarray) -> bool:
    """Whether renaming tokens by a permutation of frames leaves who attends to whom as it is.

    Args:
        before_head: only the class tokens are read of the result.
    """
    n, tokens, p = grid.per_frame, grid.frames * grid.per_frame, grid.clip_prefix
    moved = (order[:, None] * n + np.arange(n)).ravel()  # token → where its frame's content comes from
    made_of = mixer.made_of(grid)
    if made_of is None:
        return False  # stated, not derived: nothing to try a permutation on
    everyone = np.concatenate([np.arange(p), p + moved])
    read = slice(p if before_head and p and mixer.row_by_row else None)
    if not all(np.array_equal(seen[everyone[read]][:, everyone], seen[read]) for seen in made_of):
        return False
    if not mixer.is_partition:
        return True
    routes = grid.route(mixer.routes)
    keys = np.zeros((tokens, tokens + 1), int)  # how often each token, or a zero, is a key of each token's result
    query = np.full(tokens, -1)
    _, slots = routes.gather.shape
    for token, slot in enumerate(routes.scatter):
        if slot < 0:
            continue
        group, place = divmod(int(slot), slots)
        visible = routes.gather[group]
        if routes.regions is not None:
            visible = visible[routes.regions[group] == routes.regions[group, place]]
        keys[token] = np.bincount(visible % (tokens + 1), minlength=tokens + 1)
        query[token] = routes.gather[group, place] % (tokens + 1)
    ahead = np.append(moved, tokens)
    renamed = np.where(query >= 0, ahead[query], -1)
    return np.array_equal(query[moved], renamed) and np.array_equal(keys[moved][:, ahead], keys)


def mixing(model: Any) -> Mixing:
    """A video model of `create_model`, as far as proofs go."""
    variant, image_model = model.variant, model.image_model
    if not isinstance(model, VideoViT) or type(image_model) is not VisionTransformer:
        outside = f"a {type(image_model).__name__} has positions or windows of its own, which proofs do not cover"
        steps = Grid(model.frames // model.tubelet, 1, 1)
        return Mixing(variant, steps, 1, False, tubelet=model.tubelet, outside=outside)
    outside = ""
    if model.grid.tokens > _MOST_TOKENS:
        outside = f"{model.grid.tokens:,} tokens are more than proofs look at ({_MOST_TOKENS:,}); take a smaller size"
    return Mixing(
        variant,
        model.grid,
        len(image_model.blocks),
        temporal_position=model.temporal_embed is not None,
        pools_jointly=image_model.global_pool not in ("token", "avg"),
        frames_meet_behind=model.after is not None,
        reads_class_tokens=image_model.global_pool == "token",
        tubelet=model.tubelet,
        outside=outside,
    )
