"""What the readers of labelled videos share: a reader lists a collection's clips, the rest stands here and in
`_labelled_clips`.

A reader is a `Labelled` with a `listing`: names of files below the root, with labels, by the splits that
the owners of the collection publish. Nothing in the user's folder is ever written.

Which split is which: models train on the official `train`, and `test` here is the official split that
papers report (`evaluated`: often called validation). `val` here, for watching a training, is held out of
`train`, whole groups of clips of one source at a time, so that nothing need be chosen by `test`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tps_lab.data._base import Data, Split
from tps_lab.data._files import printable
from tps_lab.data._frames import DECODERS
from tps_lab.data._listing import Entry, Listing
from tps_lab.errors import InputError, unknown

if TYPE_CHECKING:
    from tps_lab.data._labelled_clips import LabelledClips

SAMPLINGS = ("segments", "dense")


@dataclass(frozen=True)
class Labelled(Data):
    """Base of the readers of labelled videos.

    Args:
        path: the folder of the collection.
        frames, size: of a clip, size in pixels.
        short: short side that frames are brought to before they are cut.
        sampling: "segments" takes one frame from each of `frames` equal parts of the video, anywhere
            in training and in the middle in tests; "dense" takes frames `stride` apart.
        stride: frames between those of a dense clip.
        augment: whether train clips are cut, mirrored and changed at random.
        flip: probability of mirroring, of clips whose class does not change by it.
        randaugment, magnitude: RandAugment's n operations and their strength; n = 0 leaves it out.
        erasing: probability of erasing a rectangle.
        holdout: share of the training clips that is held out as `val`; at 0 `val` is `test`.
        train, val, test: at most so many clips per split, spread over the split; 0 takes all.
        only: a list of usable clips, as `tps-lab data check --fix-list` writes it.
        decoder: "pyav", or "torchcodec" where it is installed; their pixels differ a little.
        seed: of everything random in the clips (not of training).
    """

    path: str = ""
    frames: int = 32
    size: int = 224
    short: int = 256
    sampling: str = "segments"
    stride: int = 2
    augment: bool = True
    flip: float = 0.5
    randaugment: int = 2
    magnitude: int = 9
    erasing: float = 0.25
    holdout: float = 0.02
    train: int = 0
    val: int = 0
    test: int = 0
    only: str = ""
    decoder: str = "pyav"
    seed: int = 0

    # 1 took frames of some AVI files from beside the wanted ones, and pictures as stored; RandAugment drew others
    version: ClassVar[int] = 2
    # the official split that papers report on
    evaluated: ClassVar[str] = "validation"
    # clips per official split, as published
    official: ClassVar[Mapping[str, int]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("path", "only"):
            if not isinstance(getattr(self, name), (str, os.PathLike)):
                raise InputError(f"{name} must be a path, got {getattr(self, name)!r}")
            object.__setattr__(self, name, os.fspath(getattr(self, name)))
        if self.sampling not in SAMPLINGS:
            raise unknown("sampling", str(self.sampling), SAMPLINGS)
        if self.decoder not in DECODERS:
            raise unknown("decoder", str(self.decoder), DECODERS)
        if self.frames < 1 or self.size < 8 or self.stride < 1:
            raise InputError(
                f"{self.name} needs frames ≥ 1, size ≥ 8 and stride ≥ 1, "
                f"got frames={self.frames}, size={self.size}, stride={self.stride}"
            )
        if self.short < self.size:
            raise InputError(f"short must be size or more, got short={self.short}, size={self.size}")
        for name in ("flip", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout must be 0 or more and less than 1, got {self.holdout}")
        if not 0 <= self.randaugment <= 100 or not 0 <= self.magnitude <= 30:
            raise InputError(
                f"randaugment must be 0 to 100 and magnitude 0 to 30, got {self.randaugment} and {self.magnitude}"
            )
        if min(self.train, self.val, self.test) < 0:
            raise InputError(f"train, val and test must be 0 (all) or more, got {(self.train, self.val, self.test)}")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether a folder looks like this collection; only names are looked at."""
        return False

    @property
    def root(self) -> Path:
        """The collection's folder.

        Raises:
            InputError: it is none.
        """
        return folder(self.path, self.name)

    def listing(self) -> Listing:
        """The collection's clips as its owners list them.

        Raises:
            InputError: an annotation file is missing or cannot be read.
        """
        raise NotImplementedError

    def never_flipped(self, classes: tuple[str, ...]) -> frozenset[int]:
        """Labels that mirroring would change."""
        from tps_lab.data.transforms import directional

        return directional(classes)

    def warnings(self) -> tuple[str, ...]:
        """What a report must say about these options."""
        return ()

    def opened(self) -> LabelledClips:
        from tps_lab.data._labelled_clips import LabelledClips

        return LabelledClips(self)


def folder(path: str, what: str) -> Path:
    """A folder that the user named, opened far enough to know that it is one."""
    if not path:
        raise InputError(f"{what} needs the collection's folder: {what}(path=FOLDER)")
    try:
        root = Path(path).expanduser()
        with os.scandir(root):
            return root
    except NotADirectoryError:
        raise InputError(f"'{printable(path)}' is a file; path must be the collection's folder") from None
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: ~nobody
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot open the folder '{printable(path)}': {why}") from error


def held_out(entry: Entry, share: float, seed: int) -> bool:
    """Whether a training clip is kept for `val`: by its group, so that no source is on both sides."""
    digest = hashlib.sha256(f"{seed}:{entry.group or entry.name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:7], "big") < share * 2**56


def divided(options: Labelled, listing: Listing) -> dict[Split, list[Entry]]:
    """The clips of our three splits, from the official ones. See the head of this file."""
    train = [entry for entry in listing.splits.get("train", []) if entry.label >= 0]
    test = [entry for entry in listing.splits.get(options.evaluated, []) if entry.label >= 0]
    val = [entry for entry in train if held_out(entry, options.holdout, options.seed)]
    if options.holdout and len(val) in (0, len(train)):  # a small collection still needs both
        groups = sorted({entry.group or entry.name for entry in train})
        one = groups[options.seed % len(groups)] if len(groups) > 1 else None
        val = [entry for entry in train if (entry.group or entry.name) == one]
    kept = set(val)
    parts: dict[Split, list[Entry]] = {
        "train": [entry for entry in train if entry not in kept],
        "val": val or test,
        "test": test,
    }
    return {split: _spread(entries, getattr(options, split)) for split, entries in parts.items()}


def _spread(entries: list[Entry], most: int) -> list[Entry]:
    """At most so many, from all over the list."""
    if not most or len(entries) <= most:
        return entries
    return [entries[i * len(entries) // most] for i in range(most)]
