"""Folders of small videos."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_videos import encode, moving, numbered


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two numbered videos, losslessly coded."""
    place = tmp_path_factory.mktemp("two")
    (place / "below").mkdir()
    encode(place / "a.mkv", numbered(100, 230), "ffv1", "bgr0")
    encode(place / "below" / "b.MKV", numbered(90, 250), "ffv1", "bgr0")
    return place


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound mp4 of 70 frames, whose index comes first."""
    return encode(tmp_path_factory.mktemp("good") / "good.mp4", moving(70), movflags="faststart")
