"""Something-Something V1 (Goyal et al., ICCV 2017), as its owner publishes it::

20bn-something-something-v1/100218/00001.jpg    a folder of frames for each clip, 12 a second
something-something-v1-labels.csv               the classes, one a line; a label is a line's number
something-something-v1-train.csv                100218;Something falling like a feather or paper
something-something-v1-validation.csv
something-something-v1-test.csv                 only numbers: no labels
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tps_lab.data._files import printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import Files, Listing, find, needed, read_csv, read_lines, subfolder
from tps_lab.errors import InputError

_LONG = "something-something-v1-"
_OF_V2 = frozenset({86, 87, 93, 94, 166, 167})


@dataclass(frozen=True)
class SomethingV1(Labelled):
    """Something-Something V1: 174 ways of handling things. Folders of JPEG frames and CSV labels, from
    a folder of your own.

    Args:
        official_flips: mirror as the official configuration of TPS does. It protects the labels of
            V2 (86, 87, 93, 94, 166, 167), which in V1 are other classes, and mirrors V1's own
            left/right classes: likely a mistake, kept as an option so that it can be measured.
    """

    name, title = "ssv1", "Something-Something V1"
    official: ClassVar[Mapping[str, int]] = {"train": 86_017, "validation": 11_522, "test": 10_960}

    official_flips: bool = False

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return find(root, f"{_LONG}labels.csv") is not None

    def listing(self) -> Listing:
        root = self.root
        file = needed(root, f"{_LONG}labels.csv")
        classes = [line.strip('"') for _, line in read_lines(file)]
        labels = {name: number for number, name in enumerate(classes)}
        if len(labels) < len(classes):
            raise InputError(f"{printable(file)}: a class is listed twice")
        files = Files(root, subfolder(root, "20bn-something-something-v1", "frames"), pictures=True)
        listing = Listing(tuple(classes), files.notes())
        for split in ("train", "validation", "test"):
            if split == "test" and not find(root, f"{_LONG}test.csv"):
                continue  # it has no labels, and is often left out
            file = needed(root, f"{_LONG}{split}.csv")
            for row in read_csv(file, ";"):
                label = labels.get(row[1], -1) if len(row) > 1 else -1
                if split != "test" and label < 0:
                    raise InputError(f"{printable(file)}: {';'.join(row)!r} is not NUMBER;CLASS of a known class")
                listing.add(split, row[0], files.get(row[0]), label)
        return listing

    def never_flipped(self, classes: tuple[str, ...]) -> frozenset[int]:
        return _OF_V2 if self.official_flips else super().never_flipped(classes)

    def warnings(self) -> tuple[str, ...]:
        if not self.official_flips:
            return ()
        return (
            "official_flips: clips of left/right classes are mirrored with their label unchanged, as in the official "
            "configuration, which protects V2's labels instead of V1's",
        )
