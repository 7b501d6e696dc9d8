"""Some frames of a video, exactly those, without decoding the rest.

The packets are looked through first, undecoded: they say how many frames there are and when each is
shown, at any frame rate, constant or not. Then the decoder is set to the last keyframe before a wanted
frame and runs until it comes, told by its time and not by counting. Where times say nothing (AVI, odd
files) everything up to the last wanted frame is decoded and counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.data._video import UnreadableVideo, opened, pixels_of, read_frames, said

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

_SLACK = 0.02  # as in `_video`: headers miscount and round


@dataclass(frozen=True)
class Packets:
    """What a video's packets tell, nothing decoded.

    Args:
        frames: how many frames they hold.
        seconds: from the first frame's start to the last one's end; 0 if unknown.
        times: when each frame is shown, in order, in the stream's unit; empty if they do not tell.
        keys: which of the times are keyframes, in order.
        promised: frames that the header states; 0 if it states none.
        stated_seconds: length that the header states; 0 if none.
        corrupt: packets that are marked as damaged.
    """

    frames: int
    seconds: float
    times: NDArray[np.int64]
    keys: NDArray[np.int64]
    promised: int
    stated_seconds: float
    corrupt: int

    @property
    def problem(self) -> str:
        """Why a file with these packets is not whole; empty if nothing says so."""
        if not self.frames:
            return "no frame in it"
        if self.corrupt:
            return f"damaged: {self.corrupt} of {self.frames} frames are incomplete"
        if self.promised - self.frames > _SLACK * self.promised:
            return f"truncated: {self.frames} of {self.promised} frames are there"
        if not self.promised and self.seconds and self.seconds < (1 - _SLACK) * self.stated_seconds - 0.1:
            return f"truncated: ends after {self.seconds:.2f} of {self.stated_seconds:.2f} s"
        return ""


def look(path: str | os.PathLike[str]) -> Packets:
    """Read a file's packets without decoding any.

    Raises:
        UnreadableVideo: the file is no video.
    """
    import av

    path = Path(path)
    try:
        with opened(path) as container:
            return _packets(container, _stream(container, path))
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnreadableVideo(path, said(error)) from error


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
    import av
    import numpy as np
    from av.video.reformatter import VideoReformatter

    path = Path(path)
    reformatter = VideoReformatter()
    try:
        with opened(path) as container:
            stream = _stream(container, path)
            packets = _packets(container, stream)
            if not packets.frames:
                raise UnreadableVideo(path, "no frame could be decoded")
            wanted = [int(i) for i in choose(packets.frames)]
            found: dict[int, NDArray[np.uint8]] | None = None
            if len(packets.times):
                stream.codec_context.thread_count = 1  # several clips are read at a time, not one in parts
                found = _sought(container, stream, packets, sorted(set(wanted)), size, reformatter, path)
            if found is None:
                found = _counted(path, sorted(set(wanted)), size)
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        why = said(error)
        raise UnreadableVideo(path, f"damaged: {why}" if isinstance(error, av.FFmpegError) else why) from error
    if len({pixels.shape for pixels in found.values()}) > 1:
        raise UnreadableVideo(path, "its frames differ in size")
    return np.stack([found[i] for i in wanted])


def _stream(container: av.container.InputContainer, path: Path) -> Any:
    import av

    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise UnreadableVideo(path, "no video stream")
    return stream


def _packets(container: Any, stream: Any) -> Packets:
    import av
    import numpy as np

    times: list[int] = []
    keys: list[int] = []
    frames = corrupt = 0
    timed = True
    end = 0
    vp8 = stream.codec_context.name in ("vp8", "libvpx")
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if vp8 and not bytes(packet)[0] >> 4 & 1:
            continue  # a picture that others refer to and that is never shown
        frames += 1
        corrupt += packet.is_corrupt
        if packet.pts is None:
            timed = False
            continue
        times.append(packet.pts)
        end = max(end, packet.pts + (packet.duration or 0))
        if packet.is_keyframe:
            keys.append(packet.pts)
    timed = timed and bool(keys) and len(set(times)) == len(times) and min(keys) == min(times)
    unit = float(stream.time_base or 0)
    promised = stream.frames
    stated = float(stream.duration * unit) if stream.duration else 0.0
    if not stated and container.format.name == "matroska,webm" and len(container.streams) == 1:
        stated = (container.duration or 0) / av.time_base
    if "mp4" in container.format.name and stated and (end - min(times, default=0)) * unit >= (1 - _SLACK) * stated:
        promised = 0  # it also counts what an edit cuts away
    return Packets(
        frames=frames,
        seconds=(end - min(times)) * unit if times else 0.0,
        times=np.sort(np.array(times if timed else [], np.int64)),
        keys=np.sort(np.array(keys if timed else [], np.int64)),
        promised=promised,
        stated_seconds=stated,
        corrupt=corrupt,
    )


def _sought(
    container: Any, stream: Any, packets: Packets, wanted: list[int], size: int | None, reformatter: Any, path: Path
) -> dict[int, NDArray[np.uint8]] | None:
    """The wanted frames, found by their times; None if a frame does not come at its time."""
    import numpy as np

    found: dict[int, NDArray[np.uint8]] = {}
    at = None  # the time of the frame that was decoded last
    frames: Any = None
    for i in wanted:
        time = int(packets.times[i])
        key = int(packets.keys[max(0, int(np.searchsorted(packets.keys, time, "right")) - 1)])
        if at is None or key > at:
            container.seek(key, stream=stream, backward=True)
            frames = container.decode(stream)
            at = None
        for frame in frames:
            if frame.pts is None:
                return None
            at = frame.pts
            if at == time:
                if frame.is_corrupt:
                    raise UnreadableVideo(path, f"damaged: frame {i + 1} of {packets.frames} is incomplete")
                found[i] = pixels_of(frame, size, reformatter, square=False)
                break
            if at > time:
                return None
        else:
            return None
    return found


def _counted(path: Path, wanted: list[int], size: int | None) -> dict[int, NDArray[np.uint8]]:
    """The wanted frames, found by counting from the first."""
    return dict(zip(wanted, read_frames(path, wanted, size, square=False), strict=True))
