"""Sliders under a picture, in a notebook; in a page made from it the picture of the first values stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tps_lab.errors import InputError


def sliders(draw: Callable[..., Any], **choices: Sequence[Any]) -> Any:
    """Show `draw(**values)` with a slider for each of its arguments, and draw again when one is moved.

    Every set of values is drawn once and then kept. An `InputError` of `draw` is shown as its
    one line. The first picture is an ordinary output of the cell, so a page without a kernel shows it.

    Args:
        draw: from the values to an axes, a figure or anything else that a notebook can show.
        **choices: argument → the values that it can take; a pair (values, first) begins with `first`.

    Returns:
        The box of sliders, which is shown already; its children are ipywidgets' SelectionSliders.

    >>> sliders(lambda frames: viz.mosaic("A"), frames=(8, 16))  # doctest: +SKIP
    """
    import ipywidgets
    from IPython.display import Markdown, display

    controls = {}
    for name, given in choices.items():
        values, first = given if len(given) == 2 and isinstance(given[0], (list, tuple)) else (given, given[0])
        controls[name] = ipywidgets.SelectionSlider(
            options=list(values), value=first, description=name, continuous_update=False
        )
    kept: dict[tuple[Any, ...], Any] = {}

    def picture() -> Any:
        values = {name: control.value for name, control in controls.items()}
        key = tuple(values.values())
        if key not in kept:
            try:
                made = draw(**values)
            except InputError as error:
                made = Markdown(f"*{error}*")  # type: ignore[no-untyped-call]
            kept[key] = made if not hasattr(made, "get_figure") else made.get_figure(root=True) or made
        return kept[key]

    box = ipywidgets.HBox(list(controls.values()))
    display(box)  # type: ignore[no-untyped-call]
    shown = display(picture(), display_id=True)  # type: ignore[no-untyped-call]
    for control in controls.values():
        control.observe(lambda change: shown.update(picture()), "value")
    return box
