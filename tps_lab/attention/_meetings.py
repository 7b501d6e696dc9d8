"""Slots and pairs: what a definition asks for, and what a kernel runs. NumPy only.

Attention runs on *slots*. Some hold no token (padding at the edge of a map, zeros from beyond the ends of a
clip), some a copy of a token that another slot holds too (a clip's class token joins every group). Of all pairs
of slots some may not see each other: the parts of a rolled window, or what a relation does not allow. A masked
kernel computes all of them, one that knows which blocks of the mask are empty leaves those out. So there are
two costs, *pairs allowed* and *pairs executed*, and they are kept apart everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tps_lab.attention._grid import Routes


@dataclass(frozen=True)
class Meetings:
    """Slots: all, those that hold a token, distinct tokens. Pairs of slots: all that a kernel computes, those of two
    tokens, those that see each other."""

    slots: tuple[int, int, int]
    pairs: tuple[int, int, int]

    @property
    def executed(self) -> int:
        """Pairs that the kernel computes."""
        return self.pairs[0]

    @property
    def allowed(self) -> int:
        """Pairs that the definition lets meet."""
        return self.pairs[2]


def meetings_of(routes: Routes, prefix: int = 0) -> Meetings:
    """Counted from routes, `prefix` tokens of the clip in front of every group."""
    groups, slots = routes.gather.shape
    held = routes.gather >= 0
    filled = held.sum(1)
    if routes.regions is None:
        seen = int((filled**2).sum())
    else:  # equal labels of one group, empty slots left out
        row = np.repeat(np.arange(groups), slots).reshape(held.shape)
        labels = np.stack([row[held], routes.regions[held]])
        seen = int((np.unique(labels, axis=1, return_counts=True)[1] ** 2).sum())
    tokens = int(filled.sum())
    among = groups * prefix**2 + 2 * prefix * tokens  # a prefix token and every token see each other
    return Meetings(
        (groups * (slots + prefix), tokens + groups * prefix, len(np.unique(routes.gather[held])) + prefix),
        (groups * (slots + prefix) ** 2, int(((filled + prefix) ** 2).sum()), seen + among),
    )
