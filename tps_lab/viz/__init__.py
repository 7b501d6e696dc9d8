"""Every picture of the package, used by notebooks, reports and the command line alike.

Nothing here touches pyplot's global state: each function draws on the `ax` that it is given or on a
new `matplotlib.figure.Figure`, and returns what it drew on. A notebook shows the figure of an axes::

    viz.mosaic("C").figure

Matplotlib is loaded with the first picture, not with this package.
"""

from __future__ import annotations

from tps_lab.viz.heat import accuracy_map, confusion
from tps_lab.viz.meeting import who_sees_whom
from tps_lab.viz.mosaics import mixed_frames, mosaic
from tps_lab.viz.pairs import pair_accuracy
from tps_lab.viz.plots import learning_curves, tradeoff
from tps_lab.viz.style import Look, colour, look, looks, marker

__all__ = [
    "Look",
    "accuracy_map",
    "colour",
    "confusion",
    "learning_curves",
    "look",
    "looks",
    "marker",
    "mixed_frames",
    "mosaic",
    "pair_accuracy",
    "tradeoff",
    "who_sees_whom",
]
