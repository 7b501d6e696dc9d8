"""`class-folders`: videos in folders that are named by their class::

    train/walking/a.mp4, val/walking/b.mp4, test/…     splits as folders (val, validation and test)
    walking/a.mp4, running/b.mp4                       or none: then a share of each class is the test

Without split folders a video goes to the test by its name and the seed, so that adding videos moves none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tps_lab.data._files import is_data, printable
from tps_lab.data._labelled import Labelled, in_share
from tps_lab.data._listing import Files, Listing
from tps_lab.errors import InputError


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
        notes = files.notes()
        known = files.in_split_folders()
        splits = {split for split, _, _ in known}
        if "train" not in splits:
            names = sorted(name for found in files.found.values() for name in found)
            known = [
                ("test" if in_share(name, self.test_share, self.seed) else "train", name.split("/")[0], name)
                for name in names
                if "/" in name
            ]
            notes.append(f"no folders train and test: {100 * self.test_share:g} % of the videos are the test, by name")
            if not known:
                raise InputError(f"no CLASS/VIDEO in '{printable(self.root)}': found {len(names)} videos in no folder")
        elif "test" not in splits:
            notes.append("there is no folder test: the folder val is the test")
            known = [("test" if split == "val" else split, kind, name) for split, kind, name in known]
        classes = sorted({kind for _, kind, _ in known})
        labels = {kind: label for label, kind in enumerate(classes)}
        listing = Listing(tuple(map(printable, classes)), notes)
        for split, kind, name in known:
            listing.add(split, name, name, labels[kind])
        return listing
