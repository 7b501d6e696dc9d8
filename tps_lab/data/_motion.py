"""Human motion capture as capsules in space: what `actions` draws.

The motions ship in the package `pybullet` (3.2.7, zlib licence; the extra `motion`), in the format of
DeepMimic (Peng et al., 2018): for each keyframe its length in seconds, the root's place and turn, and the
turns of the joints, as quaternions (w, x, y, z) or angles of hinges. y points up, units are metres. The
package's code is not imported.

The body is that of the same paper's humanoid: lengths and radii stand below as its model file has them,
four times too large.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tps_lab.data._files import package_folder
from tps_lab.errors import InputError

ACTIONS = (
    *("backflip", "cartwheel", "crawl", "dance_a", "dance_b", "getup_facedown", "getup_faceup", "jump"),
    *("kick", "punch", "roll", "run", "spin", "spinkick", "walk"),
)
RATE = 120  # poses a second, in between the keyframes

# joint → (parent, its place in the parent's frame, where its turn stands in a keyframe)
_JOINTS: dict[str, tuple[str, tuple[float, float, float], slice]] = {
    "chest": ("root", (0, 0.944604, 0), slice(8, 12)),
    "neck": ("chest", (0, 0.895576, 0), slice(12, 16)),
    "right hip": ("root", (0, 0, 0.339548), slice(16, 20)),
    "right knee": ("right hip", (0, -1.686184, 0), slice(20, 21)),
    "right ankle": ("right knee", (0, -1.63948, 0), slice(21, 25)),
    "right shoulder": ("chest", (-0.0962, 0.974, 0.73244), slice(25, 29)),
    "right elbow": ("right shoulder", (0, -1.099152, 0), slice(29, 30)),
    "left hip": ("root", (0, 0, -0.339548), slice(30, 34)),
    "left knee": ("left hip", (0, -1.686184, 0), slice(34, 35)),
    "left ankle": ("left knee", (0, -1.63948, 0), slice(35, 39)),
    "left shoulder": ("chest", (-0.0962, 0.974, -0.73244), slice(39, 43)),
    "left elbow": ("left shoulder", (0, -1.099152, 0), slice(43, 44)),
}
_SCALE = 0.25


@dataclass(frozen=True)
class Capsule:
    """A part of the body: a thick line.

    Args:
        joint: whose frame it is fixed in.
        start, end: of the line, in that frame, in the model file's units; equal for a ball.
        radius: in the same units.
        ink: how bright it is drawn, 0 to 1; the left side is darker, so that the sides can be told apart.
    """

    joint: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    ink: float


def _limbs(side: str, ink: float) -> list[Capsule]:
    return [
        Capsule(f"{side} hip", (0, -0.24, 0), (0, -1.44, 0), 0.22, ink),
        Capsule(f"{side} knee", (0, -0.18, 0), (0, -1.42, 0), 0.2, ink),
        Capsule(f"{side} ankle", (-0.06, -0.09, 0), (0.42, -0.09, 0), 0.13, ink),
        Capsule(f"{side} shoulder", (0, -0.2, 0), (0, -0.92, 0), 0.18, ink),
        Capsule(f"{side} elbow", (0, -0.21, 0), (0, -0.75, 0), 0.16, ink),
        Capsule(f"{side} elbow", (0, -1.035788, 0), (0, -1.035788, 0), 0.16, ink),
    ]


CAPSULES: tuple[Capsule, ...] = (
    Capsule("root", (0, 0.28, 0), (0, 0.28, 0), 0.36, 0.75),
    Capsule("chest", (0, -0.4, 0), (0, 0.48, 0), 0.36, 0.75),
    Capsule("chest", (0, 0.48, 0), (0, 0.48, 0), 0.44, 0.75),
    Capsule("neck", (0, 0.7, 0), (0, 0.7, 0), 0.41, 1.0),
    *_limbs("right", 0.9),
    *_limbs("left", 0.55),
)


def motion_files(folder: str = "") -> dict[str, Path]:
    """The motions' files by action.

    Args:
        folder: where they are; "" finds the installed package.

    Raises:
        InputError: they are not there, and what to install.
    """
    package = None if folder else package_folder("pybullet_data")
    if not folder and package is None:
        raise InputError("the motions are part of pybullet; install it with: pip install 'tps_lab[motion]'")
    place = Path(folder).expanduser() if package is None else package / "data" / "motions"
    files = {action: place / f"humanoid3d_{action}.txt" for action in ACTIONS}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        where = f"'{folder}'" if folder else "the installed pybullet"
        raise InputError(
            f"{where} lacks {len(missing)} of {len(files)} motions, such as {missing[0]}; "
            "pip install 'tps_lab[motion]' brings them"
        )
    return files


def poses(file: Path) -> NDArray[np.float32]:
    """A motion as the ends of its capsules, (N, capsules, 2, 3) in metres, `RATE` poses a second.

    Raises:
        InputError: the file is no motion of the humanoid.
    """
    try:
        keyframes = np.array(json.loads(file.read_text())["Frames"], np.float64)
        if keyframes.ndim != 2 or keyframes.shape[1] != 44 or len(keyframes) < 2:
            raise ValueError(f"{keyframes.shape} instead of (keyframes, 44) numbers")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no motion of the humanoid: {error}") from error
    starts = np.concatenate([[0.0], np.cumsum(keyframes[:-1, 0])])  # a keyframe's length is until the next
    times = np.arange(0.0, starts[-1], 1 / RATE)
    before = np.clip(np.searchsorted(starts, times, "right") - 1, 0, len(starts) - 2)
    share = ((times - starts[before]) / np.maximum(starts[before + 1] - starts[before], 1e-9))[:, None]

    def between(part: slice) -> NDArray[np.float64]:
        return (1 - share) * keyframes[before, part] + share * keyframes[before + 1, part]

    def turns(part: slice) -> NDArray[np.float64]:
        """Rotation matrices (N, 3, 3) between those of the keyframes."""
        if part.stop - part.start == 1:  # a hinge, about z
            half = between(part)[:, 0] / 2
            zero = np.zeros_like(half)
            return _matrices(np.stack([np.cos(half), zero, zero, np.sin(half)], 1))
        return _matrices(_slerp(keyframes[before, part], keyframes[before + 1, part], share))

    turn = {"root": turns(slice(4, 8))}
    place = {"root": between(slice(1, 4))}
    for joint, (parent, offset, part) in _JOINTS.items():
        place[joint] = place[parent] + turn[parent] @ (_SCALE * np.array(offset))
        turn[joint] = turn[parent] @ turns(part)
    ends = [
        [place[c.joint] + turn[c.joint] @ (_SCALE * np.array(point, np.float64)) for point in (c.start, c.end)]
        for c in CAPSULES
    ]
    return np.moveaxis(np.array(ends), 2, 0).astype(np.float32)


def _slerp(a: NDArray[np.float64], b: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions between a and b (N, 4), the short way round."""
    cos = (a * b).sum(1, keepdims=True)
    b, cos = np.where(cos < 0, -b, b), np.abs(cos).clip(max=1.0)
    angle = np.arccos(cos)
    small = angle < 1e-4
    sine = np.where(small, 1.0, np.sin(angle))
    first = np.where(small, 1 - share, np.sin((1 - share) * angle) / sine)
    second = np.where(small, share, np.sin(share * angle) / sine)
    found = first * a + second * b
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _matrices(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices (N, 3, 3) of unit quaternions (N, 4), w first."""
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
