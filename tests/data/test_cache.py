"""The cache of decoded frames: the same frames, within its limit, with several processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from layouts import clip
from small_videos import encode

from tps_lab.data import _frames
from tps_lab.data._frames import Cache, configured, read
from tps_lab.data._seek import read_chosen
from tps_lab.errors import InputError


def test_frames_are_the_same_and_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = encode(tmp_path / "a.mp4", clip(0))
    want = read(video, lambda total: [3, 3, total - 1], 18)
    monkeypatch.setenv("TPS_LAB_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        assert np.array_equal(read(video, lambda total: [3, 3, total - 1], 18), want)
    monkeypatch.setattr(_frames, "read_chosen", lambda *a: pytest.fail("decoded again"))
    assert np.array_equal(read(video, lambda total: [0], 18, start=3, stop=9), want[:1])


def test_a_changed_video_is_another(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**8)
    first = cache.read(encode(tmp_path / "a.mp4", clip(0)), lambda n: [0], 18, read_chosen)
    second = cache.read(encode(tmp_path / "a.mp4", 255 - clip(0)), lambda n: [0], 18, read_chosen)
    assert not np.array_equal(first, second)


def test_the_limit_holds_and_the_least_used_goes_first(tmp_path: Path) -> None:
    videos = [encode(tmp_path / f"{i}.mp4", clip(i)) for i in range(6)]
    size = read_chosen(videos[0], range, 18).nbytes + 128
    cache = Cache(tmp_path / "cache", int(3.5 * size))
    (tmp_path / "cache" / "mine.txt").write_text("not the cache's")
    kept = cache._file(videos[0], 18)
    for video in videos:
        cache.read(video, lambda n: [0], 18, read_chosen)
        cache.read(videos[0], lambda n: [0], 18, read_chosen)  # used all the time
        assert sum(file.stat().st_size for file in cache.folder.glob("*.frames.npy")) <= 3.5 * size
    assert kept is not None
    assert kept.exists()
    assert (tmp_path / "cache" / "mine.txt").exists()


def test_a_damaged_cache_file_is_replaced(tmp_path: Path) -> None:
    video, cache = encode(tmp_path / "a.mp4", clip(0)), Cache(tmp_path / "cache", 10**8)
    want = cache.read(video, lambda n: [5], 18, read_chosen)
    file = cache._file(video, 18)
    assert file is not None
    file.write_bytes(file.read_bytes()[:500])
    assert np.array_equal(cache.read(video, lambda n: [5], 18, read_chosen), want)
    assert np.array_equal(np.load(file)[[5]], want)


def test_several_processes(tmp_path: Path) -> None:
    videos = [str(encode(tmp_path / f"{i}.mp4", clip(i))) for i in range(4)]
    code = f"""
import numpy as np
from pathlib import Path
from tps_lab.data._frames import Cache
from tps_lab.data._seek import read_chosen
cache = Cache(Path({str(tmp_path / "cache")!r}), 60_000)  # room for two of the four
for round in range(8):
    for video in map(Path, {videos!r}):
        want = read_chosen(video, lambda n: [7], 18)
        assert np.array_equal(cache.read(video, lambda n: [7], 18, read_chosen), want)
print("fine")
"""
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in running] == ["fine\n"] * 3
    assert not list((tmp_path / "cache").glob("*.part"))


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured() is None
    monkeypatch.setenv("TPS_LAB_CACHE", str(tmp_path / "cache"))
    for given in ("much", "-1", "nan"):
        monkeypatch.setenv("TPS_LAB_CACHE_GB", given)
        with pytest.raises(InputError, match="TPS_LAB_CACHE_GB must be a number above 0"):
            configured()
    monkeypatch.setenv("TPS_LAB_CACHE_GB", "1")
    monkeypatch.setenv("TPS_LAB_CACHE", "/proc/no/such")
    with pytest.raises(InputError, match="cannot make the cache"):
        configured()
