"""`video-folder`: any folder of real videos, with labels that need no labelling.

Four tasks (`_tasks.py` draws them): `direction`, the arrow of time; `order`, in which order the thirds of a
clip come; `shift`, which quarter of it is out of step; and `speed`, the control that a model blind to the
order of frames can learn. In the first three the clips of a scene stand side by side in every split and
show the same frames, bit for bit: clip 2i + 1 of `direction` is clip 2i backwards. So such a model scores
at most 1 in the number of classes.

Every video is split by time, so that no test frame is ever seen in training::

    |<------------ train ------------>|gap|<-- val -->|gap|<-- test -->|
    0 %                              70 %            85 %            100 %

The gap, 2.5 % of the video and at least the stride, keeps frames that are nearly alike from
standing on both sides. An edited film shows other shots at its end than at its beginning; with `block=24`
blocks of so many frames take turns (train, train, test, train, val), an eighth of a block being the gap, so
that test clips are other moments of the shots that training shows. Scene and camera stay the same: what is
measured is whether a model reads motion in videos it knows, not whether it understands new ones. Two files of
the same footage, cut differently, would share frames between splits; identical copies do no harm.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tps_lab.data._base import SPLITS, Clips, Data, Split
from tps_lab.data._files import VIDEOS, few, find_videos, not_looked_into, open_folder, printable
from tps_lab.data._sample_clips import COLLECTIONS, sample_clips
from tps_lab.data._seek import read_chosen
from tps_lab.data._tasks import TASKS, check
from tps_lab.data._video import UnreadableVideo, promised_frames, read_frames
from tps_lab.errors import InputError, unknown
from tps_lab.lazy import torch
from tps_lab.specs import Limits
from tps_lab.text import counted

if TYPE_CHECKING:
    from torch import Tensor

_SHARES: dict[Split, tuple[float, float]] = {"train": (0.0, 0.7), "val": (0.7, 0.85), "test": (0.85, 1.0)}
_GAP = 0.025
_MOST_BYTES = 4_000_000_000  # of all frames, which are kept in memory
_FLAT = 3.0  # grey levels of 255, below which contrast is taken for noise
_TURNS: tuple[Split, ...] = ("train", "train", "test", "train", "val")  # of blocks


@dataclass(frozen=True)
class VideoFolder(Data):
    """Any folder of videos, without labels: is a clip played forwards or backwards, in which order are
    its parts, which of them is out of step, or how fast is it?

    Args:
        path: the folder, searched with its subfolders; "samples" for three real clips that come
            with the extra `clips`, "earth" for a turning Earth (a folder of such a name is "./samples").
        task: "direction", "order", "shift" or "speed".
        frames, size: of a clip, size in pixels.
        stride: a clip takes every so many frames of the video; at 2x and 4x twice and four times that.
        tiles: squares along the short side that the picture is cut into, each used as a video of its own; 1
            takes the square in the middle. All tiles of a video are split at the same times.
        block: frames of the video in a block, where blocks of the video take turns; 0 splits it in three.
        mirror: train on every clip mirrored left to right too; without it, which way things move in a picture is
            itself a sign of the arrow of time where the camera stands still.
        margin: pixels to each side of the picture that training clips are cut out with at random, anew in every epoch,
            the same for all frames of a clip; val and test clips are the middle.
        contrast: bring every clip to zero mean and unit spread, so that dark and pale videos move as much as others;
            without it pixels are the video's own, scaled alike, as pretrained image weights expect them.
        train, val, test: at most so many clips per split, drawn from all there are.
        seed: of which clips are drawn (not of training).
    """

    name = "video-folder"
    version = 2  # 1 had no contrast
    title = "Video folder"
    limits: ClassVar[Limits] = {
        "frames": (2, 10_000), "size": (8, 4_096), "stride": (1, 10_000), "margin": (0, 4_096), "tiles": (1, 16),
    }  # fmt: skip

    path: str = ""
    task: str = "direction"
    frames: int = 8
    size: int = 32
    stride: int = 1
    train: int = 16384
    val: int = 1536
    test: int = 3072
    seed: int = 0
    tiles: int = 1
    mirror: bool = True
    margin: int = 0
    block: int = 0
    contrast: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in TASKS:
            raise unknown("task of video-folder", str(self.task), TASKS)
        check(self.task, self.frames)
        if self.block and self.block - self._gap(self.block) < self.span:
            least = next(n for n in itertools.count(self.span) if n - self._gap(n) >= self.span)
            raise InputError(f"a block must be {least} frames or more, for a clip and a gap, got block={self.block}")
        for split in SPLITS:
            if getattr(self, split) < len(TASKS[self.task].classes):
                raise InputError(
                    f"{split} must be {len(TASKS[self.task].classes)} or more, a clip of each class, "
                    f"got {getattr(self, split)}"
                )

    @property
    def offsets(self) -> tuple[tuple[int, ...], ...]:
        """Per class, the frames of a clip relative to where it starts."""
        return tuple(tuple(self.stride * t for t in clip) for clip in TASKS[self.task].order(self.frames))

    @property
    def span(self) -> int:
        """Frames of the video from a clip's first to its last, at the highest speed."""
        return max(map(max, self.offsets)) + 1

    @property
    def side(self) -> int:
        """Height and width, in pixels, of the pictures that clips are cut from."""
        return self.size + 2 * self.margin

    def split(self, frames: int) -> dict[Split, list[range]]:
        """Which frames of a video with so many belong to which split, in stretches that clips do not leave."""
        if not self.block:
            gap = max(math.ceil(_GAP * frames), self.stride)
            cuts = {split: (int(low * frames), int(high * frames)) for split, (low, high) in _SHARES.items()}
            return {split: [range(low + gap if low else 0, high)] for split, (low, high) in cuts.items()}
        found: dict[Split, list[range]] = {split: [] for split in SPLITS}
        start = 0
        turns = [_TURNS[i % len(_TURNS)] for i in range(math.ceil(frames / self.block))]
        for split, same in itertools.groupby(turns):
            stop = min(start + self.block * len(list(same)), frames)
            found[split].append(range(min(start + self._gap(self.block), stop) if start else 0, stop))
            start = stop
        return found

    def usable(self, frames: int) -> bool:
        """Whether a video with so many frames gives every split a clip."""
        return all(any(len(part) >= self.span for part in parts) for parts in self.split(frames).values())

    def _gap(self, block: int) -> int:
        return max(math.ceil(block / 8), self.stride)

    def normalised(self, clips: Tensor) -> Tensor:
        """Bytes (B, 3, T, H, W) as the floats that models see."""
        return _contrasted(clips) if self.contrast else clips.float().mul_(4 / 255).sub_(2)

    def opened(self) -> FolderClips:
        return FolderClips(self)


