"""Frames out of video files. PyAV decodes: its wheel brings FFmpeg along.

A file that breaks off midway is not half a video but an error that says where it broke: clips cut
from what is left would make results depend on the damage.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tps_lab.data._files import printable
from tps_lab.errors import InputError

if TYPE_CHECKING:
    import av

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
    """How many frames a file's header promises, or its duration suggests; 0 if it says neither.

    Raises:
        UnreadableVideo: the file is no video.
    """
    import av

    path = Path(path)
    with opened(path) as container:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            return 0
        seconds = (container.duration or 0) / av.time_base
        # No frame takes less than a byte: a header cannot promise more, whatever it says.
        return min(stream.frames or round(seconds * float(stream.average_rate or 0)), path.stat().st_size)


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """The opened file; whatever goes wrong while it is read is an `UnreadableVideo`."""
    import av

    try:
        with _container(path) as container:
            yield container
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        why = said(error)
        damaged = isinstance(error, av.FFmpegError) and not isinstance(error, OSError)
        raise UnreadableVideo(path, f"damaged: {why}" if damaged else why) from error


def _container(path: Path) -> av.container.InputContainer:
    """The opened file, of which nothing is known but that FFmpeg knows its format."""
    import av

    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableVideo(path, "not a file")  # opening a named pipe would wait for ever
    if not about.st_size:
        raise UnreadableVideo(path, "empty file")
    name = f"file:{os.fspath(path)}"  # without it 12:30.mp4 would ask for the protocol "12"
    try:
        try:
            return av.open(name)
        except UnicodeDecodeError:  # a title in another encoding; newer PyAV reads it by itself
            return av.open(name, metadata_errors="replace")
    except (av.InvalidDataError, av.EOFError) as error:
        raise UnreadableVideo(path, "not a video, or cut off before its index") from error


def video_stream(container: av.container.InputContainer, path: Path) -> Any:
    """The stream that is the video.

    Raises:
        UnreadableVideo: there is none.
    """
    import av

    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise UnreadableVideo(path, "no video stream")
    if stream.codec_context is None:
        raise UnreadableVideo(path, "its codec is unknown here")
    return stream


class Tally:
    """What has been read of a file, against what its header promises: the one place that says whether it is whole.

    Attributes:
        shown: packets so far that hold a picture to be shown.
        corrupt: of these, marked as damaged.
    """

    def __init__(self, container: Any, stream: Any, path: Path) -> None:
        import av

        self.container, self.stream = container, stream
        self.shown = self.corrupt = 0
        self.promised = stream.frames
        if container.format.name == "avi" and self.promised:
            # Its header counts the moments in which the picture before stays, too; its index, at the end, does not.
            index = stream.index_entries
            if len(index) and index[len(index) - 1].timestamp + 1 >= (1 - _SLACK) * self.promised:
                self.promised = len(index)
        self._mp4 = "mp4" in container.format.name
        self._invisible = stream.codec_context.name in ("vp8", "libvpx")
        self._unit = float(stream.time_base or 0)  # of the times of our packets, in seconds
        self._first: int | None = None
        self._until = 0
        self._others_s = 0.0  # the end of all other streams
        self._stated_s = self._to_show_s = 0.0
        self._frames_off = 3 if container.format.name == "asf" else 1.5
        self._bytes, self._stated_bytes = _asf_bytes(path) if container.format.name == "asf" else (0, 0)
        if container.format.name in _STATES_DURATION:
            self._stated_s = (container.duration or 0) / av.time_base
        if stream.duration:
            self._to_show_s = ((stream.start_time or 0) + stream.duration) * self._unit

    def packets(self) -> Iterator[Any]:
        """The packets to read: all streams', where the stated duration is that of the longest."""
        return self.container.demux(*([] if self._stated_s else [self.stream]))

    def add(self, packet: Any) -> bool:
        """Count a packet; whether it holds a picture of the video that is shown."""
        if packet.stream.index != self.stream.index:
            if packet.pts is not None and packet.time_base:
                until_s = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
                self._others_s = max(self._others_s, until_s)
            return False
        if not packet.size or packet.is_discard:
            return False
        pts = packet.pts
        if pts is not None:
            self._until = max(self._until, pts + (packet.duration or 0))
            if self._first is None or pts < self._first:
                self._first = pts
        if self._invisible and not bytes(packet)[0] >> 4 & 1:
            return False  # a picture that others refer to and that is never shown
        self.shown += 1
        self.corrupt += packet.is_corrupt
        return True

    def problem(self, decoded: int | None = None) -> str:
        """Why the file is not whole, when all of it has been read; empty if nothing says so.

        Args:
            decoded: how many frames came out of the packets, where they were decoded.
        """
        frames = self.shown if decoded is None else decoded
        if self.corrupt:
            return f"damaged: {self.corrupt} of {self.shown} frames are incomplete"
        promised = self.promised
        until_s = self._until * self._unit
        # An mp4's header also counts what an edit cuts away, as phones do. If what is to be
        # shown is there to its end, the packets read are all that was meant to be.
        if self._mp4 and until_s >= (1 - _SLACK) * self._to_show_s > 0:
            promised = self.shown
        if promised - frames > _SLACK * promised:
            return f"truncated: {frames} of {promised} frames are there"
        # Not every container says how long the last frame stays, and ASF's times are those of storage.
        lasts_s = (until_s - (self._first or 0) * self._unit) / self.shown if self.shown > 1 else 0.5
        end_s = max(until_s, self._others_s)
        if not promised and end_s < self._stated_s - max(_SLACK * self._stated_s, self._frames_off * lasts_s):
            return f"truncated: ends after {end_s:.2f} of {self._stated_s:.2f} s"
        if self._bytes < self._stated_bytes:
            return f"truncated: {self._bytes:,} of {self._stated_bytes:,} bytes are there"
        return "" if frames else "no frame in it"


