"""Something-Something V2 (Goyal et al., ICCV 2017; the second release of 2018), as its owner publishes it::

    20bn-something-something-v2/78687.webm          the videos, in one folder
    something-something-v2-labels.json              {"Holding something next to something": "57", …}
    something-something-v2-train.json               [{"id", "label", "template", "placeholders"}, …]
    something-something-v2-validation.json
    something-something-v2-test.json                [{"id"}, …]: no labels

The annotations may also lie in `labels/`, under their short names (`train.json`, …), as newer archives
have them. A clip's class is its template without the brackets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tps_lab.data._files import printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import MOST_CLASSES, Files, Listing, find, needed, read_json, subfolder, whole_below
from tps_lab.errors import InputError

_LONG = "something-something-v2-"


@dataclass(frozen=True)
class SomethingV2(Labelled):
    """Something-Something V2: 174 ways of handling things, hardly recognisable from single frames. WebM videos
    and JSON labels, from a folder of your own.
    """

    name, title = "ssv2", "Something-Something V2"
    official: ClassVar[Mapping[str, int]] = {"train": 168_913, "validation": 24_777, "test": 27_157}

    @classmethod
    def recognises(cls, root: Path) -> bool:
        short = (root / "labels" / name for name in ("labels.json", "validation.json"))
        return find(root, f"{_LONG}labels.json") is not None or all(file.is_file() for file in short)

    def listing(self) -> Listing:
        root = self.root
        file = needed(root, f"{_LONG}labels.json", "labels.json")
        numbers = read_json(file, dict)
        labels: dict[str, int] = {}
        for template, given in numbers.items():
            number = whole_below(given, MOST_CLASSES)
            if number is None:
                raise InputError(
                    f"{printable(file)} must map templates to numbers, got {template!r:.80}: {given!r:.80}"
                )
            labels[template] = number
        if sorted(labels.values()) != list(range(len(labels))):
            raise InputError(f"{printable(file)}: the numbers must be 0 to {len(labels) - 1}, each once")
        files = Files(root, subfolder(root, "20bn-something-something-v2", "videos"))
        listing = Listing(tuple(sorted(labels, key=lambda template: labels[template])), files.notes())
        for split in ("train", "validation", "test"):
            names = f"{_LONG}{split}.json", f"{split}.json"
            if split == "test" and not find(root, *names):
                continue  # it has no labels, and is often left out
            file = needed(root, *names)
            for clip in read_json(file, list):
                if not isinstance(clip, dict) or "id" not in clip:
                    raise InputError(f"{printable(file)}: every clip must have an id, got {clip!r:.80}")
                template = str(clip.get("template", "")).replace("[", "").replace("]", "")
                if split != "test" and template not in labels:
                    raise InputError(f"{printable(file)}: clip {clip['id']} has no known template: {template!r}")
                name = str(clip["id"])
                listing.add(split, name, files.get(name), labels.get(template, -1))
        return listing
