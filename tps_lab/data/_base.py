"""What the harness asks of a data set, whatever its clips are; and what data sets share that draw theirs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tps_lab.errors import InputError, shortened
from tps_lab.lazy import torch
from tps_lab.specs import Limits, Spec

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_MOST_BYTES = 2**30  # of one clip as floats, and of the scenes that a drawn data set keeps


@dataclass(frozen=True)
class Data(Spec):
    """A data set: a small frozen dataclass whose fields are its options, in a file of its own.

    `opened()` does the work of loading or preparing, once; only then are the rest meaningful.
    """

    kind = "data set"
    largest: ClassVar[int] = 10_000_000
    limits: ClassVar[Limits] = {
        "frames": (1, 10_000), "size": (1, 4_096), "seed": (0, 2**32 - 1), **dict.fromkeys(SPLITS, (0, 10_000_000)),
    }  # fmt: skip
    # What changes the clips changes this, so that results of old clips are not mistaken for new.
    version: ClassVar[int] = 1
    # whose the clips are and on which terms; model cards say it
    licence: ClassVar[str] = "Whose the videos are, and on which terms, their owner says."

    def __post_init__(self) -> None:
        """Refuse paths that are none, too, and clips that no machine can make."""
        has: dict[str, Any] = {name: getattr(self, name) for name in self.options()}
        for name, what in (("path", "a folder"), ("only", "a file")):
            if not isinstance(has.get(name, ""), (str, os.PathLike)):
                raise InputError(f"{name} must be {what}, got {has[name]!r}")
            if name in has:
                object.__setattr__(self, name, os.fspath(has[name]))
        super().__post_init__()
        sizes = {name: has[name] for name in ("frames", "size", "short", "margin", "tiles") if name in has}
        side = max(sizes.get("short", 0), sizes.get("size", 0) + 2 * sizes.get("margin", 0)) * sizes.get("tiles", 1)
        if 12 * sizes.get("frames", 1) * side**2 > _MOST_BYTES:
            given = ", ".join(f"{name}={value}" for name, value in sizes.items())
            raise InputError(f"{self.name}: one clip of {given} would take more than {_MOST_BYTES >> 30} GiB")

    def opened(self) -> Clips:
        """Load or prepare the clips.

        Raises:
            InputError: the data cannot be used, and why.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class DrawnData(Data):
    """A data set whose clips are drawn; a scene is drawn once for all of its clips.

    Args:
        frames, size: of a clip, size in pixels.
        train, val, test: clips per split.
        noise: standard deviation of the noise on every picture, ink being 1.
    """

    limits: ClassVar[Limits] = {"frames": (2, 10_000), "size": (8, 4_096), "noise": (0, 1_000)}

    frames: int = 16
    size: int = 24
    train: int = 16384
    val: int = 768
    test: int = 3072
    noise: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        for split in SPLITS:
            if getattr(self, split) < self.clips_per_scene:
                raise InputError(
                    f"{self.name} comes in sets of {self.clips_per_scene} clips: {split}={getattr(self, split)}"
                )
        clips, most = self.train + self.val + self.test, _MOST_BYTES // (self.frame_bytes * self.frames)
        if clips > most:
            raise InputError(
                f"{self.name}: {clips} clips, train, val and test together, would take more than "
                f"{_MOST_BYTES >> 30} GiB; {most:,} are possible"
            )

    def check(self) -> None:
        """Raise `InputError` for options that leave no task."""

    @property
    def clips_per_scene(self) -> int:
        """How many clips a scene makes (see `Clips.clips_per_scene`)."""
        raise NotImplementedError

    @property
    def frame_bytes(self) -> int:
        """Bytes that one clip's scene takes for each frame, about: where things are, and how they tremble."""
        return 32


REVERSED = (
    "every test clip's exact time reversal is in the test set with the opposite label, and a model blind to frame "
    "order answers both alike"
)


def reordered(clips_per_scene: int) -> str:
    """Why no model that is blind to the order of frames answers more than one clip of a scene right."""
    return (
        f"the test clips come in sets of {clips_per_scene} that show the same frames in another order and have "
        "different labels, and a model blind to frame order answers all of a set alike"
    )


