"""Frame-causal attention: a frame sees itself and what came before it.

Source: the action-conditioned predictor of V-JEPA 2, arXiv 2506.09985 and facebookresearch/vjepa2, where it lets
a model predict the next frame from those before. About half of joint attention's pairs are allowed.
"""

from dataclasses import dataclass
from typing import Any

from tps_lab.attention._grid import Grid
from tps_lab.attention._look import Look
from tps_lab.attention.relations import Place, Relation


@dataclass(frozen=True)
class Causal(Relation):
    """Each patch attends to the patches of its own frame and of all earlier ones, never to a later one."""

    name = "causal"
    title = "Frame-causal"
    rank, looks = 250, {"": Look("#34495e", ">")}

    def allows(self, grid: Grid, query: Place, key: Place) -> Any:
        return key.t <= query.t
