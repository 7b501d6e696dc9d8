"""Frames by torchcodec, where it is installed: `decoder=torchcodec` of the labelled data sets.

It decodes with the FFmpeg of the system and hands tensors over without a copy. Frames are the same as
PyAV's; what scales them down is torchvision's antialiased filter and not FFmpeg's averaging, so that
pixels differ a little, and the decoder is an option of the data set and part of a run's identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tps_lab.data._video import UnreadableVideo
from tps_lab.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    path = Path(path)
    try:
        if not path.stat().st_size:
            raise UnreadableVideo(path, "empty file")
        # "exact" looks through all packets first, as `_seek` does
        decoder = VideoDecoder(str(path), seek_mode="exact", num_ffmpeg_threads=1)
        wanted = [int(i) for i in choose(len(decoder))]
        different = sorted(set(wanted))
        frames = decoder.get_frames_at(different).data  # (N, 3, H, W) uint8
    except UnreadableVideo:
        raise
    except OSError as error:
        raise UnreadableVideo(path, (error.strerror or str(error)).lower()) from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise UnreadableVideo(path, f"damaged or no video: {' '.join(str(error).split())[:120]}") from error
    if size is not None and min(frames.shape[-2:]) != size:
        height, width = frames.shape[-2:]
        scale = size / min(height, width)
        frames = F.resize(frames, [max(size, round(height * scale)), max(size, round(width * scale))], antialias=True)
    place = {i: k for k, i in enumerate(different)}
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy()[[place[i] for i in wanted]])


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
