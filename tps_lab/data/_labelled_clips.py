"""The clips of labelled videos: read when they are asked for, several at a time, nothing kept.

A train clip is drawn anew in each epoch, and follows from the seed, its place in the split and the epoch
alone. A file that turns out broken stops nothing: in training the next clip takes its place, in tests a
grey clip does, so that accuracy is still one over all test clips; either way it is named in `notes`.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tps_lab.data import sampling, transforms
from tps_lab.data._base import SPLITS, Clips, Split
from tps_lab.data._files import printable
from tps_lab.data._frames import read
from tps_lab.data._labelled import Labelled, divided
from tps_lab.data._listing import Entry, Listing
from tps_lab.data._video import UnreadableVideo
from tps_lab.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

_TRIES = 20  # clips in a row that may be broken


class LabelledClips(Clips):
    """The opened clips of a `Labelled`.

    Attributes:
        entries: what each split holds.
        broken: files that could not be read so far, and why.
        workers: clips that are read at a time; set it as you like, it changes no clip.
    """

    augments = True

    def __init__(self, options: Labelled) -> None:
        self.options = options
        self.root = options.root
        if options.decoder == "torchcodec":
            from tps_lab.data._torchcodec import check_installed

            check_installed()
        listing = options.listing()
        self.classes = listing.classes
        self.clip_shape = (3, options.frames, options.size, options.size)
        parts = divided(options, listing)
        said: list[str] = []
        if options.only:
            from tps_lab.data._listing import usable_names

            names = usable_names(options.only)
            parts = {split: [entry for entry in entries if entry.name in names] for split, entries in parts.items()}
            said.append(f"only the {len(names)} clips that {printable(options.only)} lists")
        self.entries = parts
        for split in ("train", "test"):
            if not parts[split]:
                raise InputError(self._nothing(split, listing))
        self.fixed = options.never_flipped(listing.classes)
        self.epoch = 0
        self.broken: dict[str, str] = {}
        self.workers = min(8, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        counts = ", ".join(f"{len(parts[split])} {split}" for split in SPLITS)
        held = "the test clips" if parts["val"] == parts["test"] else f"held out of train: {100 * options.holdout:g} %"
        self._said = (
            f"{options.title}: {counts} clips; test is the official {options.evaluated} split, val is {held}",
            *(_missing(listing)),
            *said,
            *listing.notes,
            *options.warnings(),
        )

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What a report must say, with the files that turned out broken by now."""
        if not self.broken:
            return self._said
        with self._lock:
            named = sorted(f"{printable(name)} ({why})" for name, why in self.broken.items())
        more = f"; and {len(named) - 20} more" if len(named) > 20 else ""
        return (*self._said, f"{len(named)} files could not be read: {'; '.join(named[:20])}{more}")

    def size(self, split: Split) -> int:
        return len(self.entries[split])

    def names(self, split: Split) -> list[str]:
        return [entry.name for entry in self.entries[split]]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        import torch

        epoch = self.epoch
        if split == "train":
            made = self._all(lambda i: self.train_clip(i, epoch), index)
        else:
            made = self._all(lambda i: self._test_clip(split, i, 1, 1), index)
        clips = torch.stack([clip[0] for clip, _ in made]).to(device, non_blocking=True)
        labels = torch.tensor([label for _, label in made], dtype=torch.long, device=device)
        return transforms.normalised(clips), labels

    def views(
        self, split: Split, index: Tensor, clips: int = 1, crops: int = 1, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        import torch

        made = self._all(lambda i: self._test_clip(split, i, clips, crops), index)
        x = torch.stack([clip for clip, _ in made]).to(device, non_blocking=True)
        labels = torch.tensor([label for _, label in made], dtype=torch.long, device=device)
        return transforms.normalised(x), labels

    def train_clip(self, i: int, epoch: int = 0) -> tuple[Tensor, int]:
        """Train clip i of an epoch, as bytes (1, 3, T, H, W), and its label."""
        import numpy as np

        options, entries = self.options, self.entries["train"]
        for attempt in range(_TRIES):
            entry = entries[(i + attempt) % len(entries)]
            rng = np.random.default_rng([options.seed, 1, i, epoch, attempt])
            drawn = rng if options.augment else None

            def choose(total: int, drawn: Any = drawn) -> NDArray[np.int64]:
                if options.sampling == "segments":
                    return sampling.segments(total, options.frames, drawn)
                return sampling.dense(total, options.frames, options.stride, drawn)

            frames = self._read(entry, choose)
            if frames is None:
                continue
            if not options.augment:
                return _packed(transforms.crops_of(frames, options.size)), entry.label
            clip = transforms.train_clip(
                frames,
                rng,
                options.size,
                0.0 if entry.label in self.fixed else options.flip,
                options.randaugment,
                options.magnitude,
                options.erasing,
            )
            return _packed([clip]), entry.label
        raise InputError(f"{_TRIES} training clips in a row cannot be read: {'; '.join(self.notes[-1:])}")

    def _test_clip(self, split: Split, i: int, clips: int, crops: int) -> tuple[Tensor, int]:
        """The views of clip i, as bytes (clips × crops, 3, T, H, W), and its label."""
        import numpy as np
        import torch

        options, entry = self.options, self.entries[split][i]

        def choose(total: int) -> NDArray[np.int64]:
            return np.concatenate(sampling.clips_of(total, options.frames, options.sampling, options.stride, clips))

        frames = self._read(entry, choose)
        if frames is None:
            return torch.full((clips * crops, *self.clip_shape), 124, dtype=torch.uint8), entry.label
        views = [
            view for clip in frames.split(options.frames) for view in transforms.crops_of(clip, options.size, crops)
        ]
        return _packed(views), entry.label

    def _read(self, entry: Entry, choose: Any) -> Tensor | None:
        """Frames (N, 3, H, W) as bytes, the short side at least `size`; None if the file is broken."""
        import torch

        options = self.options
        try:
            frames = read(self.root / entry.name, choose, options.short, entry.start, entry.stop, options.decoder)
        except UnreadableVideo as error:
            with self._lock:
                self.broken[entry.name] = error.reason
            return None
        return torch.from_numpy(frames).permute(0, 3, 1, 2)

    def _all(self, make: Any, index: Tensor) -> list[tuple[Tensor, int]]:
        wanted = index.tolist()
        if self.workers <= 1 or len(wanted) == 1:
            return [make(i) for i in wanted]
        with self._lock:
            if self._pool is None or self._pool._max_workers != self.workers:
                self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="clips")
        return list(self._pool.map(make, wanted))

    def __getstate__(self) -> dict[str, Any]:
        # processes that get a copy start threads of their own
        return self.__dict__ | {"_pool": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _nothing(self, split: Split, listing: Listing) -> str:
        options = self.options
        official = "train" if split == "train" else options.evaluated
        listed = len(listing.splits.get(official, [])) + len(listing.missing.get(official, []))
        missing = listing.missing.get(official, [])
        gone = f", {len(missing)} of them not there, such as {printable(missing[0])}" if missing else ""
        return (
            f"{options.name}: no {split} clip in '{printable(options.path)}': its {official} list names {listed}{gone} "
            f"(see: tps-lab data check {printable(options.path)} --kind {options.name})"
        )


def _packed(views: list[Tensor]) -> Tensor:
    """Views (T, 3, H, W) as one tensor (V, 3, T, H, W)."""
    import torch

    return torch.stack([view.transpose(0, 1) for view in views]).contiguous()


def _missing(listing: Listing) -> list[str]:
    gone = {split: names for split, names in listing.missing.items() if names}
    if not gone:
        return []
    each = "; ".join(f"{len(names)} of {split}, such as {printable(names[0])}" for split, names in gone.items())
    return [f"listed but not there: {each}"]
