"""What a `video-folder` reads: which files are there, their frames in memory, and what was left out and why."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.data._files import VIDEOS, find_videos, printable
from tps_lab.data._sample_clips import COLLECTIONS, sample_clips
from tps_lab.data._video import UnreadableVideo, promised_frames, read_frames
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from tps_lab.data.folder import VideoFolder

_MOST_BYTES = 4_000_000_000


def load(options: VideoFolder) -> tuple[dict[str, range], Tensor, list[str]]:
    """Decode a folder: the videos as ranges of frames, all frames (N, 3, H, W), and what was left out."""
    import torch
    from rich.console import Console
    from rich.progress import track

    files, closed = _find(options.path)
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
        raise InputError(f"no usable video in '{printable(options.path)}': found {found}, {_few(reasons)}")
    notes = []
    if reasons:
        notes.append(f"skipped {len(reasons)} of {counted(len(files), 'video')}: {'; '.join(reasons)}")
    if closed:
        notes.append(f"could not look into {counted(len(closed), 'folder')}: {'; '.join(closed)}")
    return videos, torch.cat(banks), notes


def _squares(path: Path, options: VideoFolder) -> list[np.ndarray]:
    """The videos that one is used as, (N, size, size, 3) each: its centre, or tiles that lie side by side."""
    if options.tiles == 1:
        return [read_frames(path, size=options.side)]
    from tps_lab.data._seek import read_chosen

    side = options.side
    frames = read_chosen(path, range, size=options.tiles * side)
    rows, columns = frames.shape[1] // side, frames.shape[2] // side
    top, left = (frames.shape[1] - rows * side) // 2, (frames.shape[2] - columns * side) // 2
    return [
        frames[:, top + r * side : top + (r + 1) * side, left + c * side : left + (c + 1) * side]
        for r in range(rows)
        for c in range(columns)
    ]


def _find(folder: str) -> tuple[dict[str, Path], list[str]]:
    """The videos of a folder by their path within it, and subfolders that could not be looked into."""
    if folder in COLLECTIONS:
        return sample_clips(folder), []
    if not folder:
        raise InputError("video-folder needs a folder, such as video-folder(path=my_videos), or path=samples or earth")
    shown = printable(folder)
    try:
        root = Path(folder).expanduser()
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: ~nobody
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot open the folder '{shown}': {why}; path must be a folder of videos") from error
    if not is_folder:
        raise InputError(f"'{shown}' is a file; path must be the folder that it is in")

    files, others, errors = find_videos(root)
    closed = [f"{printable(os.path.relpath(e.filename, root))} ({(e.strerror or str(e)).lower()})" for e in errors]
    if not files:
        found = f"{counted(others, 'file')}, none of them named *{', *'.join(VIDEOS)}" if others else "no file at all"
        unseen = f"; could not look into {_few(closed)}" if closed else ""
        raise InputError(f"no video in '{shown}': found {found}{unseen}")
    return files, closed


def _check_memory(options: VideoFolder, frames: int) -> None:
    needed = 3 * frames * options.side**2
    if needed > _MOST_BYTES:
        raise InputError(
            f"the videos in '{printable(options.path)}' have {frames:,} frames or more, {needed / 1e9:.1f} GB at "
            f"size={options.size}, and at most {_MOST_BYTES / 1e9:.1f} GB are kept in memory; "
            "give a smaller size or a folder with less"
        )


def _few(items: list[str]) -> str:
    return "; ".join(items[:3]) + (f"; and {len(items) - 3} more" if len(items) > 3 else "")


def counted(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
