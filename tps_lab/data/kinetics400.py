"""Kinetics-400 (Kay et al., 2017), in the two forms that people have it in::

    train.csv, val.csv (or validate.csv), test.csv     label,youtube_id,time_start,time_end,split
    train/abseiling/0347ZoDXyP0_000095_000105.mp4      or without the class folder, anywhere below the root

    train/abseiling/….mp4, val/abseiling/….mp4         without CSV files: the folders are the labels

Clips are ten seconds cut from YouTube, and some are gone: those that the CSV files list and that are not
there are counted. Class folders may have underscores for spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tps_lab.data._files import printable
from tps_lab.data._labelled import Labelled
from tps_lab.data._listing import Files, Listing, find, read_csv
from tps_lab.errors import InputError
from tps_lab.specs import number

_FILES = {
    "train": ("train.csv", "kinetics_train.csv", "kinetics-400_train.csv"),
    "val": ("val.csv", "validate.csv", "kinetics_val.csv", "kinetics-400_val.csv"),
    "test": ("test.csv", "kinetics_test.csv", "kinetics-400_test.csv"),
}


@dataclass(frozen=True)
class Kinetics400(Labelled):
    """Kinetics-400: 400 kinds of actions in ten seconds from YouTube, many recognisable from a single frame. CSV
    files or class folders, from a folder of your own; what is gone from YouTube is counted.
    """

    name, title = "kinetics400", "Kinetics-400"
    licence = "The lists are Google's, CC BY 4.0; the videos belong to those who uploaded them."
    evaluated = "val"
    # rows of the lists that the owners published; ActivityNet's issue 38 counts one more line in each, the headings.
    # Every copy of the videos has fewer.
    official: ClassVar[Mapping[str, int]] = {"train": 246_534, "val": 19_906, "test": 38_685}

    sampling: Literal["segments", "dense"] = "dense"
    randaugment: int = 0
    erasing: float = 0.0

    @classmethod
    def recognises(cls, root: Path) -> bool:
        file = find(root, *_FILES["val"])
        try:
            return file is not None and "youtube_id" in read_csv(file)[0]
        except (InputError, IndexError):
            return False

    def listing(self) -> Listing:
        root = self.root
        files = Files(root)
        tables = {split: file for split, names in _FILES.items() if (file := find(root, *names))}
        if "train" not in tables and "val" not in tables:
            return self._by_folders(files)
        clips: list[tuple[str, str, str, float]] = []  # split, class, file's name, seconds
        for split, file in tables.items():
            head, *rows = read_csv(file) or [[]]
            if "youtube_id" not in head:
                raise InputError(f"{printable(file)}: no column youtube_id in {','.join(head)}")
            for row in rows:
                cells = dict(zip(head, row, strict=False))
                start, end = (number(cells.get(key)) for key in ("time_start", "time_end"))
                if start is None or end is None or not cells.get("youtube_id"):
                    raise InputError(
                        f"{printable(file)}: no youtube_id, time_start and time_end in {','.join(row)!r:.80}"
                    )
                stem = f"{cells['youtube_id']}_{int(start):06d}_{int(end):06d}"
                clips.append((split, cells.get("label", ""), stem, end - start))
        classes = sorted({label for _, label, _, _ in clips if label})
        labels = {name: i for i, name in enumerate(classes)}
        listing = Listing(tuple(classes), files.notes())
        for split, label, stem, seconds in clips:
            source = stem[:-14]  # without the two times
            name = files.get(stem, [split, label], classes) or files.get(source, [split, label], classes)
            listing.add(split, stem, name, labels.get(label, -1), group=source, seconds=seconds)
        return listing

    def _by_folders(self, files: Files) -> Listing:
        known = files.in_split_folders()
        if not known:
            raise InputError(
                f"no CSV file ({', '.join(_FILES['train'])}) and no train/CLASS/VIDEO in '{printable(files.root)}'"
            )
        classes = sorted({kind for _, kind, _ in known})
        labels = {kind: label for label, kind in enumerate(classes)}
        said = [*files.notes(), "labels are the folders' names: there is no list that says what is missing"]
        listing = Listing(tuple(kind.replace("_", " ") for kind in classes), said)
        for split, kind, name in known:
            stem = Path(name).stem
            listing.add(split, name, name, labels[kind], group=stem[:-14] or stem, seconds=10.0)
        return listing
