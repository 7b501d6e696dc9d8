"""Relations: who may look at whom, as one line (query, key) → bool. NumPy only.

A partition says which tokens meet: whoever sees is seen, and two who see a third see each other. The
sparse patterns of video generation and of world models are more general: a window centred on the
query, a frame that looks back only. They are *relations*, and each is one method, `Relation.allows`.
From it follow, as from a partition's line, who sees whom, reach and receptive field, the pairs that
meet, the symmetry and the forward pass: one joint attention under a mask, with the backbone's own
attention and weights.

Two costs: pairs that the relation allows, and pairs that the kernel computes. Masked dense attention,
the default and the reference, computes all of them; `_flex.py` leaves empty blocks out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tps_lab.attention import _flex
from tps_lab.attention._core import Mixer, PositionedVariant
from tps_lab.attention._grid import Grid, Place, Routes
from tps_lab.attention._meetings import Meetings
from tps_lab.attention.joint import all_at_once
from tps_lab.errors import InputError
from tps_lab.plugins import told

Allows = Callable[[Grid, Place, Place], Any]


@dataclass(frozen=True)
class Relation(PositionedVariant):
    """A variant whose patches look at whom `allows` says; a clip's class token sees all and is seen by all."""

    temporal_position = True
    prefix_of = "clip"
    stated = "A relation, no partition: a masked kernel computes all pairs, and of these the relation allows some."

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        """Whether a patch at `query` may look at one at `key`: bool, broadcast over both."""
        raise NotImplementedError

    def kinds(self) -> tuple[Allows, ...]:
        """One relation for all heads; several share the heads out in equal parts."""
        return (self.allows,)

    def block_of(self, grid: Grid, place: Place) -> Any:
        """A number by which patches are sorted before a block-sparse kernel cuts the mask into blocks."""
        return place.t

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return self.turned(_mixer(self, _flex.kernel()))


@lru_cache(maxsize=64)
def _mixer(relation: Relation, kernel: _flex.Kernel) -> RelationMixer:
    # frozen, and one mixer is one mask in every block
    return RelationMixer(name=relation.name, kinds=relation.kinds(), block_of=relation.block_of, kernel=kernel)


@dataclass(frozen=True, eq=False)
class RelationMixer(Mixer):
    """One joint attention in which a query sees the keys that its relation allows.

    Args:
        name: of the variant, for errors.
        kinds: the relations; head n of N has the one numbered n · len(kinds) // N.
        block_of: see `Relation`.
        kernel: what runs it, "dense" or "flex".
    """

    is_partition, row_by_row = False, True

    routes: Callable[[Grid], Routes] = all_at_once.routes
    name: str = ""
    kinds: tuple[Allows, ...] = ()
    block_of: Allows | Callable[[Grid, Place], Any] | None = None
    kernel: _flex.Kernel = "dense"

    def rows(self, grid: Grid, queries: np.ndarray) -> np.ndarray:
        """Whom some tokens see, under each kind: bool (kinds, len(queries), M).

        Raises:
            InputError: the relation does not fit the grid, or lets a patch see nobody.
        """
        p, places = grid.clip_prefix, grid.coordinates()
        found = np.ones((len(self.kinds), len(queries), grid.tokens), bool)
        patches = queries[queries >= p] - p
        query, key = Place(*places[:, patches, None]), Place(*places[:, None])
        for kind, allows in enumerate(self.kinds):
            try:
                said = np.asarray(allows(grid, query, key))
            except Exception as error:
                raise InputError(f"{self.name}: its relation fails: {told(error)}") from error
            if said.dtype != bool:
                raise InputError(f"{self.name}: a relation says true or false of a query and a key, got {said.dtype}")
            try:
                seen = np.broadcast_to(said, shape := (len(patches), places.shape[1]))
            except ValueError:
                raise InputError(
                    f"{self.name}: a relation of {shape[0]} queries and {shape[1]} keys is a table of {shape}, "
                    f"got {said.shape}"
                ) from None
            if not (sees_some := seen.any(1)).all():
                t, h, w = places[:, patches[np.argmin(sees_some)]]
                raise InputError(
                    f"{self.name} lets the patch in frame {t}, row {h}, column {w} see no patch, and a softmax needs "
                    f"at least one: let every patch see itself"
                )
            found[kind, queries >= p, p:] = seen
        return found

    def allowed(self, grid: Grid) -> np.ndarray:
        """Who may see whom under each kind: bool (kinds, M, M)."""
        return _allowed(self, grid)

    # ------------------------------------------------------------------ what follows

    def sees(self, grid: Grid) -> np.ndarray:
        seen: np.ndarray = np.any(self.allowed(grid), axis=0)
        return seen

    def made_of(self, grid: Grid) -> list[np.ndarray]:
        return [*(super().made_of(grid) or []), *self.allowed(grid)]

    def mask(self, grid: Grid) -> np.ndarray:
        return self.allowed(grid)[None]

    def meetings(self, grid: Grid) -> Meetings:
        m = grid.tokens
        executed = m**2 if self.kernel == "dense" or self.rotary else _flex.executed_pairs(self, grid)
        return Meetings((m,) * 3, (executed, executed, _pairs_allowed(self, grid)))

    def check(self, attention: Any) -> None:
        heads, kinds = getattr(attention, "num_heads", 1), len(self.kinds)
        if heads % kinds:
            raise InputError(
                f"{self.name} divides the heads among {kinds} relations, and this model has {heads}: choose a model "
                f"whose number of heads is a multiple of {kinds}"
            )

    # ------------------------------------------------------------------ as a module

    def module(self, attention: Any, grid: Grid) -> Any:
        if self.kernel == "dense" or self.rotary:  # turned in its groups, which flex sorts anew
            return super().module(attention, grid)
        from tps_lab.attention._modules import KernelAttention

        return KernelAttention(attention, self, grid)

    def layers(self, attention: Any) -> dict[str, Any]:
        return {}

    def mix(self, module: Any, x_BMC: Any) -> Any:
        return _flex.mix(self, module, x_BMC)


@lru_cache(maxsize=1)  # a model asks once per block
def _allowed(mixer: RelationMixer, grid: Grid) -> np.ndarray:
    found = np.empty((len(mixer.kinds), grid.tokens, grid.tokens), bool)
    for part in _frames(grid):
        found[:, part] = mixer.rows(grid, part)
    return found


def _frames(grid: Grid) -> list[np.ndarray]:
    """The tokens in as many parts as there are frames: a long clip's pairs need too much memory at once."""
    return np.array_split(np.arange(grid.tokens), grid.frames)


@lru_cache(maxsize=64)
def _pairs_allowed(mixer: RelationMixer, grid: Grid) -> int:
    """Without a table of all pairs; kinds by their share of the heads."""
    pairs = sum(int(np.count_nonzero(mixer.rows(grid, part))) for part in _frames(grid))
    return round(pairs / len(mixer.kinds))
