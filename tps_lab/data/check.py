"""What a folder of labelled videos holds, against what its owners list: nothing in it is changed.

By default a video's packets are looked through, undecoded: that finds what is missing, cut off, empty, no
video or too short, in milliseconds a file. With `decode` every frame is decoded, which also finds
damage inside.
"""

from __future__ import annotations

import itertools
import os
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tps_lab.data import data_sets
from tps_lab.data._files import few, open_folder, printable
from tps_lab.data._frames import pictures_in, read_pictures
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import Entry, Listing
from tps_lab.data._seek import look
from tps_lab.data._video import UnreadableVideo, decoded, said
from tps_lab.errors import InputError, unknown
from tps_lab.progress import Progress
from tps_lab.text import counted, table

What = Literal["unreadable", "short", "length"]
_LAST_ASKED = "class-folders"  # it takes nearly any folder for its own


@dataclass(frozen=True)
class Problem:
    """Something wrong with one clip.

    Args:
        what: "unreadable" and "short" make it unusable; "length" is not what its owners say.
        why: in a few words.
    """

    split: str
    entry: Entry
    what: What
    why: str


@dataclass
class Found:
    """What was found in a folder.

    Args:
        kind: name of the reader.
        problems: in the order of the list.
        frames: how many frames the readable clips have: least, median, most.
        in_both: clips that are listed for training and also for validation or test.
    """

    kind: str
    root: Path
    listing: Listing
    official: dict[str, int]
    problems: list[Problem] = field(default_factory=list)
    frames: tuple[int, float, int] | None = None
    in_both: list[str] = field(default_factory=list)
    decoded: bool = False

    def usable(self) -> Iterator[tuple[str, Entry]]:
        """Clips that are there, can be read and are long enough, by split."""
        bad = {(p.split, p.entry.name) for p in self.problems if p.what != "length"}
        for split, entries in self.listing.splits.items():
            yield from ((split, entry) for entry in entries if (split, entry.name) not in bad)

    def facts(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        usable = Counter(split for split, _ in self.usable())
        splits = {}
        for split in dict.fromkeys([*self.official, *self.listing.splits, *self.listing.missing]):
            there, missing = self.listing.splits.get(split, []), self.listing.missing.get(split, [])
            splits[split] = {
                "listed": len(there) + len(missing),
                "official": self.official.get(split),
                "missing": len(missing),
                **{what: sum(p.what == what and p.split == split for p in self.problems) for what in
                   ("unreadable", "short", "length")},
                "usable": usable[split],
                "balance": self._balance(split),
            }  # fmt: skip
        return {
            "kind": self.kind,
            "folder": printable(self.root),
            "classes": len(self.listing.classes),
            "splits": splits,
            "frames": self.frames and {"least": self.frames[0], "median": self.frames[1], "most": self.frames[2]},
            "missing": {split: [printable(name) for name in names] for split, names in self.listing.missing.items()},
            "problems": [
                {"split": p.split, "name": printable(p.entry.name), "what": p.what, "why": p.why} for p in self.problems
            ],
            "in_train_and_elsewhere": [printable(name) for name in self.in_both],
            "notes": [*self.listing.notes, *self.listing.doubts()],
            "how": "every frame decoded" if self.decoded else "packets looked through, nothing decoded",
        }

    def _balance(self, split: str) -> dict[str, Any] | None:
        """Usable clips per class: fewest, median, most, and classes that have none."""
        counts = Counter(entry.label for where, entry in self.usable() if where == split and entry.label >= 0)
        if not counts:
            return None
        every = [counts[label] for label in range(len(self.listing.classes))]
        return {
            "fewest": min(every),
            "median": statistics.median(every),
            "most": max(every),
            "empty": [self.listing.classes[i] for i, n in enumerate(every) if not n],
        }


def kinds() -> dict[str, type[Labelled]]:
    """The readers by name, in the order in which a folder is tried."""
    found = {name: cls for name, cls in data_sets().items() if issubclass(cls, Labelled)}
    return dict(
        sorted(found.items(), key=lambda item: (item[0] in (_LAST_ASKED, "video-list"), item[0] == _LAST_ASKED))
    )


def recognise(root: Path) -> type[Labelled]:
    """The reader that a folder looks like the work of.

    Raises:
        InputError: none does.
    """
    for cls in kinds().values():
        if cls.recognises(root):
            return cls
    raise InputError(
        f"'{printable(root)}' looks like none of {', '.join(kinds())}; say which with --kind, "
        "or read its videos without labels: video-folder(path=…)"
    )


def check(
    path: str | os.PathLike[str],
    kind: str | None = None,
    frames: int = 1,
    decode: bool = False,
    workers: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Found:
    """Look at every clip of a collection.

    Args:
        path: its folder.
        kind: the reader; None finds out.
        frames: a clip with fewer is short.
        decode: decode every frame.
        workers: files looked at at a time; 0: as many as there are cores.
        progress: where to show how far it is.
        **options: of the reader, such as fold=2.

    Raises:
        InputError: no such folder or kind, or annotations that cannot be read.
    """
    root = open_folder(os.fspath(path), "data check")
    if kind is not None and kind not in kinds():
        raise unknown("kind of data", kind, kinds())
    cls = kinds()[kind] if kind else recognise(root)
    for name in options:
        if name not in cls.options():
            raise unknown(f"option of data set '{cls.name}'", name, cls.options())
    reader = cls(path=str(root), **options)
    listing = reader.listing()
    found = Found(cls.name, root, listing, dict(reader.official), decoded=decode)
    train = {entry.name for entry in listing.splits.get("train", [])}
    found.in_both = sorted(
        {e.name for split, entries in listing.splits.items() if split != "train" for e in entries if e.name in train}
    )
    todo = [(split, entry) for split, entries in listing.splits.items() for entry in entries]
    lengths: list[int] = []
    news = max(1, len(todo) // 20)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        (progress or Progress()).run("clips", len(todo)) as advance,
    ):
        looks = pool.map(lambda item: _look(root / item[1].name, item[1], frames, decode), todo)
        for done, ((split, entry), (length, problem)) in enumerate(zip(todo, looks, strict=True), 1):
            if length:
                lengths.append(length)
            if problem:
                found.problems.append(Problem(split, entry, *problem))
            advance(done, None if done % news else f"{len(found.problems)} with something wrong")
    if lengths:
        found.frames = min(lengths), statistics.median(lengths), max(lengths)
    return found


def _look(path: Path, entry: Entry, least: int, decode: bool) -> tuple[int, tuple[What, str] | None]:
    """Frames of a clip (0: unreadable) and what is wrong with it."""
    try:
        length, seconds = _folder_length(path, decode) if os.path.isdir(path) else _video_length(path, decode)
    except UnreadableVideo as error:
        return 0, ("unreadable", error.reason)
    if length < least:
        return length, ("short", f"{counted(length, 'frame')}, {least} needed")
    # owners count from 0 or 1, and encoders cut at keyframes
    if entry.frames and abs(length - entry.frames) > max(2, 0.1 * entry.frames):
        return length, ("length", f"{length} frames, {entry.frames} by its list")
    if entry.seconds and seconds and abs(seconds - entry.seconds) > max(0.5, 0.1 * entry.seconds):
        return length, ("length", f"{seconds:.1f} s, {entry.seconds:.1f} s by its list")
    return length, None


def _video_length(path: Path, decode: bool) -> tuple[int, float]:
    packets = look(path)
    if packets.problem:
        raise UnreadableVideo(path, packets.problem)
    if decode:
        return sum(1 for _ in decoded(path)), packets.seconds
    return packets.frames, packets.seconds


def _folder_length(path: Path, decode: bool) -> tuple[int, float]:
    names = pictures_in(path)
    try:
        empty = [name for name in names if not (path / name).stat().st_size]
    except OSError as error:  # taken away meanwhile
        raise UnreadableVideo(path, said(error)) from error
    if empty:
        raise UnreadableVideo(path, f"{len(empty)} of {len(names)} pictures are empty files, such as {empty[0]}")
    if gone := _gaps(names):
        raise UnreadableVideo(path, f"{gone} pictures are missing between others")
    for i in range(len(names)) if decode else (0, len(names) - 1):
        read_pictures(path, lambda total, i=i: [i], None)  # type: ignore[misc]
    return len(names), 0.0


def _gaps(names: list[str]) -> int:
    """How many pictures are missing in a row of numbered ones, whose numbers may be any steady distance apart."""
    numbers = [re.findall("[0-9]+", os.path.splitext(name)[0]) for name in names]
    varied = [place for place in zip(*numbers, strict=False) if len(set(place)) > 1]
    if len({len(found) for found in numbers}) > 1 or len(varied) != 1:
        return 0  # other numbers than a frame's
    steps = [int(b) - int(a) for a, b in itertools.pairwise(varied[0])]
    usual = Counter(steps).most_common(1)[0][0]
    if usual < 1 or any(step % usual for step in steps):
        return 0  # such as times
    return sum(step // usual - 1 for step in steps)


def text(facts: dict[str, Any]) -> str:
    """`Found.facts` for the terminal."""
    lines = [f"{facts['folder']}: {facts['kind']}, {facts['classes']} classes ({facts['how']})", ""]
    head = ("split", "listed", "official", "missing", "unreadable", "short", "wrong length", "usable")
    rows = []
    for split, about in facts["splits"].items():
        cells = [about[key] for key in ("listed", "official", "missing", "unreadable", "short", "length", "usable")]
        rows.append((split, *("–" if cell is None else f"{cell:,}" for cell in cells)))
    lines += [table(head, rows), ""]
    if facts["frames"]:
        lines.append(f"frames a clip: {facts['frames']['least']} to {facts['frames']['most']}, "
                     f"median {facts['frames']['median']:g}")  # fmt: skip
    for split, about in facts["splits"].items():
        if balance := about["balance"]:
            lines.append(f"clips a class in {split}: {balance['fewest']} to {balance['most']}, "
                         f"median {balance['median']:g}"
                         + (f"; none of {_few(balance['empty'])}" if balance["empty"] else ""))  # fmt: skip
    if facts["in_train_and_elsewhere"]:
        lines.append(f"in train and in another split: {_few(facts['in_train_and_elsewhere'])}")
    for split, names in facts["missing"].items():
        if names:
            lines.append(f"missing from {split}: {_few(names)}")
    for what, title in (("unreadable", "unreadable"), ("short", "short"), ("length", "wrong length (usable)")):
        if named := [f"{p['name']} ({p['why']})" for p in facts["problems"] if p["what"] == what]:
            lines.append(f"{title}: {_few(named)}")
    return "\n".join([*lines, *facts["notes"]])


def _few(items: list[str]) -> str:
    return few(items, 10, hint=" (all: --json)")
