"""Which frames of a video make up a clip. Plain arithmetic on whole numbers; every function returns T indices.

Two ways, after TSN (Wang et al., ECCV 2016) and after the dense clips of Kinetics models; T = 4 of 13 frames::

    segments   0 1 2 | 3 4 5 | 6 7 8 9 | 10 11 12      one frame of each part: any of it in training,
                 ^       ^       ^          ^          the middle in tests
    dense      0 1 2 3 4 5 6 7 8 9 10 11 12            frames `stride` apart, starting anywhere; in tests
                     ^   ^   ^   ^                     K clips start at even distances

A video that is too short is not refused: with segments frames repeat, dense clips go round its end, as in
MMAction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tps_lab.errors import InputError


def segments(total: int, frames: int, rng: np.random.Generator | None = None, at: float = 0.5) -> NDArray[np.int64]:
    """One frame from each of `frames` equal parts of a video of `total` frames.

    Args:
        rng: draws where in each part; None takes `at`.
        at: 0 (a part's first frame) to below 1 (its last).
    """
    _check(total, frames)
    within = np.full(frames, at) if rng is None else rng.random(frames)
    # A part is the real interval [k, k + 1) · total / frames: parts of unlike sizes where it does not divide.
    return np.minimum(((np.arange(frames) + within) * total / frames).astype(np.int64), total - 1)


def dense(
    total: int, frames: int, stride: int, rng: np.random.Generator | None = None, at: float = 0.5
) -> NDArray[np.int64]:
    """`frames` frames that stand `stride` apart.

    Args:
        rng: draws where the clip starts; None takes `at`.
        at: 0 (as early as possible) to 1 (as late as possible).
    """
    _check(total, frames)
    latest = max(0, total - ((frames - 1) * stride + 1))
    start = round(at * latest) if rng is None else int(rng.integers(latest + 1))
    return (start + stride * np.arange(frames, dtype=np.int64)) % total


def clips_of(total: int, frames: int, sampling: str, stride: int, clips: int) -> list[NDArray[np.int64]]:
    """The K clips of a video that a test looks at, at even distances; one clip is the middle one.

    >>> [clip.tolist() for clip in clips_of(12, 4, "segments", 1, 2)]
    [[0, 3, 6, 9], [2, 5, 8, 11]]
    """
    if clips < 1:
        raise InputError(f"clips must be 1 or more, got {clips}")
    middles = [(k + 0.5) / clips for k in range(clips)]
    if sampling == "segments":
        return [segments(total, frames, at=at) for at in middles]
    return [dense(total, frames, stride, at=at) for at in middles]


def _check(total: int, frames: int) -> None:
    if total < 1 or frames < 1:
        raise InputError(f"a clip needs 1 frame or more of a video with 1 or more, got {frames} of {total}")
