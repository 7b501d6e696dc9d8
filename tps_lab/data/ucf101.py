"""UCF101 (Soomro et al., 2012), as its owners publish it::

UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi     g01: 25 sources a class
ucfTrainTestlist/classInd.txt                           1 ApplyEyeMakeup
ucfTrainTestlist/trainlist01.txt                        ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
ucfTrainTestlist/testlist01.txt                         ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from tps_lab.data._files import composed, printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import Files, Listing, find, needed, read_lines, whole_below
from tps_lab.errors import InputError, shortened

_SIZES = ({"train": 9_537, "test": 3_783}, {"train": 9_586, "test": 3_734}, {"train": 9_624, "test": 3_696})


@dataclass(frozen=True)
class Ucf101(Labelled):
    """UCF101: 101 kinds of actions from YouTube, in three official splits. AVI videos and text lists,
    from a folder of your own.

    Args:
        fold: which of the three official splits.
    """

    name, title = "ucf101", "UCF101"
    evaluated = "test"

    sampling: Literal["segments", "dense"] = "dense"
    randaugment: int = 0
    erasing: float = 0.0
    fold: int = 1

    @property
    def official(self) -> Mapping[str, int]:  # type: ignore[override]
        return _SIZES[self.fold - 1]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return find(root, "classInd.txt") is not None

    def listing(self) -> Listing:
        root = self.root
        index = needed(root, "classInd.txt")
        numbers: dict[str, int] = {}
        for number, line in read_lines(index):
            first, name = (*composed(line).split(maxsplit=1), "")[:2]
            given = whole_below(first)
            if given is None or not name:
                raise InputError(f"{printable(index)}, line {number}: {shortened(line)!r} is not NUMBER CLASS")
            if name in numbers or given in numbers.values():
                raise InputError(f"{printable(index)}, line {number}: {shortened(line)!r} has a number or class twice")
            numbers[name] = given
        classes = sorted(numbers, key=lambda name: numbers[name])
        labels = {name: label for label, name in enumerate(classes)}
        files = Files(root)
        listing = Listing(tuple(classes), files.notes())
        for split in ("train", "test"):
            file = needed(root, f"{split}list{self.fold:02d}.txt")
            for number, line in read_lines(file):
                where = f"{printable(file)}, line {number}"
                labelled = re.search(r"\s+(\d+)$", line)  # the label stands in training lists alone
                path = PurePosixPath((line[: labelled.start()] if labelled else line).replace("\\", "/"))
                kind = composed(path.parent.name)
                if kind not in labels:
                    raise InputError(f"{where}: {shortened(line)!r} is in no class of {index.name}")
                if labelled and whole_below(labelled[1]) != numbers[kind]:
                    raise InputError(f"{where}: {shortened(line)!r}, and {index.name} gives {kind} {numbers[kind]}")
                # v_ApplyEyeMakeup_g01_c01: clips of a source are cut from one video
                group = path.stem.rpartition("_c")[0]
                listing.add(split, str(path), files.get(path.stem, [kind], classes), labels[kind], group=group)
        return listing
