"""A trained model asked about a video: which classes, and when.

A model sees a clip. A short video is one clip; a long one is gone through clip by clip, each a moment with
an answer of its own, and the video's answer is their average. Frames are taken and cut as the run's own
data set does it; where that cuts them into tiles, a moment's answer is the tiles' average. Memory holds one clip's
frames, however long the video is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.data import transforms
from tps_lab.data._files import PICTURES
from tps_lab.data._frames import read
from tps_lab.data._labelled import frames_to_test, views_to_test
from tps_lab.data._seek import look
from tps_lab.data._video import UnreadableVideo, decoded, pixels_of
from tps_lab.data.folder import tiles_of
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.results import runs
from tps_lab.training.model import configured, restore

if TYPE_CHECKING:
    from torch import Tensor, nn

_CLIPS_AT_A_TIME = 4
_LONG_S = 10.0  # of a video that is cut into moments where the data set takes whole videos as clips


@dataclass(frozen=True)
class Moment:
    """What is seen between two times of a video.

    Args:
        probabilities: one per class, in the run's order.
    """

    start_s: float
    stop_s: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Prediction:
    """What a model says of a video."""

    video: Path
    classes: tuple[str, ...]
    moments: tuple[Moment, ...]

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Of the whole video: the mean over its moments."""
        columns = zip(*(moment.probabilities for moment in self.moments), strict=True)
        return tuple(sum(column) / len(self.moments) for column in columns)

    def top(self, n: int = 5, moment: Moment | None = None) -> list[tuple[str, float]]:
        """The n likeliest classes of the video, or of one of its moments, with their probabilities."""
        found = (moment or self).probabilities
        ranked = sorted(zip(self.classes, found, strict=True), key=lambda pair: -pair[1])
        return ranked[:n]

    def plain(self, n: int = 5) -> dict[str, Any]:
        """For JSON."""

        def named(pairs: list[tuple[str, float]]) -> list[dict[str, Any]]:
            return [{"class": name, "probability": round(p, 4)} for name, p in pairs]

        return {
            "video": str(self.video),
            "top": named(self.top(n)),
            "moments": [
                {"start_s": round(m.start_s, 3), "stop_s": round(m.stop_s, 3), "top": named(self.top(n, m))}
                for m in self.moments
            ],
        }


def predict(video: str | Path, checkpoint: str | Path | runs.Run, moment_s: float | None = None) -> Prediction:
    """What a trained model says of a video.

    Args:
        video: a file.
        checkpoint: a run's folder.
        moment_s: length of a moment in seconds, for data sets that take a whole video as one clip; None
            is the whole video up to 10 s, and 10 s of longer ones. Where clips take every so many frames
            their length follows from that.

    Raises:
        InputError: no such run or weights, not a whole video, a video too short for one clip, moments shorter than
            a frame, or a run on clips that are not from videos.

    >>> predict("clip.mp4", "runs/TPS-C-seed0-1a2b3c4d").top(1)  # doctest: +SKIP
    [('backwards', 0.93)]
    """
    run = checkpoint if isinstance(checkpoint, runs.Run) else runs.open_run(checkpoint)
    path = Path(video)
    if not path.exists():
        raise InputError(f"no such video: {path}")
    if not run.config.get("data"):
        raise InputError(f"{run.path}: config.yaml is missing, or names no data")
    spec = configured(run).data
    clips = _clips_of(spec, path, moment_s)
    clips = chain([next(clips)], clips)  # what is wrong with the video is said before the model is built
    model = load(run)
    seen: list[tuple[float, float, list[float]]] = []
    while group := list(islice(clips, _CLIPS_AT_A_TIME)):
        with torch.no_grad():
            x = torch.stack([clip for _, _, clip in group])
            answers = model(x).float().softmax(1).tolist()
        seen += [(a, b, p) for (a, b, _), p in zip(group, answers, strict=True)]
    moments = []
    for (start_s, stop_s), tiles in groupby(seen, key=lambda one: one[:2]):
        each = [p for *_, p in tiles]
        moments.append(Moment(start_s, stop_s, tuple(sum(column) / len(each) for column in zip(*each, strict=True))))
    return Prediction(path, tuple(run.row["classes"]), tuple(moments))


def load(run: runs.Run) -> nn.Module:
    """The model of a run, in eval mode; the data that it was trained on need not be there.

    Raises:
        InputError: the run kept no weights, has no row, or one that does not say what clips it was trained on.
    """
    return restore(run, _TrainedClips(run))  # type: ignore[arg-type]


