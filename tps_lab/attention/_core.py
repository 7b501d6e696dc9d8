"""Who meets whom: the idea that every attention variant here is built on. NumPy only.

Space-only, joint, divided, axial and patch-shift attention are the same attention inside a
different *partition* of the clip's tokens, and a partition is one line: the group of token
(t, h, w). From that line follow the order in which tokens are gathered (`Routes`, in `_grid.py`)
and, in this file, who sees whom (`Mixer.sees`), how far information gets over depth
(`Variant.reach`) and the multiply-adds (`Mixer.macs`). The module that runs it is in `_modules.py`.
A *relation*, (query, key) → bool, is one line more general; `relations.py` derives the same facts.

Shapes: B clips, T frames (after tubelets), H×W patches, P prefix tokens (class token, registers),
M tokens in all, G groups of S slots, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from tps_lab.attention._grid import Grid, Routes, partition
from tps_lab.attention._look import Look
from tps_lab.attention._meetings import Meetings, meetings_of
from tps_lab.errors import InputError, shortened
from tps_lab.specs import Limits, Spec


@dataclass(frozen=True, eq=False)
class Mixer:
    """One attention: how its tokens are grouped, and what happens to them before.

    Args:
        routes: from a grid to the groups; see `partition`.
        before: optional change of the tokens' content first, x (B, T, per_frame, C) and the
            number of heads to the same shape (channel shift).
        content_from: which frames' content `before` brings to a frame, as offsets in frames; what
            it moves is not a partition, so this fact is stated, not derived.
        place: where an extra step of a block stands, "before" or "after" the block's own attention.
        output: how an extra step starts at zero: by a zero "linear" layer behind it (TimeSformer)
            or by its own output "projection" (ViViT).
        takes_prefix: the clip's prefix tokens take part in an extra step, too.
        bias_moves: a relative position bias goes by where the slots' tokens come from; False: by
            where the slots are, counted in the grid's order.
        rotary: queries and keys are turned by where their tokens stand in (t, h, w).
    """

    # Whether who sees whom follows from `routes` alone; relations and kernels have their own `sees`.
    is_partition: ClassVar[bool] = True
    # Whether a token's row of `made_of` is all that its result goes by; not so where one step follows another.
    row_by_row: ClassVar[bool] = False

    routes: Callable[[Grid], Routes]
    before: Callable[..., Any] | None = None
    content_from: tuple[int, ...] = (0,)
    place: Literal["before", "after"] = "before"
    output: Literal["linear", "projection"] = "linear"
    takes_prefix: bool = False
    bias_moves: bool = True
    rotary: bool = False

    # ------------------------------------------------------------------ copies and pickles

    def __deepcopy__(self, memo: Any) -> Mixer:
        return self  # nothing in it changes

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Its functions cannot be pickled; the variant that it belongs to makes it again (see `Variant.placed`)."""
        if self is frame_by_frame:
            return "frame_by_frame"
        origin = getattr(self, "_origin", None)
        return super().__reduce_ex__(protocol) if origin is None else (_placed_again, origin)

    # ------------------------------------------------------------------ derived facts

    def sees(self, grid: Grid) -> np.ndarray:
        """Which token's input can change which token's output: bool (M, M), row = output.

        The residual branch is not counted, so a row need not contain itself.
        """
        routes = grid.route(self.routes)
        groups, slots = routes.gather.shape
        n = routes.scatter.size
        rows = np.repeat(np.arange(groups), slots)
        if routes.regions is not None:  # a group falls apart into its regions
            pairs = np.stack([rows, routes.regions.ravel()])
            rows = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
        holds = np.zeros((rows.max() + 1, n), bool)  # group × token
        real = routes.gather.ravel() >= 0
        holds[rows[real], routes.gather.ravel()[real]] = True
        seen = np.where(routes.scatter[:, None] >= 0, holds[rows[routes.scatter]], False)
        held = np.array([holds.any(0)])  # all but what a border drops
        if self.content_from != (0,):
            t = grid.coordinates()[0]
            place = np.arange(n) % grid.per_frame
            brings = (place[:, None] == place) & np.isin(t - t[:, None], self.content_from)
            seen, held = compose(seen, brings), compose(held, brings)
        # Clip-level prefix tokens join every group: they see all that is held, and all that attend see them.
        full = np.ones((grid.tokens, grid.tokens), bool)
        full[: grid.clip_prefix, grid.clip_prefix :] = held
        full[grid.clip_prefix :, grid.clip_prefix :] = seen
        full[grid.clip_prefix :, : grid.clip_prefix] = (routes.scatter >= 0)[:, None]
        return full

    def meetings(self, grid: Grid) -> Meetings:
        """How many slots and pairs there are: those that meet, and those that the kernel computes."""
        return meetings_of(grid.route(self.routes), grid.clip_prefix)

    def mask(self, grid: Grid) -> np.ndarray | None:
        """Who may see whom in every group, bool (G, kinds of heads, S, S), clip-level prefix in front; None: all."""
        return self.filled(grid)

    def filled(self, grid: Grid) -> np.ndarray | None:
        """`mask` as far as it only keeps away from slots that hold no token; None: all hold one."""
        mask = self.routes(grid).may_see(grid.clip_prefix)
        return None if mask is None else mask[:, None]

    def macs(self, grid: Grid, channels: int) -> int:
        """Multiply-adds that run: 4·L·C² for QKV and output, 2·pairs·C for the products.

        L counts slots, so a clip's class token counts once per group that it joins; pairs are those
        that the kernel computes, masked ones included.
        """
        found = self.meetings(grid)
        return 4 * found.slots[0] * channels**2 + 2 * found.executed * channels

    def made_of(self, grid: Grid) -> list[np.ndarray] | None:
        """Which relations between tokens it goes by besides its groups, (M, M) each; None if that is not stated.

        If moving frames about changes none of them, and no group, it only renames what is computed.
        """
        t = np.concatenate([np.full(grid.clip_prefix, -1), grid.coordinates()[0]])
        found = [(t >= 0) & (t == t[:, None] + offset) for offset in self.content_from if offset]
        if self.rotary:  # a score depends on how far apart two tokens are that meet; a prefix stands at time 0
            at = np.maximum(t, 0)
            found.append(np.where(self.sees(grid), at - at[:, None], grid.frames))
        return found

    # ------------------------------------------------------------------ as an extra step of a block

    def step_grid(self, grid: Grid) -> Grid:
        """The tokens that take part when this is an extra step."""
        return grid if self.takes_prefix else dataclasses.replace(grid, prefix=0)

    def step_sees(self, grid: Grid) -> np.ndarray:
        """`sees` of an extra step: bool (M, M), prefix tokens that sit out see nothing."""
        part = self.step_grid(grid)
        full = np.zeros((grid.tokens, grid.tokens), bool)
        full[grid.tokens - part.tokens :, grid.tokens - part.tokens :] = self.sees(part)
        return full

    def step_macs(self, grid: Grid, channels: int) -> int:
        """Multiply-adds of an extra step, its zero output layer included."""
        part = self.step_grid(grid)
        return self.macs(part, channels) + (part.tokens * channels**2 if self.output == "linear" else 0)

    # ------------------------------------------------------------------ as a module

    def check(self, attention: Any) -> None:
        """Raise `InputError` if the backbone's attention cannot be mixed this way."""

    def module(self, attention: Any, grid: Grid) -> Any:
        """The torch module that runs a backbone's attention under this mixer, (B, M, C) to the same."""
        from tps_lab.attention._modules import SpaceTimeAttention

        return SpaceTimeAttention(attention, self, grid)

    def step(self, block: Any, grid: Grid) -> Any:
        """The torch module of an extra step beside a backbone's block, residual included."""
        from tps_lab.attention._modules import ExtraStep

        return ExtraStep(block, self, grid)


