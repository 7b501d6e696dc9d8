"""Ceilings that no weights can pass, from a model's mixing and the pictures that a data set shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.explain.mixing import Mixing
from tps_lab.explain.symmetry import Order, Symmetry

if TYPE_CHECKING:
    from tps_lab.data import Clips


@dataclass(frozen=True)
class Ceiling:
    """What the weights cannot change about a model's accuracy on the test clips.

    Args:
        ceiling_pct: it cannot exceed this; None if nothing is proved.
        reason: why, in one sentence.
    """

    ceiling_pct: float | None
    reason: str


@dataclass(frozen=True)
class Tried:
    """A model whose symmetry was found by trying it: nothing is known about its reach."""

    symmetry: Symmetry
    outside: str = ""

    @property
    def symmetry_of_frames(self) -> Symmetry:
        """The same: it was tried on frames."""
        return self.symmetry

    def alike(self, one: Order, other: Order) -> str:
        return "symmetry" if self.symmetry.joins(one, other) else ""


def ceiling(mixing: Mixing | Tried, clips: Clips, tubelet: int = 1) -> Ceiling:
    """What a model cannot learn of a data set."""
    if mixing.outside:
        return Ceiling(None, f"nothing proved: {mixing.outside}")
    shown = clips.pictures_shown("test")
    if shown is None or clips.clips_per_scene == 1:
        if mixing.symmetry_of_frames.blind and clips.ceiling is not None:
            return Ceiling(
                100 * clips.ceiling, f"the model is blind to the order of frames, and {clips.ceiling_reason}"
            )
        return Ceiling(None, "nothing proved: the data set says nothing about clips that differ in time only")
    scenes, times = np.unique(_of_steps(np.asarray(shown), tubelet), axis=0, return_counts=True)
    answers, whys = np.zeros(len(scenes)), Counter[str]()
    for number, scene in enumerate(scenes):
        answers[number], found = _different_answers(mixing, scene)
        whys.update({why: int(times[number]) for why in found})
    highest = 100 * float((answers * times).sum() / times.sum()) / clips.clips_per_scene
    if not whys:
        return Ceiling(
            None, "nothing proved: neither symmetry nor reach forces the same answer to clips of different classes"
        )
    return Ceiling(highest, _reason(mixing, clips, whys))


def _of_steps(shown: np.ndarray, tubelet: int) -> np.ndarray:
    """Pictures by frame → by time step: a number for each different sequence of `tubelet` pictures."""
    if tubelet == 1:
        return shown
    steps = shown.reshape(*shown.shape[:-1], -1, tubelet)
    _, numbers = np.unique(steps.reshape(-1, tubelet), axis=0, return_inverse=True)
    return numbers.reshape(steps.shape[:-1])


def _different_answers(mixing: Mixing | Tried, scene: np.ndarray) -> tuple[int, set[str]]:
    """How many different answers a scene's clips (K, T) can get at most, and why not more."""
    sets: list[int] = list(range(len(scene)))
    whys: set[str] = set()
    for i, one in enumerate(scene):
        for j in range(i):
            if sets[j] != sets[i] and (why := mixing.alike(scene[j], one)):
                whys.add(why)
                sets = [sets[j] if s == sets[i] else s for s in sets]
    return len(set(sets)), whys


def _reason(mixing: Mixing | Tried, clips: Clips, whys: Counter[str]) -> str:
    parts = []
    if whys["symmetry"]:
        parts.append(
            f"its answer stays the same under {mixing.symmetry_of_frames}, and that turns clips into their counterparts"
        )
    if whys["reach"] and isinstance(mixing, Mixing):
        seen = "one frame at a time" if mixing.span == 0 else f"frames at most {mixing.span} apart together"
        gaps = "" if not mixing.span else f" ({_offsets(mixing)})"
        needs = f", the task needs {clips.reach}" if clips.reach is not None else ""
        parts.append(
            f"after {mixing.blocks} its tokens see {seen}{gaps}{needs}, and counterparts look alike through that"
        )
    which = "" if clips.clips_per_scene == 2 else f" of each {clips.clips_per_scene}"
    same = f"counterparts{which} have different labels, so at most one of those answered alike is right"
    return f"{'; and '.join(parts)}; {same}"


def _offsets(mixing: Mixing) -> str:
    """Which distances between two frames some token sees, in words."""
    apart = mixing.distances[1:]
    return f"distances {', '.join(map(str, apart))}" if len(apart) < (mixing.span or 0) else "all distances up to that"
