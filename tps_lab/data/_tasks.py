"""Label-free tasks on any video: what a clip's classes are, and which frames each of them shows.

Each row shows the frames that a clip of one class is made of, counted from where it starts::

    direction  forwards   0 1 2 3 4 5 6 7         speed  1x   0 1 2 3 4 5 6 7
               backwards  7 6 5 4 3 2 1 0                2x   0 2 4 6 8 10 12 14
                                                         4x   0 4 8 12 16 20 24 28
    order      1 2 3      0 1 2 | 3 4 5 | 6 7
               1 3 2      0 1 2 | 6 7 | 3 4 5     shift  1st  1 0 | 2 3 | 4 5 | 6 7
               …          (six orders of thirds)         2nd  0 1 | 3 2 | 4 5 | 6 7   … 4th

`direction` is the arrow of time (Wei et al., CVPR 2018), `order` the order of parts of a clip (Xu et al.,
CVPR 2019), `shift` which quarter of the clip is out of step: begun half a quarter too late, its first half
put at its end. In these three all classes of a scene show exactly the same frames, so a model that is
blind to their order answers all alike and cannot exceed one in the number of classes. `speed` such a
model can learn, from how far apart the frames are: it is the control.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tps_lab.data._base import REVERSED, reordered
from tps_lab.errors import InputError

SPEEDS = (1, 2, 4)
_PARTS = 3
_ORDERS = tuple(itertools.permutations(range(_PARTS)))
_QUARTERS = 4


@dataclass(frozen=True)
class Task:
    """A label-free task.

    Args:
        classes: names, in the order of the labels.
        order: frames T → per class, which of a clip's frames it shows, T numbers.
        same_frames: all classes show the same frames, each once.
        fits: whether clips of T frames can have it, and otherwise what T must be.
    """

    classes: tuple[str, ...]
    order: Callable[[int], tuple[tuple[int, ...], ...]]
    same_frames: bool = True
    fits: Callable[[int], str] = lambda frames: ""

    @property
    def ceiling_reason(self) -> str:
        """What bounds a model that is blind to the order of frames, or that nothing does."""
        if not self.same_frames:
            return "a model blind to frame order is not bounded: it can tell the speed by how far apart the frames are"
        return REVERSED if len(self.classes) == 2 else reordered(len(self.classes))


def _parts(frames: int) -> list[range]:
    """Parts whose lengths differ by one at most, the longer ones first."""
    cuts = [-(-frames * k // _PARTS) for k in range(_PARTS + 1)]
    return [range(low, high) for low, high in itertools.pairwise(cuts)]


def _order(frames: int) -> tuple[tuple[int, ...], ...]:
    parts = _parts(frames)
    return tuple(tuple(t for k in order for t in parts[k]) for order in _ORDERS)


def _shift(frames: int) -> tuple[tuple[int, ...], ...]:
    length = frames // _QUARTERS
    classes = []
    for shifted in range(_QUARTERS):
        clip = list(range(frames))
        at, half = shifted * length, length // 2
        clip[at : at + length] = [*range(at + half, at + length), *range(at, at + half)]
        classes.append(tuple(clip))
    return tuple(classes)


def _fits_shift(frames: int) -> str:
    near = max(2 * _QUARTERS, _QUARTERS * round(frames / _QUARTERS))
    return "" if frames == near else f"a multiple of {_QUARTERS} and {2 * _QUARTERS} or more (nearest: {near})"


TASKS: Mapping[str, Task] = {
    "direction": Task(("forwards", "backwards"), lambda frames: (tuple(range(frames)), tuple(range(frames))[::-1])),
    "speed": Task(
        tuple(f"{speed}x" for speed in SPEEDS),
        lambda frames: tuple(tuple(speed * t for t in range(frames)) for speed in SPEEDS),
        same_frames=False,
    ),
    "order": Task(
        tuple(" ".join(str(k + 1) for k in order) for order in _ORDERS),
        _order,
        fits=lambda frames: "" if frames >= _PARTS else f"{_PARTS} or more",
    ),
    "shift": Task(("1st quarter", "2nd quarter", "3rd quarter", "4th quarter"), _shift, fits=_fits_shift),
}


def check(name: str, frames: int) -> None:
    """Raise `InputError` for a task that clips of so many frames cannot have."""
    if must := TASKS[name].fits(frames):
        raise InputError(f"frames must be {must} for task={name}, got frames={frames}")
