"""`manipulation`: a robot arm opens, closes, pushes, pulls, inserts and assembles, seen in perspective.

Twelve pairs of tasks that undo each other, of Meta-World's fifty (see `_metaworld.py`)::

    frame           0        2        4        6                    0        2        4        6
    drawer open   ▐█▌ ─┐   ▐█▌▂─┐   ▐█▌▂▂─┐  ▐█▌▂▂▂─┐  drawer close ▐█▌▂▂▂─┐  ▐█▌▂▂─┐   ▐█▌▂─┐   ▐█▌ ─┐

Nothing has to be downloaded: the episodes are simulated and rendered here, once (`tps-lab data make manipulation`).

The splits share no camera and no placement. In every 20° around the table, training looks from the first 9°, validation
from 11° to 13.5° and test from 15.5° to 18°; where things stand is drawn from such stretches of its widest range, too::

    of every half of the range   |<-- train: 0 to 60 % -->|··|<- val: 68 to 78 % ->|··|<- test: 86 to 96 % ->|

All clips are cut alike: 36 to 48 steps of the simulation, the last of them 6 to 12 after the task was done, whatever
the task. The hand starts from anywhere within some 20 cm of its usual place, so that no episode is too short for that
but by chance; one that is, or that fails, is dropped, counted, and played anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tps_lab.data import _metaworld
from tps_lab.data._base import Split
from tps_lab.data._simulated import Simulated
from tps_lab.errors import InputError, unknown
from tps_lab.specs import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

# what the second of each undoes the first
OPPOSITES: tuple[tuple[str, str], ...] = (
    ("door-open", "door-close"),
    ("drawer-open", "drawer-close"),
    ("window-open", "window-close"),
    ("faucet-open", "faucet-close"),
    ("door-lock", "door-unlock"),
    ("plate-slide", "plate-slide-back"),
    ("plate-slide-side", "plate-slide-back-side"),
    ("peg-insert-side", "peg-unplug-side"),
    ("push", "push-back"),
    ("handle-press", "handle-pull"),
    ("handle-press-side", "handle-pull-side"),
    ("assembly", "disassemble"),
)
OTHERS: tuple[str, ...] = (
    *("basketball", "bin-picking", "box-close", "button-press", "button-press-topdown", "button-press-topdown-wall"),
    *("button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn", "hammer", "hand-insert"),
    *("lever-pull", "pick-out-of-hole", "pick-place", "pick-place-wall", "push-wall", "reach", "reach-wall"),
    *("shelf-place", "soccer", "stick-pull", "stick-push", "sweep", "sweep-into"),
)
_ALL = (*(task for pair in OPPOSITES for task in pair), *OTHERS)

_SECTOR = 20
# degrees from the beginning of a sector
_DIRECTIONS: dict[Split, tuple[float, float]] = {"train": (0.0, 9.0), "val": (11.0, 13.5), "test": (15.5, 18.0)}
_HALVES = 2
# shares of each half of the range that placements are drawn from
_PLACES: dict[Split, tuple[float, float]] = {"train": (0.0, 0.6), "val": (0.68, 0.78), "test": (0.86, 0.96)}
_ELEVATION, _DISTANCE = (-45.0, -20.0), (1.0, 1.2)
_SPAN = (36, 48)  # steps that a clip shows
_END = (6, _metaworld.AFTER)  # steps after success at which it ends
_CAMERAS_STREAM = 7  # of random numbers


@dataclass(frozen=True)
class Manipulation(Simulated):
    """A robot arm does and undoes things, rendered from anywhere across the table: which task is it? With
    task=direction each clip is shown backwards too, and a model blind to frame order scores at most 50 %.

    Args:
        frames, size, task, train, val, test, at, path, content, seed: see `Simulated`.
        tasks: names such as door-open; "opposites" is the twelve pairs that undo each other, "all" Meta-World's fifty.
        cameras: how many cameras training has; 0: each clip its own. Validation and test clips have their own always.
        around: degrees that the cameras go around the table, in steps of 20, half to either side of its middle.
    """

    name = "manipulation"
    title = "Manipulation"
    licence = "Rendered here from Meta-World 3.1.1 (MIT)."

    tasks: tuple[str, ...] = ("opposites",)
    cameras: int = 0
    around: int = 140

    limits: ClassVar[Limits] = {"cameras": (0, 1_000_000), "around": (20, 180)}

    def __post_init__(self) -> None:
        names = [str(name) for name in ((self.tasks,) if isinstance(self.tasks, str) else self.tasks)]
        for name in names:
            if name not in ("opposites", "all", *_ALL):
                raise unknown("task of Meta-World", name, ("opposites", "all", *_ALL))
        if not names:
            raise InputError("tasks must name one or more, or be opposites or all")
        object.__setattr__(self, "tasks", tuple(dict.fromkeys(names)))
        super().__post_init__()
        if self.around % _SECTOR:
            raise InputError(f"around must be 20, 40, … 180 degrees, got {self.around}")

    @property
    def chosen(self) -> tuple[str, ...]:
        """Meta-World's names of the tasks."""
        meant = {"opposites": tuple(task for pair in OPPOSITES for task in pair), "all": _ALL}
        return tuple(dict.fromkeys(task for name in self.tasks for task in meant.get(name, (name,))))

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(task.replace("-", " ") for task in self.chosen)

    @property
    def opposites(self) -> tuple[tuple[int, int], ...]:
        at = {task: i for i, task in enumerate(self.chosen)}
        return tuple((at[a], at[b]) for a, b in OPPOSITES if a in at and b in at)

    def surroundings(self) -> dict[str, str]:
        return {"MUJOCO_GL": _metaworld.backend()}

    def made_with(self) -> dict[str, str]:
        return _metaworld.versions()

    def play(self, kind: int, split: Split, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        # drawn at twice the size and averaged: thin things do not flicker
        finer = 2 if self.size <= 256 else 1
        arm = _metaworld.arm(self.chosen[kind], finer * self.size)
        low, high = arm.placements()
        played = arm.episode(rng, lambda: placement(low, high, split, rng))
        span, end = int(rng.integers(*_SPAN, endpoint=True)), int(rng.integers(*_END, endpoint=True))
        camera = self.camera(split, rng)
        if played is None or played[1] + end < span:
            return None
        states, done = played
        start = done + end - span
        steps = start + np.arange(self.stored) * span // self.stored
        pictures = np.stack([arm.picture(states[step], camera) for step in steps])
        if finer == 1:
            return pictures
        fine = pictures.reshape(self.stored, self.size, finer, self.size, finer, 3).astype(np.uint16)
        return ((fine.sum((2, 4)) + 2) // 4).astype(np.uint8)

    def camera(self, split: Split, rng: np.random.Generator) -> _metaworld.Camera:
        """A camera of a split."""
        if split == "train" and self.cameras:
            chosen = int(rng.integers(self.cameras))
            rng = np.random.default_rng([self.seed, _CAMERAS_STREAM, chosen])
        sector = int(rng.integers(self.around // _SECTOR))
        azimuth = 270 - self.around / 2 + _SECTOR * sector + rng.uniform(*_DIRECTIONS[split])
        return _metaworld.Camera(azimuth, rng.uniform(*_ELEVATION), rng.uniform(*_DISTANCE))


def placement(
    low: NDArray[np.float64], high: NDArray[np.float64], split: Split, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Where things stand: anywhere between two corners, but for the widest side, of which a split has its stretches."""
    share = rng.uniform(size=low.shape)
    widest = int(np.argmax(high - low))
    share[widest] = (rng.integers(_HALVES) + rng.uniform(*_PLACES[split])) / _HALVES
    return low + share * (high - low)
