"""Local attention: windows of a few frames and a few patches, moved by half in every second block.

Source: Video Swin, Liu et al., CVPR 2022, arXiv 2106.13230, section 3.2 and its released code. A
window as long as the clip, or longer, is clipped to it and not moved along that axis. Cost
O(NT·P·M²) for windows of P frames and M×M patches.

Moved windows are rolled around the ends of the clip, so that all stay full, and a mask keeps apart
what does not belong together, as in Swin. Where windows do not divide the clip, we fill them up
with padding that no token sees; the released code fills them with zeros that are seen, because it
masks moved windows only. A clip's class token (Video Swin has none) joins every window and is averaged.
A plain ViT has no relative position bias, so its windows have none. In a Swin model, the windows' places
and moves in space are the model's own, and this variant extends them over P frames: that is Video
Swin, bias table included.

Image weights are kept to float precision where a window holds the whole frame; smaller windows
see less than the image model did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tps_lab.attention._core import Mixer, ScheduledVariant
from tps_lab.attention._grid import Grid, Routes, partition
from tps_lab.attention._look import Look
from tps_lab.specs import Limits


@dataclass(frozen=True)
class Local(ScheduledVariant):
    """Each patch attends to the patches around it in space and time; every second time the windows
    are moved by half, so that neighbours across their borders meet too.

    The group of token (t, h, w) is (t // P, h // M, w // M).

    Args:
        window_frames: P, frames of a window (after tubelets).
        window: M, patches along each side of a window.
        moved: move the windows by half in every second block of those that are on.
    """

    name = "local"
    title = "Local"
    rank, looks = 120, {"": Look("#e7298a", "h", "dotted")}
    windowed = True
    temporal_position = True
    prefix_of = "clip"

    limits: ClassVar[Limits] = {"window_frames": (1, 10_000), "window": (1, 10_000)}

    window_frames: int = 8
    window: int = 7
    moved: bool = True

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        moved = self.moved and (index // self.every) % 2 == 1
        size = (self.window_frames, self.window, self.window)
        return (Mixer(lambda grid: window_routes(grid, size, moved)),)


def window_routes(grid: Grid, size: tuple[int, int, int], moved: bool) -> Routes:
    """Routes of windows of `size` (frames, rows, columns), clipped to the clip, moved by half or not."""
    lengths = (grid.frames, grid.height, grid.width)
    clipped = [min(window, length) for window, length in zip(size, lengths, strict=True)]
    move = [window // 2 if moved and window < length else 0 for window, length in zip(clipped, lengths, strict=True)]
    windows = [-(-length // window) for window, length in zip(clipped, lengths, strict=True)]

    def group(*place: Any) -> Any:
        # rolled to the left on an axis that whole windows fill
        at = [(x - m) % (n * p) // p for x, m, n, p in zip(place, move, windows, clipped, strict=True)]
        return (at[0] * windows[1] + at[1]) * windows[2] + at[2]

    def region(*place: Any) -> Any:
        # what was rolled around an end does not meet what it landed beside
        around = [(x < m).astype(int) for x, m in zip(place, move, strict=True)]
        return around[0] * 4 + around[1] * 2 + around[2]

    return partition(grid, group, region if any(move) else None, pad=True)
