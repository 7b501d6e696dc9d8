"""Some frames of a video, exactly those, without decoding the rest.

The packets are looked through first, undecoded: they say how many frames there are and when each is
shown, at any frame rate, constant or not. Then the decoder is set to the last keyframe before a wanted
frame and runs until it comes, recognised by its time and not by counting. Where times cannot be trusted everything
up to the last wanted frame is decoded and counted: AVI and ASF keep the order of storage only, which is not that
of display where frames refer to later ones (B-frames).
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps_lab.data._video import Tally, UnreadableVideo, decoded, opened, pixels_of, video_stream


@dataclass(frozen=True)
class Packets:
    """What a video's packets say, nothing decoded.

    Args:
        frames: how many frames they hold.
        seconds: from the first frame's start to the last one's end; 0 if unknown.
        times: when each frame is shown, in order, in seconds from the first; empty if they do not say.
        problem: why the file is not whole; empty if nothing says so.
        pts, keys: each frame's time and those of keyframes, in the stream's unit, in order; empty where a
            frame cannot be found by its time.
    """

    frames: int
    seconds: float
    times: NDArray[np.float64]
    problem: str
    pts: NDArray[np.int64]
    keys: NDArray[np.int64]

    @property
    def lasts_s(self) -> float:
        """Its length in seconds, at 25 frames a second where the file does not say."""
        return self.seconds or self.frames / 25

    def seconds_at(self, frame: int) -> float:
        """When a frame begins, in seconds from the first; behind the last one the video's end."""
        if frame >= self.frames:
            return self.lasts_s
        return float(self.times[frame]) if len(self.times) else frame * self.lasts_s / self.frames

    def frame_at(self, seconds: float) -> int:
        """The first frame that begins then or later; `frames` if none does."""
        if len(self.times):
            return int(np.searchsorted(self.times, seconds - 1e-6))
        return min(self.frames, math.ceil(seconds * self.frames / self.lasts_s - 1e-6))


def look(path: str | os.PathLike[str]) -> Packets:
    """Read a file's packets without decoding any.

    Raises:
        UnreadableVideo: the file is no video.
    """
    path = Path(path)
    with opened(path) as container:
        return _packets(container, video_stream(container, path), path)


def read_chosen(
    path: str | os.PathLike[str], choose: Callable[[int], Sequence[int]], size: int | None = None
) -> NDArray[np.uint8]:
    """The frames that `choose` picks, given how many there are; some may be picked twice.

    Args:
        choose: number of frames → which, 0 to one less than that.
        size: the short side of the result in pixels; the video's own without.

    Returns:
        (T, H, W, 3) uint8, RGB, upright.

    Raises:
        UnreadableVideo: the file is no video, or breaks off before a wanted frame.
    """
    path = Path(path)
    with opened(path) as container:
        stream = video_stream(container, path)
        packets = _packets(container, stream, path)
        if not packets.frames:
            raise UnreadableVideo(path, "no frame could be decoded")
        wanted = [int(i) for i in choose(packets.frames)]
        found: dict[int, NDArray[np.uint8]] | None = None
        if len(packets.pts):
            stream.codec_context.thread_count = 1  # several clips are read at a time, not one in parts
            found = _sought(container, stream, packets, sorted(set(wanted)), size, path)
    if found is None:
        wanted, found = _counted(path, choose, packets.frames, size)
    if len({pixels.shape for pixels in found.values()}) > 1:
        raise UnreadableVideo(path, "its frames differ in size")
    return np.stack([found[i] for i in wanted])


def _packets(container: Any, stream: Any, path: Path) -> Packets:
    tally = Tally(container, stream, path)
    pts: list[int | None] = []
    keys: list[int | None] = []
    end = 0
    for packet in tally.packets():
        if tally.add(packet):
            pts.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
    known = [t for t in pts if t is not None]
    unit = float(stream.time_base or 0)
    times = np.sort(np.array(known, np.int64))
    timed = len(known) == len(pts) == len(set(known)) > 0
    if len(known) > 1 and end == times[-1]:  # the container does not say how long the last one stays
        end += (times[-1] - times[0]) // (len(known) - 1)
    sound = timed and bool(keys) and keys[0] == times[0] and _times_are_shown(container, stream, known)
    none = np.zeros(0, np.int64)
    return Packets(
        frames=tally.shown,
        seconds=float(end - times[0]) * unit if known else 0.0,
        times=(times - times[0]) * unit if timed else np.zeros(0),
        problem=tally.problem(),
        pts=times if sound else none,
        keys=np.sort(np.array(keys, np.int64)) if sound else none,
    )


def _times_are_shown(container: Any, stream: Any, pts: list[int]) -> bool:
    """Whether packets' times are those of display, and not made up by FFmpeg from the order of storage.

    Where frames are stored in another order than they are shown in, times that follow the order of storage are not.
    """
    codec, form = stream.codec_context, container.format.name
    if form == "asf":  # says when to send
        return not codec.codec.reorder
    if not codec.has_b_frames or "mp4" in form:
        return True
    return form != "avi" and any(b < a for a, b in itertools.pairwise(pts))


def _sought(
    container: Any, stream: Any, packets: Packets, wanted: list[int], size: int | None, path: Path
) -> dict[int, NDArray[np.uint8]] | None:
    """The wanted frames, found by their times; None if frames do not come one after the other at their times."""
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    found: dict[int, NDArray[np.uint8]] = {}
    at = None  # which frame was decoded last
    frames: Any = None
    for i in wanted:
        key = int(packets.keys[np.searchsorted(packets.keys, packets.pts[i], "right") - 1])
        if at is None or key > packets.pts[at + 1]:  # not to decode what lies between
            container.seek(key, stream=stream, backward=True)
            frames = container.decode(stream)
            at = None
        for frame in frames:
            if frame.pts is None:
                return None
            place = int(np.searchsorted(packets.pts, frame.pts))
            follows = frame.key_frame if at is None else place == at + 1
            if not follows or place > i or packets.pts[place] != frame.pts:
                return None
            at = place
            if at == i:
                if frame.is_corrupt:
                    raise UnreadableVideo(path, f"damaged: frame {i + 1} of {packets.frames} is incomplete")
                found[i] = pixels_of(frame, size, reformatter, square=False)
                break
        else:
            return None
    return found


def _counted(
    path: Path, choose: Callable[[int], Sequence[int]], total: int, size: int | None
) -> tuple[list[int], dict[int, NDArray[np.uint8]]]:
    """Which frames are wanted, and these, found by counting from the first.

    Packets without a picture, which some encoders put where nothing moves, leave fewer frames than packets.
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    wanted = [int(i) for i in choose(total)]
    found: dict[int, NDArray[np.uint8]] = {}
    done, left = 0, set(wanted)
    for frame in decoded(path):
        if done in left:
            found[done] = pixels_of(frame, size, reformatter, square=False)
            left.discard(done)
        done += 1
        if not left:
            return wanted, found
    return _counted(path, choose, done, size)
