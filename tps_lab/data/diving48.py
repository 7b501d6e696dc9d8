"""Diving-48 V2 (Li et al., ECCV 2018; labels cleaned in 2020), as its owners publish it::

rgb/_8Vy3dlHg2w_00000.mp4        the videos; the name's part before the last _ is the competition
Diving48_vocab.json              [["Back", "15som", "05Twis", "FREE"], …]
Diving48_V2_train.json           [{"vid_name", "label", "start_frame", "end_frame"}, …]
Diving48_V2_test.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tps_lab.data._files import printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import Files, Listing, find, needed, read_json, subfolder
from tps_lab.errors import InputError


@dataclass(frozen=True)
class Diving48(Labelled):
    """Diving-48 V2: dives of 48 kinds that differ in take-off, somersaults, twists and flight. MP4 videos
    and JSON labels, from a folder of your own.
    """

    name, title = "diving48", "Diving-48"
    official: ClassVar[Mapping[str, int]] = {"train": 15_027, "test": 1_970}
    evaluated = "test"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return find(root, "Diving48_V2_train.json") is not None

    def listing(self) -> Listing:
        root = self.root
        classes = [" ".join(map(str, parts)) for parts in read_json(needed(root, "Diving48_vocab.json"), list)]
        files = Files(root, subfolder(root, "rgb", "videos"))
        listing = Listing(tuple(classes), files.notes())
        for split in ("train", "test"):
            file = needed(root, f"Diving48_V2_{split}.json")
            for clip in read_json(file, list):
                try:
                    name, label = str(clip["vid_name"]), int(clip["label"])
                    length = int(clip.get("end_frame", 0)) - int(clip.get("start_frame", 0))
                except (KeyError, TypeError, ValueError, AttributeError):
                    raise InputError(f"{printable(file)}: not a clip with vid_name and label: {clip!r:.80}") from None
                if not 0 <= label < len(classes):
                    raise InputError(
                        f"{printable(file)}: {name} has label {label}, and there are {len(classes)} classes"
                    )
                listing.add(split, name, files.get(name), label, group=name.rpartition("_")[0], frames=max(0, length))
        return listing
