"""HMDB51 (Kuehne et al., ICCV 2011), as its owners publish it::

    brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi       or below videos/, or hmdb51_org/
    testTrainMulti_7030_splits/brush_hair_test_split1.txt      April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1

In a split's file 1 is training, 2 is test and 0 is neither. The name up to the class is the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tps_lab.data._files import listed, printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import PLACES, Files, Listing, read_lines
from tps_lab.errors import InputError

_ROLES = {"0": "unused", "1": "train", "2": "test"}


@dataclass(frozen=True)
class Hmdb51(Labelled):
    """HMDB51: 51 kinds of actions from films, in three official splits. AVI videos and text lists, from a
    folder of your own.

    Args:
        fold: which of the three official splits.
    """

    name, title = "hmdb51", "HMDB51"
    licence = "CC BY 4.0, say Kuehne et al.; the films that the clips are from have owners of their own."
    evaluated = "test"
    official: ClassVar[Mapping[str, int]] = {"train": 3_570, "test": 1_530}

    sampling: Literal["segments", "dense"] = "dense"
    randaugment: int = 0
    erasing: float = 0.0
    fold: int = 1

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return bool(_lists(root, 1))

    def listing(self) -> Listing:
        root = self.root
        lists = _lists(root, self.fold)
        if not lists:
            raise InputError(f"no CLASS_test_split{self.fold}.txt in '{printable(root)}' (looked in {PLACES[-1]}, …)")
        classes = [file.name.removesuffix(f"_test_split{self.fold}.txt") for file in lists]
        files = Files(root)
        listing = Listing(tuple(kind.replace("_", " ") for kind in classes), files.notes())
        for label, (kind, file) in enumerate(zip(classes, lists, strict=True)):
            for number, line in read_lines(file):
                match = re.fullmatch(r"(.+?)\s+([012])", line)
                if not match:
                    raise InputError(f"{printable(file)}, line {number}: {line!r} is not VIDEO 0, 1 or 2")
                stem = Path(match[1]).stem
                name = files.get(stem, [kind], classes)
                listing.add(_ROLES[match[2]], f"{kind}/{match[1]}", name, label, group=stem.partition(f"_{kind}_")[0])
        return listing


def _lists(root: Path, fold: int) -> list[Path]:
    for place in reversed(PLACES):
        if found := listed(root / place, f"*_test_split{fold}.txt"):
            return found
    return []
