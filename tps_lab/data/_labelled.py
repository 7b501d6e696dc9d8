"""What the readers of labelled videos share: a reader lists a collection's clips, the rest stands here and in
`_labelled_clips`.

A reader is a `Labelled` with a `listing`: names of files below the root, with labels, by the splits that
the owners of the collection publish. Nothing in the user's folder is ever written.

Which split is which: models train on the official `train`, and `test` here is the official split that
papers report (`evaluated`: often called validation). `val` here, for watching a training, is held out of
`train`, whole groups of clips of one source at a time, so that nothing need be chosen by `test`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from tps_lab.data._base import Data, Split
from tps_lab.data._frames import DECODERS
from tps_lab.data._video import SUFFIXES, printable
from tps_lab.errors import InputError, unknown

if TYPE_CHECKING:
    from tps_lab.data._labelled_clips import LabelledClips

SAMPLINGS = ("segments", "dense")


class Entry(NamedTuple):
    """One clip of a collection.

    Args:
        name: of the file, or of the folder that holds its frames as pictures, below the root.
        label: −1 where the owners publish none.
        group: clips of one source, such as one film, have one; "" is a group by itself.
        start, stop: the clip's frames in the file, `stop` not included; 0, 0 means all.
        frames, seconds: how long the owners say it is; 0 if they do not.
    """

    name: str
    label: int
    group: str = ""
    start: int = 0
    stop: int = 0
    frames: int = 0
    seconds: float = 0.0


@dataclass
class Listing:
    """A collection as its owners list it, and what of it is there.

    Args:
        classes: names, in the order of the labels.
        splits: official split → its clips, those whose files are there.
        missing: official split → names of clips that are listed and not there.
        notes: what a report should say.
    """

    classes: tuple[str, ...]
    splits: dict[str, list[Entry]]
    missing: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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

    # the official split that papers report on
    evaluated: ClassVar[str] = "validation"
    # clips per official split, as published
    official: ClassVar[Mapping[str, int]] = {}
    # seconds that a clip has by the owners' own rule; 0 where there is none
    about_seconds: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
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
        if self.randaugment < 0 or not 0 <= self.magnitude <= 30:
            raise InputError(
                f"randaugment must be 0 or more and magnitude 0 to 30, got {self.randaugment} and {self.magnitude}"
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


def find(root: Path, *names: str, needed: bool = True) -> Path | None:
    """The first of these files that exists, in the root or where collections keep annotations.

    Raises:
        InputError: none does, and one is needed.
    """
    places = ("", "labels", "annotations", "splits", "ucfTrainTestlist", "testTrainMulti_7030_splits")
    for name in names:
        for place in places:
            if (file := root / place / name).is_file():
                return file
    if needed:
        looked = ", ".join(place or "the folder itself" for place in places)
        raise InputError(f"no {' or '.join(names)} in '{printable(root)}' (looked in {looked})")
    return None


def subfolder(root: Path, *names: str) -> Path:
    """The first of these folders that exists, or the root itself."""
    return next((root / name for name in names if (root / name).is_dir()), root)


def read_text(file: Path) -> str:
    """An annotation file; bytes that are no UTF-8 stay what they are, as file names may hold them."""
    try:
        return file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"cannot read {printable(file)}: {error.strerror or error}") from error


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of an annotation file that say something, with their numbers."""
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def read_json(file: Path, kind: type) -> Any:
    """A JSON file that holds a list or an object."""
    try:
        value = json.loads(read_text(file))
    except ValueError as error:
        raise InputError(f"{printable(file)} is no JSON: {error}") from error
    if not isinstance(value, kind):
        raise InputError(f"{printable(file)} must hold a {'list' if kind is list else 'mapping'}")
    return value


def read_csv(file: Path, delimiter: str = ",") -> list[list[str]]:
    """A CSV file's rows that say something."""
    try:
        rows = csv.reader(read_text(file).splitlines(), delimiter=delimiter)
        return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{printable(file)} is no CSV: {error}") from error


class Files:
    """The files of a collection, by name without suffix: people convert videos and keep the names.

    One walk over the folders, and no look at any single file. Folders that could not be looked into
    are in `closed`.
    """

    def __init__(self, root: Path, below: Path | None = None, pictures: bool = False) -> None:
        self.root = root
        self.found: dict[str, list[str]] = {}
        self.closed: list[str] = []
        start = below or root
        if pictures:  # a folder of pictures is a clip: never look into those
            self._add(start, [entry.name for entry in self._scan(start) if entry.is_dir()], whole=True)
            return
        seen: set[tuple[int, int]] = set()
        for place, folders, names in os.walk(start, onerror=self._refused, followlinks=True):
            about = os.stat(place)
            if (about.st_dev, about.st_ino) in seen:
                folders.clear()
                continue
            seen.add((about.st_dev, about.st_ino))
            folders.sort()
            self._add(Path(place), [name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES])

    def get(self, stem: str, parent: str = "") -> str | None:
        """The name below the root of the file with this stem, in a folder of this name if one is given."""
        for name in self.found.get(stem, ()):
            if not parent or name.split("/")[-2:-1] == [parent]:
                return name
        return None

    def notes(self) -> list[str]:
        return [f"could not look into {len(self.closed)} folders: {'; '.join(self.closed)}"] if self.closed else []

    def _scan(self, place: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(place) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._refused(error)
            return []

    def _refused(self, error: OSError) -> None:
        self.closed.append(f"{printable(os.path.relpath(error.filename, self.root))} ({error.strerror or error})")

    def _add(self, place: Path, names: list[str], whole: bool = False) -> None:
        inside = place.relative_to(self.root).as_posix()
        for name in sorted(names):
            stem = name if whole else os.path.splitext(name)[0]
            self.found.setdefault(stem, []).append(name if inside == "." else f"{inside}/{name}")


class Lister:
    """Collects a listing: clips whose file is there, and names of those whose is not."""

    def __init__(self) -> None:
        self.splits: dict[str, list[Entry]] = {}
        self.missing: dict[str, list[str]] = {}

    def add(self, split: str, listed: str, name: str | None, label: int, **about: Any) -> None:
        """A clip that the owners list as `listed` and whose file is `name`, or not there."""
        self.splits.setdefault(split, [])
        if name is None:
            self.missing.setdefault(split, []).append(listed)
        else:
            self.splits[split].append(Entry(name, label, **about))

    def done(self, classes: list[str] | tuple[str, ...], notes: list[str]) -> Listing:
        return Listing(tuple(classes), self.splits, self.missing, notes)


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
