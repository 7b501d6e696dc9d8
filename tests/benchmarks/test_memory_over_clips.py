"""Memory stays flat over 10,000 clips: read, cut, augmented, several at a time.

Run with `make benchmark`; the figures are printed.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))
from layouts import clip
from small_videos import encode

from tps_lab import data

CLIPS = 10_000
MOST_GROWTH = 40 * 2**20  # bytes, over the last nine tenths


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_memory_over_ten_thousand_clips(tmp_path: Path, benchmark) -> None:
    for i in range(10):
        for split in ("train", "val"):
            encode(tmp_path / split / ("walking", "running")[i % 2] / f"{i}.mp4", clip(i, 40))
    (tmp_path / "train" / "walking" / "broken.mp4").write_bytes(b"not a video")
    clips = data.parse("class-folders", path=str(tmp_path), frames=8, size=32, short=36).opened()
    seen: list[int] = []

    def read() -> None:
        n = clips.size("train")
        for start in range(0, CLIPS, 50):
            clips.set_epoch(start // n)
            x, _ = clips.batch("train", torch.arange(start, start + 50) % n)
            assert x.shape == (50, 3, 8, 32, 32)
            seen.append(resident_bytes())

    benchmark.pedantic(read, rounds=1, iterations=1)
    growth = seen[-1] - seen[len(seen) // 10]
    print(f"\n{CLIPS} clips: {seen[0] / 2**20:.1f} MiB at first, {seen[len(seen) // 10] / 2**20:.1f} after a tenth, "
          f"{seen[-1] / 2**20:.1f} at the end; growth over nine tenths {growth / 2**20:.1f} MiB")  # fmt: skip
    assert growth < MOST_GROWTH
