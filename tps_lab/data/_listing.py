"""A collection as its owners list it: annotation files, the files that are there, and what comes of the two.

Nothing here decodes a video, and no file of the collection but its annotations is opened.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tps_lab.data._files import VIDEOS, composed, few, is_data, not_looked_into, printable, walk
from tps_lab.errors import InputError, shortened
from tps_lab.specs import whole


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


MOST_CLASSES = 1_000_000  # more make lists that fill the memory, and no collection has as many
MOST_FRAMES = 2**31


@dataclass
class Listing:
    """The index of a collection: its clips as its owners list them, and what of that is there.

    Every reader makes one; training, `data check` and the list of usable clips go by it.

    Args:
        classes: names, in the order of the labels.
        notes: what a report should say.

    Attributes:
        splits: official split → its clips, those whose files are there.
        missing: official split → names of clips that are listed and not there.
    """

    classes: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    splits: dict[str, list[Entry]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)

    def add(self, split: str, listed: str, name: str | None, label: int, **about: Any) -> None:
        """A clip that the owners list as `listed` and whose file is `name`, or not there."""
        self.splits.setdefault(split, [])
        if name is None:
            self.missing.setdefault(split, []).append(listed)
        else:
            self.splits[split].append(Entry(name, label, **about))

    def doubts(self) -> list[str]:
        """What a report says of clips that are listed with several labels, or more than once in a split."""
        labels: dict[tuple[str, int, int], set[int]] = {}
        times: Counter[tuple[str, str, int, int]] = Counter()
        for split, entries in self.splits.items():
            for entry in entries:
                times[split, entry.name, entry.start, entry.stop] += 1
                if entry.label >= 0:
                    labels.setdefault((entry.name, entry.start, entry.stop), set()).add(entry.label)
        several = [
            f"{printable(name)} ({', '.join(self.classes[i] for i in sorted(found))})"
            for (name, _, _), found in labels.items()
            if len(found) > 1
        ]
        again = [
            f"{printable(name)} ({split}, {count} times)"
            for (split, name, start, stop), count in times.items()
            if count > 1 and len(labels.get((name, start, stop), ())) < 2
        ]
        return [
            f"{what}: {few(each, 10)}"
            for what, each in (("listed with several labels", several), ("listed and counted more than once", again))
            if each
        ]


_HEAD = "# usable clips of a collection: split, label and name below its folder; read with only=THIS FILE"


def write_usable(file: Path, clips: Iterable[tuple[str, Entry]]) -> int:
    """Write clips and their splits to a new file; returns how many it names.

    One clip a line, split, label and name with tabs between; a name with odd characters stands as JSON.

    Raises:
        InputError: the file exists (nothing is overwritten) or cannot be written.
    """

    def text(name: str) -> str:
        plain = name.isprintable() and name == name.strip() and not name.startswith('"')
        return name if plain else json.dumps(name)

    lines = [_HEAD, *(f"{split}\t{entry.label}\t{text(entry.name)}" for split, entry in clips)]
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise InputError(f"{printable(file)} already exists and is not overwritten; give another name") from None
    except OSError as error:
        raise InputError(f"cannot write {printable(file)}: {error.strerror or error}") from error
    return len(lines) - 1


def usable_names(file: str | os.PathLike[str]) -> frozenset[str]:
    """The names that `write_usable` wrote.

    Raises:
        InputError: the file cannot be read, or a line is no clip.
    """
    names = set()
    for number, line in read_lines(Path(file).expanduser()):
        if line.startswith("#"):
            continue
        parts = line.split("\t")
        try:
            names.add(json.loads(parts[2]) if parts[2].startswith('"') else parts[2])
        except (IndexError, ValueError):
            where = f"{printable(file)}, line {number}"
            raise InputError(f"{where}: {line!r} is not SPLIT, LABEL and NAME with tabs between") from None
    return frozenset(names)


# where collections keep annotations
PLACES = ("", "labels", "annotations", "splits", "ucfTrainTestlist", "testTrainMulti_7030_splits")


def find(root: Path, *names: str) -> Path | None:
    """The first of these annotation files that exists."""
    files = (root / place / name for name in names for place in PLACES)
    return next((file for file in files if file.is_file()), None)


def needed(root: Path, *names: str) -> Path:
    """As `find`.

    Raises:
        InputError: none of the files exists.
    """
    if file := find(root, *names):
        return file
    looked = ", ".join(place or "the folder itself" for place in PLACES)
    raise InputError(f"no {' or '.join(names)} in '{printable(root)}' (looked in {looked})")


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
    """A JSON file that holds a list or an object, no name in an object twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            name = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise InputError(f"{printable(file)}: {shortened(name)!r} is listed twice")
        return found

    try:
        value = json.loads(read_text(file), object_pairs_hook=once)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{printable(file)} is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{printable(file)} is not JSON: {error}".split(";")[0]) from error
    if not isinstance(value, kind):
        raise InputError(f"{printable(file)} must hold a {'list' if kind is list else 'mapping'}")
    return value


