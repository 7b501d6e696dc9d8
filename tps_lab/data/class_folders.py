"""`class-folders`: videos in folders that are named by their class::

    train/walking/a.mp4, val/walking/b.mp4, test/…     splits as folders (val, validation and test)
    walking/a.mp4, running/b.mp4                       or none: then a share of each class is the test

Without split folders a video goes to the test by its name and the seed, so that adding videos moves none.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tps_lab.data._files import composed, is_data, listed, printable
from tps_lab.data._labelled import Labelled, in_share
from tps_lab.data._listing import SPLIT_FOLDERS, Files, Listing
from tps_lab.errors import InputError
from tps_lab.text import counted


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
        root = self.root
        named = [folder for folder in listed(root, "*") if folder.name.lower() in SPLIT_FOLDERS and folder.is_dir()]
        _refuse_shared(root, named)
        files = Files(root, first=[folder.name for folder in named])  # of two links to a class, the one in a split
        notes = files.notes()
        names = sorted(name for found in files.found.values() for name in found)
        known = files.in_split_folders()
        splits = {split for split, _, _ in known}
        if named and "train" not in splits:
            held = Counter(name.split("/")[0] for name in names if "/" in name)
            each = [f"{printable(top)}/ ({counted(n, 'video')})" for top, n in held.items()]
            found = ", ".join(each[:5]) + (", …" if len(each) > 5 else "") if each else "no video in a folder"
            raise InputError(
                f"'{printable(root)}' has a folder {printable(named[0].name)} and no train/CLASS/VIDEO: found {found}; "
                "expected train/CLASS/VIDEO and test/CLASS/VIDEO, or CLASS/VIDEO with no class named as a split is"
            )
        if not named:
            known = [
                ("test" if in_share(name, self.test_share, self.seed) else "train", composed(name.split("/")[0]), name)
                for name in names
                if "/" in name
            ]
            notes.append(f"no folders train and test: {100 * self.test_share:g} % of the videos are the test, by name")
            if not known:
                raise InputError(f"no CLASS/VIDEO in '{printable(root)}': found {len(names)} videos in no folder")
        elif "test" not in splits:
            notes.append("there is no folder test: the folder val is the test")
            known = [("test" if split == "val" else split, kind, name) for split, kind, name in known]
        if beside := sorted(set(names) - {name for _, _, name in known}):
            notes.append(f"left out, as no folder says their class: {counted(len(beside), 'video')} ({_few(beside)})")
        classes = sorted({kind for _, kind, _ in known})
        folders = {composed(folder.name) for top in named or [root] for folder in listed(top, "*") if folder.is_dir()}
        closed = {composed(Path(error.filename).name) for error in files.closed}
        if empty := sorted(folders - closed - set(classes)):
            notes.append(f"left out, as no video is in them: {counted(len(empty), 'folder')} ({_few(empty)})")
        if len(classes) < 2:
            raise InputError(
                f"'{printable(root)}' has one class alone, {printable(classes[0])}; two or more are needed"
            )
        labels = {kind: label for label, kind in enumerate(classes)}
        listing = Listing(tuple(map(printable, classes)), notes)
        for split, kind, name in known:
            listing.add(split, name, name, labels[kind])
        return listing


def _few(names: list[str]) -> str:
    return ", ".join(map(printable, names[:3])) + (", …" if len(names) > 3 else "")


def _refuse_shared(root: Path, named: list[Path]) -> None:
    """Refuse folders of two splits that are one, as by a link: its clips would be read for one of them alone."""
    seen: dict[tuple[int, int], Path] = {}
    for folder in [folder for split in named for folder in (split, *listed(split, "*")) if folder.is_dir()]:
        about = folder.stat()
        first = seen.setdefault((about.st_dev, about.st_ino), folder)
        splits = {SPLIT_FOLDERS[place.relative_to(root).parts[0].lower()] for place in (first, folder)}
        if len(splits) > 1:
            one, other = (printable(os.path.relpath(place, root)) for place in (first, folder))
            raise InputError(f"{one} and {other} in '{printable(root)}' are one folder; each split needs its own clips")
