"""Data sets that a simulator plays: each scene is rendered once, into a cache, and read from there.

A subclass says which kinds of scene there are and plays one. It then has two tasks::

    task=classes     which kind is it? clip i is scene i
    task=direction   which kind is it, and does it run forwards or backwards? clips 2i and 2i + 1 are scene i
                     and its exact reversal: a model that is blind to the order of frames scores at most 50 %

Scenes are rendered in 16 frames, of which clips of 16, 8, 4 or 2 take every one, second, fourth or eighth, so that one
cache serves them all; a clip of one frame takes any (`at`), to see what needs no time. Cutting scenes out of episodes
is the subclass's: it must draw how long a stretch a scene shows alike for all kinds, or length would give them away.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tps_lab import files
from tps_lab.data._base import REVERSED, SPLITS, Clips, Data, Split, both_ways
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.specs import Limits

if TYPE_CHECKING:
    from torch import Tensor

SHARD = 64  # scenes in a file of the cache
CONTENTS, BEGUN = "contents.json", "begun.json"
_FORMAT = 1  # of the cache
_FRAMES = 16
_TRIES = 50

Shard = tuple[Split, int, int]  # a file's split, first scene and the one after its last


@dataclass(frozen=True)
class Simulated(Data):
    """A data set that a simulator plays.

    Args:
        frames, size: of a clip, size in pixels.
        task: "classes", or "direction", where each scene is shown backwards too, as a class of its own.
        train, val, test: scenes per split. With task=direction a scene is two clips.
        at: where in the scene the frame of a clip of one is, from 0, its first, to 1, its last.
        path: the folder that the rendered scenes are in; "" is a folder of this user's for caches.
        content: the hash that the rendered scenes must have, as `tps-lab data make` prints it; "" takes any.
        seed: of everything random in the scenes (not of training).
    """

    frames: int = 8
    size: int = 32
    task: Literal["classes", "direction"] = "classes"
    train: int = 2400
    val: int = 480
    test: int = 960
    at: float = 0.5
    path: str = ""
    content: str = ""
    seed: int = 0

    limits: ClassVar[Limits] = {"frames": (1, 1_000), "size": (8, 1_024), "at": (0, 1)}
    seconds_each: ClassVar[float] = 0.2  # about what playing and rendering a scene takes of one core

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames > 1 and self.at != type(self).at:
            raise InputError(f"{self.name}: at={self.at} is for clips of one frame, got frames={self.frames}")
        for split in SPLITS:
            if getattr(self, split) < len(self.kinds):
                raise InputError(
                    f"{self.name}: {split} must be {len(self.kinds)} or more, a scene of each kind, "
                    f"got {getattr(self, split)}"
                )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a scene can show: the natural classes. Scene i of every split is of kind i modulo their number."""
        raise NotImplementedError

    @property
    def opposites(self) -> tuple[tuple[int, int], ...]:
        """Kinds that undo each other, as pairs of their numbers; may be empty."""
        return ()

    def play(self, kind: int, split: Split, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """A scene of a kind: `stored` pictures, (stored, size, size, 3), or None if it failed. All that is random in it
        comes from `rng`, and splits differ in what they may show."""
        raise NotImplementedError

    def surroundings(self) -> dict[str, str]:
        """Environment variables that processes need to render.

        Raises:
            InputError: they cannot, and what to install.
        """
        return {}

    def made_with(self) -> dict[str, str]:
        """Versions of all that decides on pixels. Asked for in a process that has the `surroundings`."""
        return {"numpy": np.__version__}

    @property
    def stored(self) -> int:
        """Frames that a scene is rendered in; `shown` of them make a clip."""
        return _FRAMES if _FRAMES % self.frames == 0 else self.frames

    @property
    def shown(self) -> slice:
        """Which of a scene's frames a clip takes."""
        if self.frames == 1:
            first = round(self.at * (self.stored - 1))
            return slice(first, first + 1)
        return slice(None, None, self.stored // self.frames)

    @property
    def scene_bytes(self) -> int:
        return 3 * self.stored * self.size**2

    @property
    def identity(self) -> dict[str, Any]:
        """What decides which pictures are in a cache."""
        left_out = ("frames", "at", "task", "path", "content")
        options = {name: getattr(self, name) for name in self.options() if name not in left_out}
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        return {
            "format": _FORMAT, "set": self.name, "version": self.version, "stored": self.stored, "options": options,
        }  # fmt: skip

    @property
    def folder(self) -> Path:
        """Where the rendered scenes are, or will be."""
        if self.path:
            return Path(self.path).expanduser()
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        return root / "tps_lab" / f"{self.name}-{key[:16]}"

    def scene(self, split: Split, index: int) -> tuple[NDArray[np.uint8], int]:
        """Scene `index` of a split, and how many tries failed before it. A pure function of the options.

        Raises:
            InputError: its kind fails time after time, or what is played is no scene.
        """
        kind = index % len(self.kinds)
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self.seed, SPLITS.index(split), index, attempt])
            pictures = self.play(kind, split, rng)
            if pictures is not None:
                return self._checked(pictures), attempt
        raise InputError(f"{self.name}: '{self.kinds[kind]}' failed {_TRIES} times in a row")

    def _checked(self, pictures: Any) -> NDArray[np.uint8]:
        """What `play` gave, as bytes; NumPy would make other shapes and other numbers fit without a word."""
        wanted = (self.stored, self.size, self.size, 3)
        try:
            given = np.asarray(pictures)
            got = f"{given.dtype} {given.shape}"
        except ValueError:
            got = f"a {type(pictures).__name__} that is no array"
        else:
            if given.shape == wanted and given.dtype.kind in "iu":
                low, high = given.min(), given.max()
                if low >= 0 and high <= 255:
                    return given.astype(np.uint8, copy=False)
                got = f"values from {low} to {high}"
        raise InputError(
            f"{type(self).__name__}.play must give whole numbers from 0 to 255, an array {wanted}, or None; got {got}"
        )

    def opened(self) -> SimulatedClips:
        return SimulatedClips(self)


