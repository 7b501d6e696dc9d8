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
from tps_lab.data._listing import Files, Listing, find, needed, read_json, subfolder, whole_below
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
        file = needed(root, "Diving48_vocab.json")
        vocab = read_json(file, list)
        for parts in vocab:
            if not isinstance(parts, list) or not parts:
                raise InputError(f"{printable(file)}: every class must be a list of its parts, got {parts!r:.80}")
        classes = [" ".join(map(str, parts)) for parts in vocab]
        files = Files(root, subfolder(root, "rgb", "videos"))
        listing = Listing(tuple(classes), files.notes())
        for split in ("train", "test"):
            file = needed(root, f"Diving48_V2_{split}.json")
            for clip in read_json(file, list):
                if not isinstance(clip, dict) or not {"vid_name", "label"} <= clip.keys():
                    raise InputError(f"{printable(file)}: not a clip with vid_name and label: {clip!r:.80}")
                name, label = str(clip["vid_name"]), whole_below(clip["label"], len(classes))
                if label is None:
                    raise InputError(
                        f"{printable(file)}: {printable(name)} has label {clip['label']!r:.80}, "
                        f"and there are {len(classes)} classes"
                    )
                first, last = (whole_below(clip.get(key, 0)) for key in ("start_frame", "end_frame"))
                if first is None or last is None:
                    given = clip.get("start_frame" if first is None else "end_frame")
                    raise InputError(f"{printable(file)}: {printable(name)} has a frame number {given!r:.80}")
                length = last - first
                listing.add(split, name, files.get(name), label, group=name.rpartition("_")[0], frames=max(0, length))
        return listing
