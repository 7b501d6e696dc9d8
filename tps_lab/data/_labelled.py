"""What the readers of labelled videos share: a reader lists a collection's clips, the rest stands here.

A reader is a `Labelled` with a `listing`: names of files below the root, with labels, by the splits that
the owners of the collection publish. Nothing in the user's folder is ever written.

Which split is which: models train on the official `train`, and `test` here is the official split that
papers report (`evaluated`: often called validation). `val` here, for watching a training, is held out of
`train`, whole groups of clips of one source at a time, so that nothing need be chosen by `test`.

Clips are read when they are asked for, several at a time, and nothing is kept. A train clip is drawn anew in
each epoch, and follows from the seed, its place in the split and the epoch alone. A file that turns out broken
stops nothing: in training the next clip takes its place, in tests a grey clip does, so that accuracy is still
one over all test clips; either way it is named in `notes`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tps_lab.data import sampling, transforms
from tps_lab.data._base import SPLITS, Clips, Data, Split
from tps_lab.data._files import few, open_folder, printable
from tps_lab.data._frames import read
from tps_lab.data._listing import Entry, Listing, usable_names
from tps_lab.data._video import UnreadableVideo
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.specs import Limits

if TYPE_CHECKING:
    from torch import Tensor

_TRIES = 20  # clips in a row that may be broken


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
        seed: of everything random in the clips (not of training).
    """

    path: str = ""
    frames: int = 32
    size: int = 224
    short: int = 256
    sampling: Literal["segments", "dense"] = "segments"
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
    seed: int = 0

    limits: ClassVar[Limits] = {
        "size": (8, 4_096), "short": (1, 8_192), "stride": (1, 10_000), "flip": (0, 1), "randaugment": (0, 100),
        "magnitude": (0, 30), "erasing": (0, 1), "holdout": (0, 0.99), "fold": (1, 3),
    }  # fmt: skip
    # 1 took frames of some AVI files from beside the wanted ones, and pictures as stored; RandAugment drew others
    version: ClassVar[int] = 2
    # the official split that papers report on
    evaluated: ClassVar[str] = "validation"
    # clips per official split, as published
    official: ClassVar[Mapping[str, int]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.short < self.size:
            raise InputError(f"short must be size or more, got short={self.short}, size={self.size}")

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
        return open_folder(self.path, self.name)

    def listing(self) -> Listing:
        """The collection's clips as its owners list them.

        Raises:
            InputError: an annotation file is missing or cannot be read.
        """
        raise NotImplementedError

    def never_flipped(self, classes: tuple[str, ...]) -> frozenset[int]:
        """Labels that mirroring would change."""
        return transforms.directional(classes)

    def warnings(self) -> tuple[str, ...]:
        """What a report must say about these options."""
        return ()

    def opened(self) -> LabelledClips:
        return LabelledClips(self)


def in_share(name: str, share: float, seed: int) -> bool:
    """Whether a name falls into a share of all names: always the same, whatever other names there are."""
    digest = hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:7], "big") < share * 2**56


def held_out(entry: Entry, share: float, seed: int) -> bool:
    """Whether a training clip is kept for `val`: by its group, so that no source is on both sides."""
    return in_share(entry.group or entry.name, share, seed)


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


