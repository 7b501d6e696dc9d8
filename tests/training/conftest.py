"""Runs and videos that several tests here look at."""

import pytest
from tiny import COST, TINY, write_video

from tps_lab.training.config import make
from tps_lab.training.train import train


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
