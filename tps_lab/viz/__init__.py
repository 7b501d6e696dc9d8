"""Every picture of the package, used by notebooks, reports and the command line alike.

Nothing here touches pyplot's global state: each function draws on a new `matplotlib.figure.Figure`, or, if its picture
has one panel, on the `ax` that it is given (None makes a figure), and returns what it drew on. A notebook shows the
figure of an axes::

    viz.mosaic("C").figure

Matplotlib is loaded with the first picture, not with this package.
"""

from __future__ import annotations

from typing import Any

from tps_lab.results.groups import group_runs
from tps_lab.viz.answers import accuracy_map, confusion, pair_accuracy, time_use
from tps_lab.viz.breakdown import breakdown, memory_over_step, stacked
from tps_lab.viz.certificate import badge, certificate
from tps_lab.viz.effects import aggregate, differences, dots, interaction, main_effects
from tps_lab.viz.mosaics import mosaic, provenance
from tps_lab.viz.on_clips import attention_maps, exploded_cube, film_strips, mixed_frames
from tps_lab.viz.plots import complexity, learning_curves, tradeoff
from tps_lab.viz.reach import attended_sets, coverage, reach_animation, receptive_field, who_sees_whom
from tps_lab.viz.sliders import player, sliders
from tps_lab.viz.style import Look, colour, look, looks
from tps_lab.viz.tuning_curves import best_of_trials, tuning

__all__ = [
    "Look",
    "accuracy_map",
    "aggregate",
    "attended_sets",
    "attention_maps",
    "badge",
    "best_of_trials",
    "breakdown",
    "certificate",
    "colour",
    "complexity",
    "confusion",
    "coverage",
    "differences",
    "dots",
    "exploded_cube",
    "film_strips",
    "group_runs",
    "interaction",
    "learning_curves",
    "look",
    "looks",
    "main_effects",
    "memory_over_step",
    "mixed_frames",
    "mosaic",
    "pair_accuracy",
    "player",
    "provenance",
    "reach_animation",
    "receptive_field",
    "sliders",
    "stacked",
    "studio",
    "time_use",
    "tradeoff",
    "tuning",
    "who_sees_whom",
]


def studio(pattern: str = "C", beside: str = "A", **asked: Any) -> Any:
    """The mosaic studio in a frame, as a cell's result; see `tps_lab.viz.studio_page.state` for what can be given.

    >>> viz.studio("0 1 / -1 0", frames=8)  # doctest: +SKIP
    """
    from tps_lab.viz.studio_page import Frame, state

    return Frame(state(pattern, beside, **asked))
