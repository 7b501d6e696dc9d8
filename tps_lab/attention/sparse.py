"""Sparse local/global attention (L+G): a quarter of the frame in all frames, then every second patch.

Source: Bertasius et al. (TimeSformer), ICML 2021, arXiv 2102.05095, section 3: first the neighbouring
F × H/2 × W/2 patches, then a stride of 2 along time and both space axes. The paper gives no code
for it. "Neighbouring" could mean a window around each patch; here it is the quarter of the frame
that holds the patch, so that both steps are partitions. Where a number is odd, groups are of
unequal size and filled up with padding that no token sees. The first step has weights of its own and a
zero-initialised output, as the temporal step of divided attention has. Cost O(N²T²·(1/4 + 1/8)).

The image model's answers are not kept, not even for one frame: the step that has the image weights
sees only every second patch.
"""

from dataclasses import dataclass

from tps_lab.attention._core import Mixer, ScheduledVariant
from tps_lab.attention._grid import partition
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class Sparse(ScheduledVariant):
    """Each patch attends to its quarter of the frame in all frames, then to every second patch of
    every second frame: about a third of the products of joint attention.

    The group of token (t, h, w) is (h ≥ H/2, w ≥ W/2), then (t mod 2, h mod 2, w mod 2).
    """

    name = "l+g"
    title = "L+G"
    rank, looks = 180, {"": Look("#b15928", "8", "sparse")}
    temporal_position = True
    prefix_of = "clip"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (near, far)


near = Mixer(lambda grid: partition(grid, lambda t, h, w: 2 * (2 * h >= grid.height) + (2 * w >= grid.width), pad=True))
far = Mixer(lambda grid: partition(grid, lambda t, h, w: 4 * (t % 2) + 2 * (h % 2) + w % 2, pad=True))