def whole_below(given: Any, end: int = MOST_FRAMES) -> int | None:
    """A whole number of an annotation, from 0 to below `end`, or its text; None for anything else."""
    value = whole(given)
    return value if value is not None and 0 <= value < end else None


def read_csv(file: Path, delimiter: str = ",") -> list[list[str]]:
    """A CSV file's rows that say something."""
    try:
        rows = csv.reader(read_text(file).splitlines(), delimiter=delimiter)
        return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{printable(file)} is not CSV: {error}") from error


# as people name them → official split
SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **dict.fromkeys(("val", "valid", "validation", "validate"), "val"),
}


class Files:
    """The files of a collection, by name without suffix: people convert videos and keep the names.

    One walk over the folders, and no look at any single file.
    """

    def __init__(
        self, root: Path, below: Path | None = None, pictures: bool = False, first: Collection[str] = ()
    ) -> None:
        self.root = root
        self.found: dict[str, list[str]] = {}
        self.closed: list[OSError] = []
        start = below or root
        if pictures:  # a folder of pictures is a clip: never look into those
            self._add(start, [entry.name for entry in self._scan(start) if entry.is_dir()], whole=True)
            return
        for place, names in walk(start, self.closed.append, first):
            self._add(place, [name for name in names if os.path.splitext(name)[1].lower() in VIDEOS])

    def get(self, stem: str, folders: Sequence[str] = (), others: Collection[str] = ()) -> str | None:
        """The name below the root of the file with this stem.

        Args:
            folders: those that it should lie in, such as its split's and its class's; of several files the one that
                lies in most of them is taken. Capitals, blanks and underscores do not matter.
            others: names of folders for other clips, such as other classes'; a file that lies in one is another clip
                that has the same name.
        """
        wanted = {_plain(name) for name in folders}
        foreign = {_plain(name) for name in others} - wanted
        best, most = None, -1
        for name in self.found.get(composed(stem), ()):
            above = {_plain(part) for part in name.split("/")[:-1]}
            if not above & foreign and len(above & wanted) > most:
                best, most = name, len(above & wanted)
        return best

    def in_split_folders(self) -> list[tuple[str, str, str]]:
        """Split, class and name of the files in train/CLASS/, val/CLASS/ and test/CLASS/, in order."""
        names = sorted(name for found in self.found.values() for name in found)
        parts = [(*name.split("/", 2), name) for name in names if name.count("/") >= 2]
        return [(SPLIT_FOLDERS[p[0].lower()], composed(p[1]), p[-1]) for p in parts if p[0].lower() in SPLIT_FOLDERS]

    def notes(self) -> list[str]:
        return not_looked_into(self.closed, self.root)

    def _scan(self, place: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(place) as entries:
                return sorted((entry for entry in entries if is_data(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            self.closed.append(error)
            return []

    def _add(self, place: Path, names: list[str], whole: bool = False) -> None:
        inside = place.relative_to(self.root).as_posix()
        for name in sorted(names):
            stem = name if whole else os.path.splitext(name)[0]
            self.found.setdefault(composed(stem), []).append(name if inside == "." else f"{inside}/{name}")


def _plain(folder: str) -> str:
    return composed(folder).replace("_", " ").casefold().strip()
