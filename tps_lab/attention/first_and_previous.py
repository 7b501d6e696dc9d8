"""First and previous frame: a frame sees itself, the frame before it and the clip's first frame.

Source: the sparse-causal attention of Wu et al. (Tune-A-Video), ICCV 2023, arXiv 2212.11565, section 3.2, equation
(4): keys and values come from frame 0 and from the frame before. There a frame does not attend to
itself; here it does, so that a model with image weights still sees in the frame what it saw before.
"""

from dataclasses import dataclass
from typing import Any

from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.relations import Place, Relation


@dataclass(frozen=True)
class FirstAndPrevious(Relation):
    """Each patch attends to the patches of its own frame, of the frame before, and of the clip's first."""

    name = "first-and-previous"
    title = "First and previous frame"
    rank, looks = 240, {"": Look("#7f8fa6", "<")}

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        return (key.t == query.t) | (key.t == query.t - 1) | (key.t == 0)