class FolderClips(Clips):
    """The clips of a `VideoFolder`. All frames are kept in memory, scaled down, as bytes; pixels of
    clips are (x / 255 - 0.5) / 0.25: between -2 and 2, of about zero mean and unit spread. With `contrast` each
    clip has a mean and a spread of its own in place of the halves and quarters.

    Attributes:
        videos: the frames of each video used, by its path within the folder, as a range into `bank`.
        bank: (N, 3, side, side) uint8, the frames of all videos.
        starts: per split, (S,) int64, where in `bank` the clips start; clip i is of class i % K
            with K classes, and starts at starts[i // K].
        mirrored: per split, (S,) bool.
    """

    def __init__(self, options: VideoFolder) -> None:
        self.options = options
        task = TASKS[options.task]
        self.classes, self.ceiling_reason = task.classes, task.ceiling_reason
        self.clip_shape = (3, options.frames, options.size, options.size)
        if options.task == "direction":
            self.pairs = ((0, 1),)
        if task.same_frames:
            self.clips_per_scene, self.ceiling = len(task.classes), 1 / len(task.classes)
        self.videos, self.bank, notes = _load(options)
        self.starts, self.mirrored = {}, {}
        for split in SPLITS:
            self.starts[split], self.mirrored[split] = self._draw(split)
        self.notes = (*notes, *self._about())
        self.offsets = torch.tensor(options.offsets)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        # a scene's clips are cut out alike, or a model could tell them apart by that
        rng = torch.Generator().manual_seed(1_000_003 * self.options.seed + 7 * epoch + 5)
        self.corners = torch.randint(0, 2 * self.options.margin + 1, (len(self.starts["train"]), 2), generator=rng)

    def size(self, split: Split) -> int:
        return len(self.classes) * len(self.starts[split])

    def batch(self, split: Split, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        index = index.cpu()
        scene, labels = index // len(self.classes), index % len(self.classes)
        times = self.starts[split][scene][:, None] + self.offsets[labels]  # (B, T)
        clips = self.bank[times]
        if self.options.margin:
            clips = self._cut(clips, self.corners[scene] if split == "train" else None)
        # Bytes travel to the device, a quarter of what floats would be.
        clips = clips.to(device).transpose(1, 2).contiguous()  # (B, 3, T, H, W)
        if split == "train":
            mirrored = self.mirrored[split][scene].to(device)
            clips = torch.where(mirrored[:, None, None, None, None], clips.flip(-1), clips)
        return self.options.normalised(clips), labels.to(device)

    def _cut(self, clips: Tensor, corners: Tensor | None) -> Tensor:
        """(B, T, 3, side, side) to (B, T, 3, size, size), from corners (B, 2) or the middle."""
        size, margin = self.options.size, self.options.margin
        if corners is None:
            return clips[..., margin : margin + size, margin : margin + size]
        return torch.stack(
            [c[..., y : y + size, x : x + size] for c, (y, x) in zip(clips, corners.tolist(), strict=True)]
        )

    def pictures_shown(self, split: Split = "test") -> np.ndarray | None:
        task = TASKS[self.options.task]
        if not task.same_frames:
            return None
        shown = np.array(task.order(self.options.frames))
        return np.broadcast_to(shown, (len(self.starts[split]), *shown.shape))

    def _draw(self, split: Split) -> tuple[Tensor, Tensor]:
        """Every place a clip can start, each mirrored too in training, thinned out to the limit."""
        span = self.options.span
        starts = torch.cat(
            [
                torch.arange(video.start + part.start, video.start + part.stop - span + 1)
                for video in self.videos.values()
                for part in self.options.split(len(video))[split]
                if len(part) >= span
            ]
        )
        mirrored = torch.zeros(len(starts), dtype=torch.bool)
        if split == "train" and self.options.mirror:
            starts, mirrored = starts.repeat(2), torch.cat([mirrored, ~mirrored])
        most = int(getattr(self.options, split)) // len(self.classes)
        if len(starts) > most:
            rng = torch.Generator().manual_seed(10 * self.options.seed + SPLITS.index(split))
            chosen = torch.randperm(len(starts), generator=rng)[:most].sort().values
            starts, mirrored = starts[chosen], mirrored[chosen]
        return starts, mirrored

    def _about(self) -> list[str]:
        """What was read, and whose it is."""
        found = [self.options.split(len(video)) for video in self.videos.values()]
        frames = {split: sum(len(part) for parts in found for part in parts[split]) for split in SPLITS}
        how = f"blocks of {self.options.block} frames, taking turns" if self.options.block else "time"
        counts = ", ".join(f"{n} {split}" for split, n in frames.items())
        notes = [f"{counted(len(found), 'video')}, split by {how}, into {counts} frames"]
        if collection := COLLECTIONS.get(self.options.path):
            names = dict.fromkeys(name.partition("#")[0] for name in self.videos)
            known = ((name, collection.clips[name]) for name in names)
            notes.append("; ".join(f"{name}: {clip.source}, {clip.licence}" for name, clip in known))
        return notes


def _contrasted(clips: Tensor) -> Tensor:
    """Bytes (B, 3, T, H, W) as floats of zero mean and unit spread, each clip by itself.

    Sums of whole numbers do not depend on the order of frames, so the clips of a scene stay equal bit for bit.
    """
    whole = clips.flatten(1).long()
    mean = whole.sum(1).double() / whole.shape[1]
    variance = (whole * whole).sum(1).double() / whole.shape[1] - mean**2
    spread = variance.clamp(min=0).sqrt() + _FLAT
    shape = (-1, 1, 1, 1, 1)
    return (clips.float() - mean.float().reshape(shape)) / spread.float().reshape(shape)


def _load(options: VideoFolder) -> tuple[dict[str, range], Tensor, list[str]]:
    """Decode a folder: the videos as ranges of frames, all frames (N, 3, H, W), and what was left out."""
    from rich.console import Console
    from rich.progress import track

    files, closed = _find(options)
    skipped: dict[str, str] = {}
    promised = 0
    for name, path in files.items():
        try:
            promised += promised_frames(path)
        except UnreadableVideo as error:
            skipped[name] = error.reason
    _check_memory(options, promised)

    enough = next(n for n in itertools.count(options.span) if options.usable(n))
    videos: dict[str, range] = {}
    banks: list[Tensor] = []
    total = 0
    todo = [name for name in files if name not in skipped]
    console = Console(stderr=True)
    for name in track(todo, "decoding", console=console, transient=True, disable=not sys.stderr.isatty()):
        try:
            squares = _squares(files[name], options)
        except UnreadableVideo as error:
            skipped[name] = error.reason
            continue
        frames = len(squares[0])
        if not options.usable(frames):
            skipped[name] = f"too short: {counted(frames, 'frame')}, {enough} needed for a clip in every split"
            continue
        for i, square in enumerate(squares):
            videos[name if options.tiles == 1 else f"{name}#{i}"] = range(total, total + frames)
            banks.append(torch.from_numpy(square).permute(0, 3, 1, 2).contiguous())
            total += frames
            _check_memory(options, total)  # once more: not every header tells the truth

    reasons = [f"{printable(name)} ({skipped[name]})" for name in files if name in skipped]
    if not videos:
        found = counted(len(files), "video")
        raise InputError(f"no usable video in '{printable(options.path)}': found {found}, {few(reasons, 3)}")
    notes = []
    if reasons:
        notes.append(f"skipped {len(reasons)} of {counted(len(files), 'video')}: {'; '.join(reasons)}")
    return videos, torch.cat(banks), notes + closed


def _squares(path: Path, options: VideoFolder) -> list[np.ndarray]:
    """The videos that one is used as, (N, size, size, 3) each: its centre, or tiles that lie side by side."""
    if options.tiles == 1:
        return [read_frames(path, size=options.side)]
    return tiles_of(read_chosen(path, range, size=options.tiles * options.side), options.side)


def tiles_of(frames: np.ndarray, side: int) -> list[np.ndarray]:
    """Frames (N, H, W, 3) as squares (N, side, side, 3) that lie side by side about the middle, row by row."""
    rows, columns = frames.shape[1] // side, frames.shape[2] // side
    top, left = (frames.shape[1] - rows * side) // 2, (frames.shape[2] - columns * side) // 2
    return [
        frames[:, top + r * side : top + (r + 1) * side, left + c * side : left + (c + 1) * side]
        for r in range(rows)
        for c in range(columns)
    ]


def _find(options: VideoFolder) -> tuple[dict[str, Path], list[str]]:
    """The videos of a folder by their path within it, and a note if subfolders could not be looked into."""
    if options.path in COLLECTIONS:
        return sample_clips(options.path), []
    if not options.path:
        raise InputError("video-folder needs a folder, such as video-folder(path=my_videos), or path=samples or earth")
    root = open_folder(options.path, options.name)
    files, others, errors = find_videos(root)
    closed = not_looked_into(errors, root)
    if not files:
        found = f"{counted(others, 'file')}, none of them named *{', *'.join(VIDEOS)}" if others else "no file at all"
        raise InputError("; ".join([f"no video in '{printable(options.path)}': found {found}", *closed]))
    return files, closed


def _check_memory(options: VideoFolder, frames: int) -> None:
    needed = 3 * frames * options.side**2
    if needed > _MOST_BYTES:
        raise InputError(
            f"the videos in '{printable(options.path)}' have {frames:,} frames or more, {needed / 1e9:.1f} GB at "
            f"size={options.size}, and at most {_MOST_BYTES / 1e9:.1f} GB are kept in memory; "
            "give a smaller size or a folder with less"
        )
