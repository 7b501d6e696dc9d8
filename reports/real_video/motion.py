"""How far things move between the frames of the packaged clips: `python reports/real_video/motion.py`.

Prints, for each clip and stride, by how many patches of 8 of 32 pixels places move from one frame to the next: median
and 90th percentile over places with some texture, by phase correlation (Kuglin and Hines, 1975) of windows of one and
a half patches in frames of 128 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tps_lab.data._sample_clips import sample_clips

SIDE, PATCH, WINDOW, STEP = 128, 32, 48, 16  # pixels
STRIDES = (1, 3, 8, 20)
TEXTURE, SURE = 6.0, 0.08  # grey levels; the least peak of a correlation that counts


def frames(file: Path) -> np.ndarray:
    """Grey frames (T, SIDE, SIDE), the square in the middle."""
    with av.open(str(file)) as opened:
        pictures = [frame.to_image().convert("L") for frame in opened.decode(video=0)]
    width, height = pictures[0].size
    side, left, top = min(width, height), (width - min(width, height)) // 2, (height - min(width, height)) // 2
    box = (left, top, left + side, top + side)
    return np.stack([np.asarray(p.resize((SIDE, SIDE), Image.Resampling.BOX, box), float) for p in pictures])


def moves(one: np.ndarray, other: np.ndarray) -> Iterator[float]:
    """How far each place moves from one frame to the other, in patches."""
    fade = np.outer(np.hanning(WINDOW), np.hanning(WINDOW))
    for y in range(0, SIDE - WINDOW + 1, STEP):
        for x in range(0, SIDE - WINDOW + 1, STEP):
            first, second = (frame[y : y + WINDOW, x : x + WINDOW] for frame in (one, other))
            if first.std() < TEXTURE:
                continue
            a, b = (np.fft.fft2((window - window.mean()) * fade) for window in (first, second))
            product = a * b.conj()
            peaks = np.fft.ifft2(product / (abs(product) + 1e-6)).real
            if peaks.max() > SURE:
                place = np.array(np.unravel_index(peaks.argmax(), peaks.shape))
                yield float(np.hypot(*((place + WINDOW // 2) % WINDOW - WINDOW // 2))) / PATCH


def main() -> None:
    """Print the table."""
    print("| clip | stride | median | 90th percentile |\n|---|---|---|---|")
    for name in ("samples", "earth"):
        for clip, file in sample_clips(name).items():
            shown = frames(file)
            for stride in STRIDES:
                starts = range(0, len(shown) - stride, max(1, len(shown) // 25))
                found = [move for t in starts for move in moves(shown[t], shown[t + stride])]
                print(f"| {clip} | {stride} | {np.median(found):.2f} | {np.percentile(found, 90):.2f} |")


if __name__ == "__main__":
    main()