class _TrainedClips:
    """What a model must know of clips, from a run's row and, for their channels, its weights."""

    def __init__(self, run: runs.Run) -> None:
        row = run.row
        lacking = [key for key in ("classes", "frames", "size") if not row.get(key)]
        if lacking:
            raise InputError(f"{run.path}: row.json does not say the {', '.join(lacking)} of its clips")
        self.classes = tuple(row["classes"])
        self.clip_shape = (_channels(run), row["frames"], row["size"], row["size"])


def _channels(run: runs.Run) -> int:
    """Channels of the clips that a run's weights take: of the first convolution, which sees a tubelet's frames."""
    from safetensors import safe_open

    file = run.path / "model.safetensors"
    if not file.is_file():  # who loads the weights says so; opening a pipe would wait for ever
        return 3
    try:
        with safe_open(file, "pt") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    except Exception:  # safetensors has its own; who loads the weights says what is wrong with them
        return 3
    kernels = {name: shape for name, shape in shapes.items() if len(shape) == 4}
    first = [shape for name, shape in kernels.items() if "patch_embed" in name or "stem" in name]
    if not first:
        return 3
    return min(shape[1] for shape in first) // (run.row.get("tubelet") or 1)


def _clips_of(spec: Any, path: Path, moment_s: float | None) -> Iterator[tuple[float, float, Tensor]]:
    """(start, stop, clip (C, T, H, W)) one after another, as the data set makes them."""
    if not hasattr(spec, "path"):
        raise InputError(f"the run was trained on '{spec.name}', drawn clips: it cannot classify a video")
    if hasattr(spec, "sampling"):
        return _labelled(spec, path, moment_s)
    if moment_s is not None:
        raise InputError(f"the length of a moment follows from {spec}: leave it out")
    return _strided(spec, path)


def _strided(spec: Any, path: Path) -> Iterator[tuple[float, float, Tensor]]:
    """Clips of frames `stride` apart, each beginning half a clip after the one before; decoded once.

    Where the data set cuts pictures into tiles there is a clip of each, with the same times.
    """
    from av.video.reformatter import VideoReformatter

    about = look(path)
    span = (spec.frames - 1) * spec.stride + 1
    if about.frames < span:
        raise InputError(f"{path} is too short: it has {about.frames} frames, a clip of {spec} takes {span}")
    reformatter = VideoReformatter()
    middle = slice(spec.margin, spec.margin + spec.size)
    held: deque[Any] = deque(maxlen=span)
    for i, frame in enumerate(decoded(path)):
        held.append(pixels_of(frame, spec.tiles * spec.side, reformatter, square=spec.tiles == 1))
        start = i + 1 - span
        if start >= 0 and start % max(1, span // 2) == 0:
            frames = np.stack([held[k] for k in range(0, span, spec.stride)])
            for tile in tiles_of(frames, spec.side):
                pixels = torch.from_numpy(tile[:, middle, middle])
                clip = spec.normalised(pixels.permute(3, 0, 1, 2)[None])[0]
                yield about.seconds_at(start), about.seconds_at(i + 1), clip


def _labelled(spec: Any, path: Path, moment_s: float | None) -> Iterator[tuple[float, float, Tensor]]:
    """The centre crop of a data set's test clip, of the whole video or of each moment in turn."""
    if moment_s is not None and not moment_s > 0:
        raise InputError(f"a moment must be longer than 0 s, got {moment_s}")
    about = look(path)
    if about.problem:  # training goes on without the file; here the answer would be about what is left of it
        raise UnreadableVideo(path, about.problem)
    if about.frames == 1 < spec.frames and path.suffix.lower() in PICTURES:
        raise InputError(f"{path} is a picture, and the run was trained on clips of {spec.frames} frames: give a video")
    seconds = about.lasts_s
    length = moment_s or min(seconds, _LONG_S)
    if seconds / length > about.frames + 0.5:  # most moments would show what the one before them showed
        least = seconds / about.frames
        raise InputError(
            f"a moment of {moment_s} s is shorter than a frame of {path}: it must be {least:.2g} s or more"
        )
    moments = max(1, math.ceil(seconds / length - 0.5))
    for k in range(moments):
        start_s = k * length
        stop_s = seconds if k + 1 == moments else (k + 1) * length  # the last moment takes what is left over
        start, stop = about.frame_at(start_s), about.frame_at(stop_s)
        if start >= stop:  # nothing new is shown: what was shown before stays
            start, stop = max(0, start - 1), max(1, start)
        frames = read(path, frames_to_test(spec), spec.short, start, stop)
        clip = views_to_test(spec, torch.from_numpy(frames).permute(0, 3, 1, 2))
        yield start_s, stop_s, transforms.normalised(clip)[0]