def uncapped(title: str) -> str:
    """The note of a data set of which a model that is blind to the order of frames can answer every clip right."""
    return f"{title}: nothing caps a model blind to frame order here"


class Clips:
    """An opened data set.

    Attributes:
        classes: names of the classes, in the order of the labels.
        pairs: classes that are each other's time reversal, as label pairs; may be empty.
        clip_shape: (C, T, H, W) of every clip.
        ceiling: the best accuracy that a model blind to the order of frames can have on the test
            clips, 0 to 1; None if unknown.
        ceiling_reason: why, in one sentence.
        clips_per_scene: how many clips in a row show the same frames in another order, each with another
            label: each other's counterparts; 1 where there are none. Clip i is of scene i // clips_per_scene.
        reach: how far apart the frames are, at least, that something inside a model must see together
            if the model cannot tell when a frame is (it has no temporal position and treats the clip
            as a ring); None if unknown. 0: single frames are enough.
        notes: what a report must say about the data (files skipped, and why); read it again after
            training, as files may turn out broken on the way.
    """

    classes: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    clip_shape: tuple[int, int, int, int]
    ceiling: float | None = None
    ceiling_reason: str = ""
    clips_per_scene: int = 1
    reach: int | None = None
    notes: tuple[str, ...] = ()

    def size(self, split: Split) -> int:
        """Clips in a split."""
        raise NotImplementedError

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Clips `index` (B,) of a split, on `device`: (B, C, T, H, W) float, labels (B,) int64.

        Clip i of a split is the same every time, whatever else is in the batch; where train clips are drawn anew in
        every epoch (`set_epoch`), train clip i of an epoch is.
        """
        raise NotImplementedError

    def set_epoch(self, epoch: int) -> None:
        """Which epoch train clips are drawn for from now on; nothing to do where they stay the same."""

    def views(
        self, split: Split, index: Tensor, clips: int = 1, crops: int = 1, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Several views of each video: `clips` places in time, each in `crops` places of the picture.

        Returns:
            (B, clips × crops, C, T, H, W) float, all crops of the first clip first; labels (B,) int64.

        Raises:
            InputError: the data set has no such views.
        """
        if (clips, crops) != (1, 1):
            raise InputError(
                f"clips={clips}, crops={crops}: this data set has one view of each clip; "
                "videos have several (tps-lab list data)"
            )
        x, y = self.batch(split, index, device)
        return x[:, None], y

    def names(self, split: Split) -> list[str] | None:
        """What its owners call each clip of a split, in the split's order; None where clips are drawn."""
        return None

    def pictures_shown(self, split: Split = "test") -> np.ndarray | None:
        """Which picture every frame shows, int (scenes, clips_per_scene, T).

        Equal numbers are equal frames, bit for bit. What a model cannot learn is proved from it; None if the data set
        does not know.
        """
        return None


def ready(spec: Data) -> Clips:
    """The opened data set, if what it says of itself can be: it may be a plugin's.

    Raises:
        InputError: it cannot, or the data cannot be used.
    """
    clips = spec.opened()
    if not isinstance(clips, Clips):
        raise InputError(f"{type(spec).__name__}.opened must give Clips, got {shortened(repr(clips))}")
    who, classes = type(clips).__name__, getattr(clips, "classes", ())
    shape, ceiling, scene = getattr(clips, "clip_shape", ()), clips.ceiling, clips.clips_per_scene
    if not classes or len(set(classes)) < len(classes) or not all(isinstance(name, str) for name in classes):
        raise InputError(f"{who}.classes must be names, each another, got {shortened(repr(classes))}")
    if len(shape) != 4 or not all(isinstance(one, int) and one > 0 for one in shape):
        raise InputError(f"{who}.clip_shape must be (C, T, H, W), got {shortened(repr(shape))}")
    if ceiling is not None and not 0 < ceiling <= 1:
        raise InputError(f"{who}.ceiling is a share from 0 to 1, such as 0.5, got {ceiling}")
    if not isinstance(scene, int) or scene < 1:
        raise InputError(f"{who}.clips_per_scene must be a whole number, 1 or more, got {scene!r}")
    if not all(0 <= label < len(classes) for pair in clips.pairs for label in pair):
        raise InputError(f"{who}.pairs must be of labels from 0 to {len(classes) - 1}, got {clips.pairs}")
    for split in SPLITS:
        if not isinstance(size := clips.size(split), (int, np.integer)) or size < (split == "train"):
            raise InputError(f"{who}.size('{split}') must be a number of clips, got {size!r}")
    return clips