def shards(spec: Simulated) -> list[Shard]:
    """The files of a cache."""
    return [
        (split, first, min(first + SHARD, getattr(spec, split)))
        for split in SPLITS
        for first in range(0, getattr(spec, split), SHARD)
    ]


def shard_name(split: Split, first: int) -> str:
    return f"{split}-{first // SHARD:05d}"


class SimulatedClips(Clips):
    """The clips of a `Simulated`, read from its cache. Pixels are (x / 255 - 0.5) / 0.25: between -2 and 2."""

    def __init__(self, options: Simulated) -> None:
        self.options = options
        self.clip_shape = (3, options.frames, options.size, options.size)
        kinds = options.kinds
        self.both_ways = options.task == "direction"
        if self.both_ways:
            self.classes = tuple(name for kind in kinds for name in (kind, f"{kind} reversed"))
            self.pairs = tuple((2 * i, 2 * i + 1) for i in range(len(kinds)))
            self.clips_per_scene, self.reach, self.ceiling, self.ceiling_reason = 2, 1, 0.5, REVERSED
        else:
            self.classes, self.pairs = kinds, options.opposites
        contents = _contents(options)
        self.content = str(contents["content"])
        self.scenes = _mapped(options, contents)
        made = ", ".join(f"{name} {value}" for name, value in contents["made_with"].items())
        dropped = ", ".join(f"{n} of {kind}" for kind, n in contents["dropped"].items()) or "none"
        self.notes = (
            f"scenes rendered once with {made}; content {self.content[:16]}",
            f"failed episodes, dropped and played again: {dropped}",
        )

    def size(self, split: Split) -> int:
        return int(getattr(self.options, split)) * (2 if self.both_ways else 1)

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        index = index.cpu()
        scene, backwards = (index // 2, index % 2) if self.both_ways else (index, torch.zeros_like(index))
        shown = self.options.shown
        found = [self.scenes[split][i // SHARD][i % SHARD, shown] for i in scene.tolist()]
        clips = torch.from_numpy(np.stack(found)).to(device)
        clips = torch.where(backwards.bool().to(device)[:, None, None, None, None], clips.flip(1), clips)
        kind = scene % len(self.options.kinds)
        label = 2 * kind + backwards if self.both_ways else kind
        return clips.permute(0, 4, 1, 2, 3).contiguous().float().mul_(4 / 255).sub_(2), label.to(device)

    def pictures_shown(self, split: Split = "test") -> np.ndarray | None:
        return both_ways(self.size(split) // 2, self.options.frames) if self.both_ways else None


def _contents(spec: Simulated) -> dict[str, Any]:
    """What a cache says about itself, checked against what is asked for.

    Raises:
        InputError: there is none, it is not whole, or it is somebody else's.
    """
    make = f'tps-lab data make "{spec}"'
    file = spec.folder / CONTENTS
    try:
        contents = files.read_json(file)
        content, found, said = contents["content"], contents["identity"], contents["shards"]
        if not isinstance(content, str) or not isinstance(contents["made_with"], dict):
            raise TypeError("no such contents")
        dropped = Counter({str(kind): int(n) for kind, n in contents["dropped"].items()})
        sums = {str(name): str(value) for name, value in said.items()}
    except FileNotFoundError:
        begun = "is only partly rendered" if (spec.folder / BEGUN).exists() else "is not rendered yet"
        raise InputError(f"{spec.name} {begun} (in {spec.folder}); once: {make}") from None
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({error}); remove {spec.folder} and: {make}") from None
    if found != spec.identity:
        why = _difference(found, spec.identity)
        raise InputError(f"{spec.folder} holds other scenes ({why}); another path=, or none")
    if content_hash(sums) != content or list(sums) != [shard_name(split, first) for split, first, _ in shards(spec)]:
        raise InputError(f"{file} and the hash in it do not fit each other; remove {spec.folder} and: {make}")
    if spec.content and not content.startswith(spec.content):
        raise InputError(
            f"{spec.folder} holds content {content[:16]}, content={spec.content} is asked for: "
            "another renderer or version draws other pixels"
        )
    return {**contents, "shards": sums, "dropped": dropped}


def content_hash(sums: dict[str, str]) -> str:
    """The hash of a whole cache, of the hashes of its files in order."""
    return hashlib.sha256("".join(f"{name} {value}\n" for name, value in sums.items()).encode()).hexdigest()


def _mapped(spec: Simulated, contents: dict[str, Any]) -> dict[Split, list[NDArray[np.uint8]]]:
    """The scenes of each split as arrays on disk, whose bytes are what the contents say."""
    found: dict[Split, list[NDArray[np.uint8]]] = {split: [] for split in SPLITS}
    for split, first, end in shards(spec):
        file = spec.folder / f"{shard_name(split, first)}.npy"
        shape = (end - first, spec.stored, spec.size, spec.size, 3)
        try:
            if file_hash(file) != contents["shards"][file.stem]:
                raise ValueError("its bytes are not those that were written")
            scenes = np.load(file, mmap_mode="r", allow_pickle=False)
            if scenes.shape != shape or scenes.dtype != np.uint8:
                raise ValueError(f"{scenes.dtype} {scenes.shape} instead of uint8 {shape}")
        except (OSError, ValueError) as error:
            raise InputError(f'{file} is damaged ({error}); remove it and: tps-lab data make "{spec}"') from None
        found[split].append(scenes)
    return found


def file_hash(file: Path) -> str:
    if not file.is_file():  # a pipe would never end
        raise FileNotFoundError("no such file")
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def packed(scenes: Sequence[NDArray[np.uint8]]) -> bytes:
    """Scenes as the bytes of a file of the cache."""
    out = io.BytesIO()
    np.save(out, np.stack(scenes), allow_pickle=False)
    return out.getvalue()


def _difference(found: Any, wanted: dict[str, Any]) -> str:
    """Where two identities first differ, in a few words."""
    if not isinstance(found, dict):
        return "no identity"
    for name, value in wanted.items():
        if found.get(name) != value:
            if isinstance(value, dict):
                return _difference(found.get(name), value)
            return f"{name}={found.get(name)} instead of {value}"
    return "options that are unknown here"
