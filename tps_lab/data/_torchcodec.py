"""Frames by torchcodec, where it is installed: `decoder=torchcodec` of the labelled data sets.

It decodes with the FFmpeg of the system and hands tensors over without a copy. Files whose frames it does not find
by their times, or would show mirrored, are read by PyAV, so that frames are the same. What scales them down is
torchvision's antialiased filter and not FFmpeg's averaging, so that pixels differ a little, and the decoder is an
option of the data set and part of a run's identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.data._video import decoded
from tps_lab.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# broadcast and disc formats have no index: a seek lands about where it should
_STREAMS = frozenset({".m2ts", ".mts", ".mpg", ".mpeg", ".vob"})


def read_chosen(
    path: str | os.PathLike[str], choose: Callable[[int], Sequence[int]], size: int | None = None
) -> NDArray[np.uint8]:
    """As `_seek.read_chosen`.

    Raises:
        UnreadableVideo: the file is no video, or breaks off before a wanted frame.
        InputError: torchcodec is not installed, or finds no FFmpeg.
    """
    import numpy as np
    from torchvision.transforms.v2 import functional as F

    check_installed()
    from torchcodec.decoders import VideoDecoder

    from tps_lab.data import _seek

    packets = _seek.look(path)
    different = sorted({int(i) for i in choose(packets.frames)}) if packets.frames else []
    try:
        stream = os.path.splitext(path)[1].lower() in _STREAMS
        if stream or not different or not len(packets.pts) or _is_mirrored(Path(path)):
            return _seek.read_chosen(path, choose, size)
        # "exact" looks through all packets first, as `_seek` does
        decoder = VideoDecoder(f"file:{os.fspath(path)}", seek_mode="exact", num_ffmpeg_threads=1)
        found = decoder.get_frames_at(different)
        times = found.pts_seconds.numpy() - float(decoder.metadata.begin_stream_seconds or 0)
        if len(decoder) != packets.frames or np.abs(times - packets.times[different]).max() > 1e-3:
            return _seek.read_chosen(path, choose, size)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return _seek.read_chosen(path, choose, size)  # which reads it, or says what is wrong
    frames = found.data  # (N, 3, H, W) uint8
    wanted = [int(i) for i in choose(packets.frames)]
    if size is not None and min(frames.shape[-2:]) != size:
        height, width = frames.shape[-2:]
        scale = size / min(height, width)
        frames = F.resize(frames, [max(size, round(height * scale)), max(size, round(width * scale))], antialias=True)
    place = {i: k for k, i in enumerate(different)}
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy()[[place[i] for i in wanted]])


def _is_mirrored(path: Path) -> bool:
    """Whether a file asks for more than to be turned, which torchcodec leaves out."""
    import numpy as np

    frame = next(iter(decoded(path)))
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float).tolist()
    return bool(a * d - b * c < 0)


def check_installed() -> None:
    """Raise `InputError` if torchcodec cannot be used, with what is missing."""
    try:
        import torchcodec.decoders  # noqa: F401
    except ImportError as error:
        raise InputError(
            "decoder=torchcodec: it is not installed; pip install torchcodec, or take decoder=pyav"
        ) from error
    except (RuntimeError, OSError) as error:
        raise InputError(
            "decoder=torchcodec: it is installed but finds no FFmpeg that it can use, or another torch; "
            "install FFmpeg's libraries, or take decoder=pyav"
        ) from error