def batch_of(clips: Clips, split: Split, index: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """`Clips.batch`, if it gives what was asked for: with fewer clips a run would silently be of fewer.

    Raises:
        InputError: it does not.
    """
    x, y = clips.batch(split, index, device)
    wanted = (len(index), *clips.clip_shape)
    if tuple(x.shape) != wanted or tuple(y.shape) != wanted[:1] or y.dtype != torch.int64:
        raise InputError(
            f"{type(clips).__name__}.batch must give clips {wanted} and labels {wanted[:1]} of torch.int64, "
            f"got {tuple(x.shape)} and {tuple(y.shape)} of {y.dtype}"
        )
    return x, y


def both_ways(scenes: int, frames: int) -> np.ndarray:
    """`Clips.pictures_shown` of scenes that are shown forwards, then backwards: (scenes, 2, frames)."""
    forwards = np.arange(frames)
    return np.broadcast_to(np.stack([forwards, forwards[::-1]]), (scenes, 2, frames))


# ---------------------------------------------------------------------- each clip and its reversal


@dataclass(frozen=True)
class ReversedData(DrawnData):
    """Its clips are pairs, each with its exact time reversal, as in `opposites` and `actions`.

    Clip 2i + 1 of every split is clip 2i reversed, pixel for pixel, noise included. So a model that is
    blind to the order of frames gives both the same answer, at most one of them is right, and its
    accuracy on the test clips cannot exceed 50 %.
    """

    @property
    def clips_per_scene(self) -> int:
        return 2

    def check(self) -> None:
        for split in SPLITS:
            if getattr(self, split) < 2 or getattr(self, split) % 2:
                raise InputError(
                    f"{self.name} comes in pairs: {split} must be even and ≥ 2, got {getattr(self, split)}"
                )


class ReversedClips(Clips):
    """Clips drawn on demand, on whatever device asks for them, each with its exact time reversal.

    A subclass sets `scenes` and draws them.

    Attributes:
        options: the data set's `frames`, `size` and `noise`, and its numbers of clips by split.
        scenes: per split, everything random of every scene (two clips): "noise", where in the "bank"
            of random numbers its noise begins, the label's key, and what `render` wants.
        label: the key of a scene's class among those shown forwards.
        mean, spread: of the drawn pixels, about; clips are normalised by them.
    """

    clips_per_scene = 2
    reach: int | None = 1
    ceiling: float | None = 0.5
    ceiling_reason = REVERSED
    options: Any
    scenes: dict[Split, dict[str, Tensor]]
    label: ClassVar[str]
    mean: ClassVar[float]
    spread: ClassVar[float]

    def render(self, scene: dict[str, Tensor]) -> Tensor:
        """Scenes shown forwards: (B, T, H, W), ink from 0 to 1."""
        raise NotImplementedError

    def size(self, split: Split) -> int:
        return int(getattr(self.options, split))

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        index = index.cpu()
        scene = {name: values[index // 2].to(device) for name, values in self.scenes[split].items() if name != "bank"}
        clips = self.render(scene)
        if self.options.noise:
            bank = self.scenes[split]["bank"]
            if bank.device != clips.device:
                bank = self.scenes[split]["bank"] = bank.to(device)
            windows = bank.unfold(0, clips[0].numel(), 1)
            clips = clips + self.options.noise * windows[scene["noise"]].reshape(clips.shape)
        backwards = (index % 2).bool().to(device)
        clips = torch.where(backwards[:, None, None, None], clips.flip(1), clips)
        clips = (clips - self.mean) / self.spread
        return clips[:, None].expand(-1, 3, -1, -1, -1), 2 * scene[self.label] + backwards

    def pictures_shown(self, split: Split = "test") -> np.ndarray | None:
        return both_ways(self.size(split) // 2, self.options.frames)
