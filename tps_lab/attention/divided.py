"""Divided space-time attention (T+S): first along time, then within the frame.

Source: Bertasius et al. (TimeSformer), ICML 2021, arXiv 2102.05095, section 3 and the released
code, from which come the zero-initialised layer after the temporal attention (so that image
weights are undisturbed at the start) and the class token, which sits out the temporal step and is
copied to every frame and averaged in the spatial one (the paper's formula includes it). Cost
O(T²N + N²T).
"""

from dataclasses import dataclass

from tps_lab.attention._core import Mixer, ScheduledVariant, frame_by_frame, partition


@dataclass(frozen=True)
class Divided(ScheduledVariant):
    """Each patch first attends to the patches at its own place in all frames, with weights of its
    own, then to the patches of its own frame.

    The group of token (t, h, w) is (h, w), then t.
    """

    name = "divided"
    title = "Divided (T+S)"
    windowed = True
    temporal_position = True
    prefix_of = "clip"

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (along_time, frame_by_frame)


along_time = Mixer(lambda grid: partition(grid, lambda t, h, w: h * grid.width + w))
