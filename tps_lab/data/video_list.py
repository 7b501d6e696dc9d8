"""`video-list`: text lists as MMAction has them, one clip a line::

    train.txt     some/video.mp4 12                 a video and its label
                  "a name with blanks.mp4" 12       (or the last blank is the one that counts)
                  some/frames 86 12                 a folder of pictures, how many there are, and the label

Lists are found by their names: `train.txt`, `*_train_list_videos.txt`, `*_val_list_rawframes.txt` and so
on. Names are below the root, or below one of the folders in it that hold videos. A file `classes.txt` or
`label_map.txt`, one class a line, names the classes.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tps_lab.data._files import VIDEOS, listed, printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import MOST_CLASSES, Listing, find, read_lines, whole_below
from tps_lab.errors import InputError, shortened

_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
_BELOW = ("", "videos", "rawframes", "frames")


@dataclass(frozen=True)
class VideoList(Labelled):
    """Any videos, or folders of frames, with text lists of their labels as MMAction writes them."""

    name, title = "video-list", "Listed videos"
    evaluated = "test"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return "train" in _lists(root)

    def listing(self) -> Listing:
        root = self.root
        lists = _lists(root)
        if "train" not in lists:
            raise InputError(f"no list of training clips (train.txt, *_train_list_videos.txt) in '{printable(root)}'")
        clips = [
            (split, *_clip(file, number, line)) for split, file in lists.items() for number, line in read_lines(file)
        ]
        named = find(root, "classes.txt", "label_map.txt")
        most = 1 + max((label for _, _, label, _ in clips), default=-1)
        classes = [line for _, line in read_lines(named)] if named else [f"class {i}" for i in range(most)]
        if most > len(classes):
            raise InputError(
                f"{printable(named or root)} names {len(classes)} classes, and there is a label {most - 1}"
            )
        listing = Listing(tuple(classes))
        if "test" not in lists and "val" in lists:
            listing.notes.append("there is no list of test clips: the validation list is the test")
        for split, name, label, frames in clips:
            # a list's own folder first; another split's may hold another clip of the same name
            places = (*(f"{place}_{split}" for place in _BELOW[1:]), *_BELOW)
            spelt = ((Path(place) / each).as_posix() for each in _spellings(name) for place in places)
            found = next((path for path in spelt if os.path.exists(root / path)), None)
            split = "test" if split == "val" and "test" not in lists else split
            listing.add(split, name, found, label, frames=frames)
        return listing


def _lists(root: Path) -> dict[str, Path]:
    """Official split → its list."""
    found: dict[str, Path] = {}
    for place in ("", "annotations", "labels"):
        for file in listed(root / place, "*.txt"):
            words = re.split(r"[_\-.]", file.stem.lower())
            for word in words:
                if word in _SPLITS and (len(words) == 1 or "list" in words or "split" in words):
                    found.setdefault(_SPLITS[word], file)
    return found


def _spellings(name: str) -> Iterable[str]:
    """A name as it is listed, and as another system writes it: with slashes, and accents in their letters or apart."""
    slashes = name.replace("\\", "/")
    return dict.fromkeys((name, slashes, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))))


def _clip(file: Path, number: int, line: str) -> tuple[str, int, int]:
    """Name, label and frames (0: not said) of a line."""
    where = f"{printable(file)}, line {number}"
    match = re.fullmatch(r'(?:"([^"]+)"|(.+?))\s+([0-9]+)(?:\s+([0-9]+))?', line)
    if match:
        name, first, second = match[1] or match[2], match[3], match[4]
        if second is None or Path(name).suffix.lower() not in VIDEOS:
            label = whole_below(first if second is None else second, MOST_CLASSES)
            frames = 0 if second is None else whole_below(first)
            if label is None or frames is None:
                raise InputError(f"{where}: {shortened(line)!r} has a number beyond {MOST_CLASSES:,}")
            return name, label, frames
    raise InputError(f"{where}: {shortened(line)!r} is neither VIDEO LABEL nor FOLDER FRAMES LABEL")