class LabelledClips(Clips):
    """The opened clips of a `Labelled`.

    Attributes:
        entries: what each split holds.
        broken: files that could not be read so far, and why.
        workers: clips that are read at a time; set it as you like, it changes no clip.
    """

    def __init__(self, options: Labelled) -> None:
        self.options = options
        self.root = options.root
        listing = options.listing()
        self.classes = listing.classes
        self.clip_shape = (3, options.frames, options.size, options.size)
        said: list[str] = []
        wanted = listing
        if options.only:  # before clips are held out: else all that are held out may be among those left out
            names = usable_names(options.only)
            kept = {split: [entry for entry in each if entry.name in names] for split, each in listing.splits.items()}
            wanted = replace(listing, splits=kept)
            said.append(f"only the {len(names)} clips that {printable(options.only)} lists")
        self.entries = parts = divided(options, wanted)
        for split in SPLITS:
            if not parts[split]:
                raise InputError(self._nothing(split, listing))
        self.fixed = options.never_flipped(listing.classes)
        self.epoch = 0
        self.broken: dict[str, str] = {}
        self.workers = min(8, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        counts = ", ".join(f"{len(parts[split])} {split}" for split in SPLITS)
        held = "the test clips" if parts["val"] == parts["test"] else f"held out of train: {100 * options.holdout:g} %"
        self._said = (
            f"{options.title}: {counts} clips; test is the official {options.evaluated} split, val is {held}",
            *(_missing(listing)),
            *_untrained(parts, listing.classes),
            *said,
            *listing.notes,
            *wanted.doubts(),
            *options.warnings(),
        )

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What a report must say, with the files that turned out broken by now."""
        if not self.broken:
            return self._said
        with self._lock:
            named = sorted(f"{printable(name)} ({why})" for name, why in self.broken.items())
        return (*self._said, f"{len(named)} files could not be read: {few(named, 20)}")

    def size(self, split: Split) -> int:
        return len(self.entries[split])

    def names(self, split: Split) -> list[str]:
        return [entry.name for entry in self.entries[split]]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        if split == "train":
            epoch = self.epoch
            x, labels = self._made(lambda i: self.train_clip(i, epoch), index, device)
        else:
            x, labels = self.views(split, index, device=device)
        return x[:, 0], labels

    def views(
        self, split: Split, index: Tensor, clips: int = 1, crops: int = 1, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        return self._made(lambda i: self._test_clip(split, i, clips, crops), index, device)

    def train_clip(self, i: int, epoch: int = 0) -> tuple[Tensor, int]:
        """Train clip i of an epoch, as bytes (1, 3, T, H, W), and its label."""
        options, entries = self.options, self.entries["train"]
        for attempt in range(_TRIES):
            entry = entries[(i + attempt) % len(entries)]
            rng = np.random.default_rng([options.seed, 1, i, epoch, attempt])
            drawn = rng if options.augment else None

            def choose(total: int, drawn: Any = drawn) -> NDArray[np.int64]:
                if options.sampling == "segments":
                    return sampling.segments(total, options.frames, drawn)
                return sampling.dense(total, options.frames, options.stride, drawn)

            frames = self._read(entry, choose)
            if frames is None:
                continue
            if not options.augment:
                return _packed(transforms.crops_of(frames, options.size)), entry.label
            flip = 0.0 if entry.label in self.fixed else options.flip
            changes = options.randaugment, options.magnitude, options.erasing
            return _packed([transforms.train_clip(frames, rng, options.size, flip, *changes)]), entry.label
        raise InputError(f"{_TRIES} training clips in a row cannot be read: {'; '.join(self.notes[-1:])}")

    def _test_clip(self, split: Split, i: int, clips: int, crops: int) -> tuple[Tensor, int]:
        """The views of clip i, as bytes (clips × crops, 3, T, H, W), and its label."""
        entry = self.entries[split][i]
        frames = self._read(entry, frames_to_test(self.options, clips))
        if frames is None:
            return torch.full((clips * crops, *self.clip_shape), 124, dtype=torch.uint8), entry.label
        return views_to_test(self.options, frames, crops), entry.label

    def _read(self, entry: Entry, choose: Any) -> Tensor | None:
        """Frames (N, 3, H, W) as bytes, the short side at least `size`; None if the file is broken."""
        options = self.options
        try:
            frames = read(self.root / entry.name, choose, options.short, entry.start, entry.stop)
        except UnreadableVideo as error:
            with self._lock:
                self.broken[entry.name] = error.reason
            return None
        return torch.from_numpy(frames).permute(0, 3, 1, 2)

    def _made(self, make: Any, index: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """What `make` makes of each of `index`, several at a time: views (B, V, 3, T, H, W) and labels (B,)."""
        wanted = index.tolist()
        if self.workers <= 1 or len(wanted) == 1:
            made = [make(i) for i in wanted]
        else:
            with self._lock:
                if self._pool is None or self._pool._max_workers != self.workers:
                    self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="clips")
            made = list(self._pool.map(make, wanted))
        x = torch.stack([views for views, _ in made]).to(device, non_blocking=True)
        return transforms.normalised(x), torch.tensor([label for _, label in made], dtype=torch.long, device=device)

    def __getstate__(self) -> dict[str, Any]:
        # processes that get a copy start threads of their own
        return self.__dict__ | {"_pool": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _nothing(self, split: Split, listing: Listing) -> str:
        options = self.options
        official = "train" if split == "train" else options.evaluated
        there = any(entry.label >= 0 for entry in listing.splits.get(official, []))
        if options.only and there:
            return f"{options.name}: {printable(options.only)} lists no {split} clip of '{printable(options.path)}'"
        listed = len(listing.splits.get(official, [])) + len(listing.missing.get(official, []))
        missing = listing.missing.get(official, [])
        gone = f", {len(missing)} of them not there, such as {printable(missing[0])}" if missing else ""
        return (
            f"{options.name}: no {split} clip in '{printable(options.path)}': its {official} list names {listed}{gone} "
            f"(see: tps-lab data check {printable(options.path)} --kind {options.name})"
        )


def frames_to_test(options: Labelled, clips: int = 1) -> Callable[[int], list[int]]:
    """Which frames of a video its test clips show: a function of how many it has."""

    def choose(total: int) -> list[int]:
        every = sampling.clips_of(total, options.frames, options.sampling, options.stride, clips)
        return np.concatenate(every).tolist()

    return choose


def views_to_test(options: Labelled, frames: Tensor, crops: int = 1) -> Tensor:
    """These frames (N, 3, H, W) as the views of a test, (clips × crops, 3, T, H, W); bytes both."""
    clips = frames.split(options.frames)
    return _packed([view for clip in clips for view in transforms.crops_of(clip, options.size, crops)])


def _packed(views: list[Tensor]) -> Tensor:
    """Views (T, 3, H, W) as one tensor (V, 3, T, H, W)."""
    return torch.stack([view.transpose(0, 1) for view in views]).contiguous()


def _untrained(parts: Mapping[Split, list[Entry]], classes: tuple[str, ...]) -> list[str]:
    """What a report says of classes that are tested and never trained, as where folders are named Walk and walk."""
    labels = {split: {entry.label for entry in parts[split]} for split in SPLITS}
    names = [printable(classes[label]) for label in sorted((labels["val"] | labels["test"]) - labels["train"])]
    return [f"val or test hold classes of which train has no clip: {few(names, 10)}"] if names else []


def _missing(listing: Listing) -> list[str]:
    gone = {split: names for split, names in listing.missing.items() if names}
    if not gone:
        return []
    each = "; ".join(f"{len(names)} of {split}, such as {printable(names[0])}" for split, names in gone.items())
    return [f"listed but not there: {each}"]
