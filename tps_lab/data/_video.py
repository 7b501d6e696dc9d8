"""Frames out of video files. PyAV decodes: its wheel brings FFmpeg along.

A file that breaks off midway is not half a video but an error that says where it broke: clips cut
from what is left would make results depend on the damage.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.data._walk import walk
from tps_lab.errors import InputError

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

# .ts is left out: more often than a video it is TypeScript
SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".vob", ".webm", ".wmv"),
)
# A file may lack this share of the frames or seconds that its header promises: encoders miscount
# and round. A cut inside that last bit loses whole frames only; a frame cut in two is noticed.
_SLACK = 0.02
# Containers whose header states the duration instead of the number of frames. Of others FFmpeg
# estimates it, which proves nothing.
_STATES_DURATION = frozenset({"matroska,webm", "flv", "asf"})


class UnreadableVideo(InputError):
    """A file that cannot be used as a video.

    Attributes:
        path: the file.
        reason: a few words, such as "empty file" or "truncated: decoded 12 of 120 frames".
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read video '{printable(self.path)}': {self.reason}"


def read_frames(
    path: str | os.PathLike[str], indices: Sequence[int] | None = None, size: int | None = None, square: bool = True
) -> NDArray[np.uint8]:
    """Frames of a video, upright.

    With `size`, FFmpeg's swscale averages areas while it converts to RGB, the short side becoming
    `size` pixels, and the centre is cut out. That is one pass and never holds a large RGB frame;
    torch's antialiased resize looks the same but needs one. Pixels are taken to be square.

    Args:
        path: the file.
        indices: which frames, from 0, in any order; all without. Decoding stops at the last one, so
            damage behind it goes unnoticed.
        size: height and width of the result, or its short side; the video's own without.
        square: cut the centre out.

    Returns:
        (T, H, W, 3) uint8, RGB.

    Raises:
        UnreadableVideo: the file is no video, is damaged or has too few frames.
        InputError: `indices` or `size` make no sense.
    """
    import numpy as np
    from av.video.reformatter import VideoReformatter

    wanted = None if indices is None else [int(i) for i in indices]
    if wanted is not None and (not wanted or min(wanted) < 0):
        raise InputError(f"frame indices must be 0 or more, and at least one, got {wanted}")
    if size is not None and size < 1:
        raise InputError(f"size must be 1 or more pixels, got {size}")

    reformatter = VideoReformatter()  # one for the whole file: setting up the scaler takes time
    kept: dict[int, NDArray[np.uint8]] = {}
    chosen = None if wanted is None else set(wanted)
    for i, frame in enumerate(decoded(path)):
        if chosen is None or i in chosen:
            kept[i] = pixels_of(frame, size, reformatter, square)
        if chosen is not None and len(kept) == len(chosen):
            break
    if wanted is not None and max(wanted) not in kept:
        raise UnreadableVideo(path, f"too short: frame {max(wanted)} was asked for, it has {i + 1}")
    if len({pixels.shape for pixels in kept.values()}) > 1:
        raise UnreadableVideo(path, "its frames differ in size")
    return np.stack([kept[i] for i in (wanted or sorted(kept))])


def promised_frames(path: str | os.PathLike[str]) -> int:
    """How many frames a file's header promises, or its duration suggests; 0 if it tells neither.

    Raises:
        UnreadableVideo: the file is no video.
    """
    import av

    path = Path(path)
    try:
        with opened(path) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                return 0
            seconds = (container.duration or 0) / av.time_base
            # No frame takes less than a byte: a header cannot promise more, whatever it says.
            return min(stream.frames or round(seconds * float(stream.average_rate or 0)), path.stat().st_size)
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnreadableVideo(path, said(error)) from error


