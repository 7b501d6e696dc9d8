"""Which rearrangements of its frames leave a model's answer as it is: the group, its words, and the verdict.

A proof knows from the groups of tokens which orders are kept, a certificate tries them. Both describe what
they found with this one class, so that the two can be held together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Order = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Symmetry:
    """Rearrangements of T frames that a model cannot tell.

    Args:
        frames: T.
        classes: frames that may change places among each other; single frames if none may.
        step: the least number of neighbouring frames that may be moved about as one; T if there is none.
        period: the least number of frames by which the clip may be shifted round its ends; T if only by none.
        reversible: the clip may be played backwards.
    """

    frames: int
    classes: tuple[tuple[int, ...], ...]
    step: int
    period: int
    reversible: bool

    @classmethod
    def find(cls, frames: int, keeps: Callable[[np.ndarray], bool]) -> Symmetry:
        """The symmetry of a model; `keeps` says whether a clip and the clip in an order (T,) get the same answer."""
        t = np.arange(frames)
        divisors = [k for k in range(1, frames) if frames % k == 0]
        classes: list[list[int]] = []
        for frame in range(frames):
            for members in classes:
                # if i may change places with j, and j with k, then i with k: one look per class is enough
                swapped = t.copy()
                swapped[[frame, members[0]]] = members[0], frame
                if keeps(swapped):
                    members.append(frame)
                    break
            else:
                classes.append([frame])
        steps = [k for k in divisors if 1 < k < frames / 2]  # two steps that change places are a shift by half the clip
        if len(classes) == 1:
            return cls(frames, (tuple(classes[0]),), 1, 1, True)
        return cls(
            frames,
            tuple(map(tuple, classes)),
            next((k for k in steps if all(keeps(order) for order in swaps(frames, k))), frames),
            next((k for k in divisors if keeps((t + k) % frames)), frames),
            keeps(t[::-1]),
        )

    @property
    def blind(self) -> bool:
        """Whether any permutation of frames is kept."""
        return len(self.classes) == 1

    def in_frames(self, tubelet: int) -> Symmetry:
        """That of time steps as one of frames, `tubelet` to a step: a model sees their order inside of it.

        What moves single steps only, or plays them backwards, has no words in frames and is left out.
        """
        if tubelet == 1:
            return self
        frames, step = tubelet * self.frames, 1 if self.blind else self.step
        return Symmetry(
            frames,
            tuple((t,) for t in range(frames)),
            tubelet * step if step < self.frames / 2 else frames,
            tubelet * self.period,
            reversible=False,
        )

    def joins(self, one: Order, other: Order) -> bool:
        """Whether some rearrangement of the group turns one clip into the other.

        Args:
            one, other: (T,), which picture each frame shows.
        """
        a, b = np.asarray(one), np.asarray(other)
        if self.step < self.frames and _sorted(a, self.step) == _sorted(b, self.step):
            return True
        shifts = range(0, self.frames, self.period)
        moved = [np.roll(x, k) for x in ([a, a[::-1]] if self.reversible else [a]) for k in shifts]
        classes = [list(members) for members in self.classes]
        return any(all(np.array_equal(np.sort(m[c]), np.sort(b[c])) for c in classes) for m in moved)

    def __str__(self) -> str:
        """In words: "cyclic shifts, playing backwards"; "none"."""
        if self.blind:
            return "any permutation of frames"
        words = []
        if self.step < self.frames:
            words.append(f"permutations of its {self.frames // self.step} steps of {self.step} frames")
        elif self.period < self.frames:
            words.append("cyclic shifts" if self.period == 1 else f"cyclic shifts by {self.period} frames")
        shared = [members for members in self.classes if len(members) > 1]
        if shared:
            sets = ["{" + ", ".join(map(str, members)) + "}" for members in shared]
            few = len(sets) <= 2
            words.append("permutations within " + (" and ".join(sets) if few else f"{len(sets)} sets like {sets[0]}"))
        if self.reversible:
            words.append("playing backwards")
        return ", ".join(words) or "none"

    def verdict(self, seen_from: str = "") -> str:
        """In one line, what the model can tell of the order of frames.

        Args:
            seen_from: where in the model order begins to matter, if that is known: "block 2".
        """
        if self.frames == 1:
            return "one frame: there is no order to see"
        if self.blind:
            return "order-blind: any order of the frames gets the same answer"
        how = {"before": " already {}", "behind": " only {}"}.get(seen_from.partition(" ")[0], " from {} on")
        where = how.format(seen_from) if seen_from else ""
        seen = f"; sees order{where}" if where else ""
        if self.step < self.frames:
            return f"blind to the order of its {self.frames // self.step} steps of {self.step} frames{seen}"
        if self.period < self.frames:
            by = "cyclic: cannot tell where a clip begins" if self.period == 1 else f"cyclic in steps of {self.period}"
            return by + (", nor in which direction it plays" if self.reversible else "") + seen
        if self.reversible:
            return "blind to direction: a clip and its reversal get the same answer" + seen
        shared = [members for members in self.classes if len(members) > 1]
        if shared:
            return f"sees only part of the order: the answer is the same under {self}{seen}"
        return f"sees order{where}"


def _sorted(pictures: np.ndarray, step: int) -> list[list[int]]:
    return sorted(pictures.reshape(-1, step).tolist())


def swaps(frames: int, step: int = 1) -> list[np.ndarray]:
    """The swaps of neighbouring steps, from which every order of the steps is made."""
    steps = np.arange(frames).reshape(-1, step)
    orders = []
    for k in range(len(steps) - 1):
        swapped = steps.copy()
        swapped[[k, k + 1]] = steps[[k + 1, k]]
        orders.append(swapped.ravel())
    return orders
