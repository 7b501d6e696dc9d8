"""Validation accuracy as it comes in, in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tps_lab.progress import Advance, News, Progress
from tps_lab.viz.labels import in_legend, wrap
from tps_lab.viz.style import curve, looks, new_axes, styled


class LiveCurves(Progress):
    """Draws a curve per run below the cell and moves it on at every validation.

    Several runs one after the other share the picture. Outside a notebook it says nothing.

    >>> train(config, folder, progress=LiveCurves())  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.curves: dict[str, tuple[list[int], list[float]]] = {}
        self.shown: Any = None

    @contextmanager
    def run(self, label: str, steps: int) -> Iterator[Advance]:
        name = label
        while name in self.curves:
            name += " again"
        points = self.curves[name] = ([], [])

        def advance(step: int, news: News | None) -> None:
            if isinstance(news, Mapping) and "val_top1_pct" in news:
                points[0].append(step)
                points[1].append(news["val_top1_pct"])
                self.show()

        yield advance

    def show(self) -> None:
        """Draw or redraw the picture below the cell."""
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            return
        if get_ipython() is None:  # type: ignore[no-untyped-call]
            return
        if self.shown is None:
            self.shown = display(self.figure(), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.shown.update(self.figure())

    @styled
    def figure(self) -> Any:
        """The curves so far as a matplotlib figure."""
        ax = new_axes(5.6, 3.0)
        labels = list(self.curves)
        for (label, (steps, values)), used in zip(self.curves.items(), looks(labels), strict=True):
            ax.plot(steps, values, **curve(used, 6, used.colour), label=in_legend(wrap(label, 40)))
        ax.set_ylim(0, 100)
        ax.set_xlabel("training step")
        ax.set_ylabel("validation top-1 (%)")
        if labels:
            ax.legend(frameon=False, loc="upper left")
        return ax.figure