def printable(path: str | os.PathLike[str]) -> str:
    """A file name that can be printed on one line, whatever bytes it is made of."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(path))


def find_videos(root: Path) -> tuple[dict[str, Path], int, list[OSError]]:
    """Files named as videos, in a folder and those below it; links are followed.

    Returns:
        The files by their path within `root`, in order; how many other files there are; and an
        error for each folder that could not be looked into.
    """
    files: dict[str, Path] = {}
    others = 0
    errors: list[OSError] = []
    for place, names in walk(root, errors.append):
        for name in names:
            path = place / name
            if path.suffix.lower() in SUFFIXES:
                files[path.relative_to(root).as_posix()] = path
            else:
                others += 1
    return dict(sorted(files.items())), others, errors


def opened(path: Path) -> av.container.InputContainer:
    """The opened file, of which nothing is known but that FFmpeg knows its format."""
    import av

    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableVideo(path, "not a file")  # opening a named pipe would wait for ever
    if not about.st_size:
        raise UnreadableVideo(path, "empty file")
    try:
        try:
            return av.open(os.fspath(path))
        except UnicodeDecodeError:  # a title in another encoding; newer PyAV reads it by itself
            return av.open(os.fspath(path), metadata_errors="replace")
    except (av.InvalidDataError, av.EOFError) as error:
        raise UnreadableVideo(path, "not a video, or cut off before its index") from error


def decoded(path: str | os.PathLike[str]) -> Iterator[av.VideoFrame]:
    """Every frame in the order shown; at the end, whether that was all."""
    import av

    path = Path(path)
    done = hidden = packets = promised = 0
    of = ""
    end_s = promised_s = 0.0  # of the file, as far as read and as stated
    shown_s = to_show_s = 0.0  # of the video in it
    try:
        with opened(path) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                raise UnreadableVideo(path, "no video stream")
            promised = stream.frames
            of = f" of {promised}" if promised else ""
            if container.format.name in _STATES_DURATION:
                promised_s = (container.duration or 0) / av.time_base
            if stream.duration and stream.time_base:
                to_show_s = float((stream.start_time or 0) + stream.duration) * float(stream.time_base)
            # All streams are read, since a file's duration is that of the longest; one is decoded.
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    until_s = float(packet.pts + (packet.duration or 0)) * float(packet.time_base)
                    end_s = max(end_s, until_s)
                    if packet.stream.index == stream.index and not packet.is_discard:
                        shown_s = max(shown_s, until_s)
                if packet.stream.index != stream.index:
                    continue
                packets += packet.size > 0
                hidden += packet.is_discard
                for frame in stream.decode(packet):
                    if packet.is_corrupt or frame.is_corrupt:
                        raise UnreadableVideo(path, f"damaged: frame {done + 1}{of} is incomplete")
                    done += 1
                    yield frame
            # An mp4's header also counts what an edit cuts away, as phones do. If what is to be
            # shown is there to its end, the packets read are all that was meant to be.
            if "mp4" in container.format.name and shown_s >= (1 - _SLACK) * to_show_s > 0:
                promised = packets
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        why = said(error)
        raise UnreadableVideo(path, f"damaged: breaks off after {done}{of} frames ({why})" if done else why) from error
    if promised - hidden - done > _SLACK * promised:
        raise UnreadableVideo(path, f"truncated: decoded {done} of {promised - hidden} frames")
    if not promised and end_s < (1 - _SLACK) * promised_s:
        raise UnreadableVideo(path, f"truncated: ends after {end_s:.2f} of {promised_s:.2f} s")
    if not done:
        raise UnreadableVideo(path, "no frame could be decoded")


def pixels_of(frame: av.VideoFrame, size: int | None, reformatter: Any, square: bool = True) -> NDArray[np.uint8]:
    """One frame as (H, W, 3) uint8: scaled, cut if it is to be square, and turned upright."""
    import numpy as np

    height, width = frame.height, frame.width
    if size is not None:
        scale = size / min(height, width)
        height, width = max(size, round(height * scale)), max(size, round(width * scale))
    # enlarged, area averaging would show blocks
    way = "AREA" if square or height <= frame.height else "BILINEAR"
    pixels = reformatter.reformat(frame, width, height, format="rgb24", interpolation=way).to_ndarray()
    if size is not None and square:
        top, left = (height - size) // 2, (width - size) // 2
        pixels = pixels[top : top + size, left : left + size]
    # A phone held upright records a lying picture and says how to turn it: degrees, anticlockwise.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def said(error: Exception) -> str:
    """What an exception of FFmpeg or the system says, without number and file name."""
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return text[:1].lower() + text[1:]