def _asf_bytes(path: Path) -> tuple[int, int]:
    """How long an ASF file is, and how long it must be for its Data Object to be whole: FFmpeg forgets the duration of
    a file that is cut."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"))  # the object's name; its size follows
    return path.stat().st_size, at + int.from_bytes(head[at + 16 : at + 24], "little") if at >= 0 else 0


def decoded(path: str | os.PathLike[str]) -> Iterator[av.VideoFrame]:
    """Every frame in the order shown; at the end, whether that was all."""
    import av

    path = Path(path)
    done = 0
    of = ""
    try:
        with _container(path) as container:
            stream = video_stream(container, path)
            tally = Tally(container, stream, path)
            of = f" of {tally.promised}" if tally.promised else ""
            for packet in tally.packets():
                tally.add(packet)
                if packet.stream.index != stream.index:
                    continue
                for frame in stream.decode(packet):
                    if packet.is_corrupt or frame.is_corrupt:
                        raise UnreadableVideo(path, f"damaged: frame {done + 1}{of} is incomplete")
                    done += 1
                    yield frame
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        why = said(error)
        raise UnreadableVideo(path, f"damaged: breaks off after {done}{of} frames ({why})" if done else why) from error
    if problem := tally.problem(done):
        raise UnreadableVideo(path, problem)


def pixels_of(frame: av.VideoFrame, size: int | None, reformatter: Any, square: bool = True) -> NDArray[np.uint8]:
    """One frame as (H, W, 3) uint8: scaled, cut if it is to be square, and turned upright."""
    height, width = frame.height, frame.width
    if size is not None:
        scale = size / min(height, width)
        height, width = max(size, round(height * scale)), max(size, round(width * scale))
    # enlarged, area averaging would show blocks
    way = "AREA" if square or height <= frame.height else "BILINEAR"
    pixels = reformatter.reformat(frame, width, height, format="rgb24", interpolation=way, threads=1).to_ndarray()
    if size is not None and square:
        top, left = (height - size) // 2, (width - size) // 2
        pixels = pixels[top : top + size, left : left + size]
    return np.ascontiguousarray(_upright(pixels, frame))


def _upright(pixels: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A frame turned and mirrored as its file says: a phone held upright records a lying picture, and a front camera's
    may be mirrored.

    What is stored at (x, y) is shown at x' = a x + c y, y' = b x + d y, y downwards: FFmpeg's display matrix, whose
    first five numbers are a, b, 0, c, d. Of any matrix the nearest of the eight that keep pixels pixels is taken.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.int64).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def said(error: Exception) -> str:
    """What an exception of FFmpeg or the system says, without number and file name."""
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return text[:1].lower() + text[1:]
