"""`class-folders`: videos in folders that are named by their class::

    train/walking/a.mp4, val/walking/b.mp4, test/…     splits as folders (val, validation and test)
    walking/a.mp4, running/b.mp4                       or none: then a share of each class is the test

Without split folders a video goes to the test by its name and the seed, so that adding videos moves none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tps_lab.data._files import is_data, printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import Files, Lister, Listing
from tps_lab.errors import InputError

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class ClassFolders(Labelled):
    """Any videos in folders that are named by their class.

    Args:
        test_share: how much of the videos is the test where no folder says so.
    """

    name, title = "class-folders", "Class folders"
    evaluated = "test"

    test_share: float = 0.2

    @classmethod
    def recognises(cls, root: Path) -> bool:
        try:
            return any(folder.is_dir() and is_data(folder.name) for folder in root.iterdir())
        except OSError:
            return False

    def listing(self) -> Listing:
        files = Files(self.root)
        names = sorted(name for found in files.found.values() for name in found)
        parts = [name.split("/") for name in names]
        split = {_SPLITS[p[0].lower()] for p in parts if p[0].lower() in _SPLITS and len(p) > 2}
        notes = files.notes()
        if "train" in split:
            known = [(_SPLITS[p[0].lower()], p[1], n) for p, n in zip(parts, names, strict=True)
                     if p[0].lower() in _SPLITS and len(p) > 2]  # fmt: skip
            if "test" not in split:
                notes.append("there is no folder test: the folder val is the test")
                known = [("test" if s == "val" else s, label, n) for s, label, n in known]
        else:
            inside = [(p[0], n) for p, n in zip(parts, names, strict=True) if len(p) > 1]
            known = [("test" if self._tested(n) else "train", label, n) for label, n in inside]
            notes.append(f"no folders train and test: {100 * self.test_share:g} % of the videos are the test, by name")
        if not known:
            raise InputError(f"no CLASS/VIDEO in '{printable(self.root)}': found {len(names)} videos in no folder")
        classes = sorted({label for _, label, _ in known})
        labels = {name: number for number, name in enumerate(classes)}
        lister = Lister()
        for where, label, name in known:
            lister.add(where, name, name, labels[label])
        return lister.done([printable(name) for name in classes], notes)

    def _tested(self, name: str) -> bool:
        digest = hashlib.sha256(f"{self.seed}:{name}".encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:7], "big") < self.test_share * 2**56
