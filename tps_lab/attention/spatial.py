"""Space-only attention: every frame by itself, as an image.

Source: the "Space" baseline of Bertasius et al., "Is Space-Time Attention All You Need for Video
Understanding?", ICML 2021, arXiv 2102.05095; "2D average pool" in the TPS paper. Cost O(N²T) for
T frames of N patches.
"""

from dataclasses import dataclass

from tps_lab.attention._core import Mixer, Variant, frame_by_frame
from tps_lab.attention._look import Look


@dataclass(frozen=True)
class Spatial(Variant):
    """Each patch attends to the patches of its own frame; frames meet only in the average at the
    end, so without an embedding of time no order of the frames can be told from any other.

    The group of token (t, h, w) is t.
    """

    name = "spatial"
    title = "Spatial"
    rank, looks = 0, {"": Look("#4d4d4d", "o")}
    windowed = True

    def block(self, index: int, depth: int, stage: int | None = None) -> tuple[Mixer, ...]:
        return (frame_by_frame,)
