"""Runs and videos that several tests here look at."""

import numpy as np
import pytest

from tps_lab.training.config import make
from tps_lab.training.train import train

COST = {"params": 1, "macs": 1, "missing": {}}  # what it costs is measured elsewhere
TINY = {
    "data": "opposites(train=48, val=12, test=24, frames=5, size=16)",
    "attention": "tps(pattern=A)",
    "backbone": "vit_micro(depth=2)",
    "recipe.steps": 4,
    "recipe.batch": 8,
    "recipe.validate_every": 2,
}


def write_video(path, frames, height=32, width=48, rate=25, times=None):
    """A bright square that moves to the right; `times`: when each frame is shown, in frames of the rate."""
    import av

    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            picture = np.zeros((height, width, 3), np.uint8)
            picture[8:24, i % (width - 16) : i % (width - 16) + 16] = 200
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts = times[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "a.mp4", 200)
    return folder


@pytest.fixture(scope="session")
def run(videos, tmp_path_factory):
    """A trained model that has seen videos."""
    values = TINY | {"data": f"video-folder(path={videos}, frames=4, size=16, train=32, val=8, test=8)"}
    return train(make(values), tmp_path_factory.mktemp("runs"), cost=COST)