def _in_frames(grid: Grid) -> Routes:
    return partition(grid, lambda t, h, w: t)


@dataclass(frozen=True, eq=False)
class KernelMixer(Mixer):
    """A mixing that is no partition: a subclass states what `Mixer` derives.

    It has to give `sees` and `macs`, and `mix`, which is what happens between the backbone's QKV
    projection and its output projection. Its sentence in `Variant.stated` tells readers so.
    """

    name: ClassVar[str] = ""
    is_partition = False

    routes: Callable[[Grid], Routes] = _in_frames

    def sees(self, grid: Grid) -> np.ndarray:
        raise NotImplementedError

    def macs(self, grid: Grid, channels: int) -> int:
        raise NotImplementedError

    def meetings(self, grid: Grid) -> Meetings:
        """Slots and pairs from `macs`: projections grow with the square of the channels, products with the channels."""
        once, twice = self.macs(grid, 1), self.macs(grid, 2)
        return Meetings(((twice - 2 * once) // 8,) * 3, ((4 * once - twice) // 4,) * 3)

    def made_of(self, grid: Grid) -> list[np.ndarray] | None:
        return None

    def mix(self, module: Any, x_BMC: Any) -> Any:
        """Normed tokens (B, M, C) to what is projected out, by `KernelAttention` `module`."""
        raise NotImplementedError

    def layers(self, attention: Any) -> dict[str, Any]:
        """Torch modules that it needs besides the backbone's own."""
        return {}

    def module(self, attention: Any, grid: Grid) -> Any:
        from tps_lab.attention._modules import KernelAttention

        return KernelAttention(attention, self, grid)


def compose(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Who sees whom in two steps, the one before first: bool (M, M)."""
    return (after.astype(np.float32) @ before.astype(np.float32)) > 0


@dataclass(frozen=True)
class Variant(Spec):
    """How tokens meet across space and time: one subclass per idea, one file per subclass.

    Its dataclass fields are the ablation axes, the command line's options and the report's
    columns. `blocks` turns them into the mixers of a model of a given depth.
    """

    kind = "attention variant"
    # Raised when the same options compute something else: results of the old are then not taken for new.
    version: ClassVar[int] = 1
    largest: ClassVar[int] = 10_000
    # Off for order-blind and shift variants, whose sense of time should come from the mixing alone.
    temporal_position: ClassVar[bool] = False
    prefix_of: ClassVar[Literal["frame", "clip"]] = "frame"
    needs_class_token: ClassVar[bool] = False
    # Its groups also make sense inside the windows of Swin and its kin, where they restart.
    windowed: ClassVar[bool] = False
    # Which of the facts below are stated by hand in the variant's file, where it is no partition
    # from which they could be derived. Reports and listings print it.
    stated: ClassVar[str] = ""
    # Place in tables and legends: what costs as much as spatial attention stands near it. Without one: at the end.
    rank: ClassVar[int] = 1_000
    # Options → look; "" is that of the defaults. Without one, a spare look that the name chooses.
    looks: ClassVar[Mapping[str, Look]] = {}

    def block(self, index: int, depth: int, stage: int | None = None) -> tuple[Mixer, ...]:
        """The mixers of block `index` of `depth`.

        The last one uses the image model's own attention weights; the others are extra steps with
        weights, norm and residual of their own, which stand before it (or after it: `Mixer.place`).

        Args:
            stage: of a model that has stages, 1 for the first; index and depth then count inside it.
        """
        raise NotImplementedError

    def placed(self, index: int, depth: int, stage: int | None = None) -> tuple[Mixer, ...]:
        """`block` for a model: its mixers know where they are from, so that the model can be pickled."""
        mixers = self.block(index, depth, stage) if stage is not None else self.block(index, depth)
        if not isinstance(mixers, (tuple, list)) or not mixers or not all(isinstance(one, Mixer) for one in mixers):
            raise InputError(f"{self.name}: the mixers of a block are a tuple of Mixer, got {shortened(repr(mixers))}")
        for position, mixer in enumerate(mixers):
            if not hasattr(mixer, "_origin"):  # blocks may share one
                object.__setattr__(mixer, "_origin", (self, index, depth, stage, position))
        return mixers

    def after(self, image_model: Any, grid: Grid) -> Any:
        """A torch module behind the blocks, frame embeddings (B, T, C) to (B, C); None: their mean.

        It has `closed_form_macs()`.
        """
        return None

    # ------------------------------------------------------------------ derived facts

    def influence(self, grid: Grid, depth: int) -> np.ndarray:
        """Which input token can change which output token after `depth` blocks: bool (M, M).

        Residual branches are counted. M² booleans: meant for small grids.
        """
        reached = np.eye(grid.tokens, dtype=bool)
        for index in range(depth):
            reached = _behind(self.mixers_on(grid, index, depth), reached)
        return reached

    def mixers_on(self, grid: Grid, index: int, depth: int) -> list[np.ndarray]:
        """Who sees whom in each mixer of a block, in the order in which they stand."""
        *extra, last = self.block(index, depth)
        before = [mixer.step_sees(grid) for mixer in extra if mixer.place == "before"]
        after = [mixer.step_sees(grid) for mixer in extra if mixer.place == "after"]
        return [*before, last.sees(grid), *after]

    @property
    def ends_meet(self) -> bool:
        """Whether its shift brings a clip's last frame beside the first: a circular border."""
        return getattr(self, "border", None) == "circular"

    def reach(self, grid: Grid, depth: int, influence: np.ndarray | None = None) -> int:
        """How many frames away, at most, a token is influenced from after `depth` blocks; the shorter way round the
        clip where its ends meet.

        Args:
            influence: what `influence` gives, if it is known.
        """
        t = grid.coordinates()[0]
        influence = self.influence(grid, depth) if influence is None else influence
        apart = grid.frames_apart(self.ends_meet)[t[:, None], t]
        return int((apart * influence[grid.clip_prefix :, grid.clip_prefix :]).max())

    def own_place_after(self, grid: Grid, depth: int) -> int | None:
        """In how few blocks in a row, of `depth`, most patches meet their own place at another time; None: never.

        What moves by less than a patch from frame to frame changes a patch against its own place at another time.
        Most, because a border that repeats the end frames shows it to patches near the ends of the clip.
        """
        p = grid.clip_prefix
        t, place = np.divmod(np.arange(grid.tokens - p), grid.per_frame)
        own = (place[:, None] == place) & (t[:, None] != t) & (place >= grid.prefix - p)
        blocks = [self.mixers_on(grid, index, depth) for index in range(depth)]
        reached = [np.eye(grid.tokens, dtype=bool)] * depth
        for length in range(1, depth + 1):
            before = reached
            reached = []
            for first, seen in enumerate(before[: depth - length + 1]):
                seen = _behind(blocks[first + length - 1], seen)
                if 2 * np.count_nonzero((seen[p:, p:] & own).any(1)) >= grid.frames * grid.height * grid.width:
                    return length
                reached.append(seen)
            if all(np.array_equal(a, b) for a, b in zip(reached, before, strict=False)):
                break  # more of the same brings nobody new
        return None

    def pairs(self, grid: Grid, depth: int) -> dict[str, int]:
        """Pairs of tokens that are "allowed" to meet in `depth` blocks, and those that kernels have "executed"."""
        found = []
        for index in range(depth):
            *extra, last = self.block(index, depth)
            found += [last.meetings(grid), *(mixer.meetings(mixer.step_grid(grid)) for mixer in extra)]
        return {"allowed": sum(one.allowed for one in found), "executed": sum(one.executed for one in found)}

    def macs(self, grid: Grid, depth: int, channels: int) -> int:
        """Multiply-adds of all attention in `depth` blocks, output layers of extra steps included."""
        total = 0
        for index in range(depth):
            *extra, last = self.block(index, depth)
            total += last.macs(grid, channels) + sum(mixer.step_macs(grid, channels) for mixer in extra)
        return total


def _behind(mixers: list[np.ndarray], reached: np.ndarray) -> np.ndarray:
    """What reaches each token behind a block, if `reached` is what reached it before; residual branches counted."""
    everyone = np.eye(len(reached), dtype=bool)
    for mixer in mixers:
        reached = compose(mixer | everyone, reached)
    return reached


@dataclass(frozen=True)
class ScheduledVariant(Variant):
    """A variant that can be switched on in some blocks only; the others are spatial.

    Args:
        every: use it in every k-th block, counting so that the first is spatial for k = 2.
        stages: use it in these stages, 1 to 4 (the paper's table 2c); quarters of the depth in a
            model that has no stages of its own. `every` counts inside each real stage.
    """

    limits: ClassVar[Limits] = {"every": (1, 10_000)}

    every: int = 1
    stages: tuple[int, ...] = (1, 2, 3, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = (self.stages,) if isinstance(self.stages, int) else tuple(self.stages)
        if not stages or not set(stages) <= {1, 2, 3, 4}:
            raise InputError(f"stages must be some of 1, 2, 3, 4, got {self.stages!r}")
        object.__setattr__(self, "stages", tuple(sorted(set(stages))))

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        """The mixers of block `index`, in which the variant is on."""
        raise NotImplementedError

    def is_on(self, index: int, depth: int, stage: int | None = None) -> bool:
        """Whether block `index` of `depth` mixes by this variant."""
        return index % self.every == self.every - 1 and (stage or 1 + 4 * index // depth) in self.stages

    def block(self, index: int, depth: int, stage: int | None = None) -> tuple[Mixer, ...]:
        return self.mixers(index) if self.is_on(index, depth, stage) else (frame_by_frame,)


@dataclass(frozen=True)
class PositionedVariant(ScheduledVariant):
    """A variant whose queries and keys can be turned by their place, instead of a learned embedding of time.

    Args:
        rotary: rotary positions over (t, h, w) in the blocks in which it is on; they turn what image weights do not
            expect, so these are not kept exactly.
    """

    rotary: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotary:
            object.__setattr__(self, "temporal_position", False)

    def turned(self, *mixers: Mixer) -> tuple[Mixer, ...]:
        """The mixers, turned if that was asked for."""
        return tuple(_turned(mixer) for mixer in mixers) if self.rotary else mixers


@lru_cache(maxsize=64)
def _turned(mixer: Mixer) -> Mixer:
    return dataclasses.replace(mixer, rotary=True)


def _placed_again(variant: Variant, index: int, depth: int, stage: int | None, position: int) -> Mixer:
    return variant.placed(index, depth, stage)[position]


# Spatial attention is what every other variant falls back to, so its mixer lives here.
frame_by_frame = Mixer(_in_frames)
