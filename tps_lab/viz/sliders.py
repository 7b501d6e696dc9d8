"""Sliders over pictures that are drawn beforehand: in a notebook, and in a page made from it, with no kernel."""

from __future__ import annotations

import base64
import html
import io
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tps_lab.errors import InputError

_MOST = 64  # pictures; each is drawn and stored
# What a slider does when it is moved: show the picture of all sliders' places, and its own value beside it.
_MOVED = (
    "const b=this.closest('.tps-sliders');"
    "const at=[...b.querySelectorAll('input')].map(i=>i.value).join(' ');"
    "for(const p of b.querySelectorAll('[data-at]'))p.hidden=p.dataset.at!==at;"
    "this.nextElementSibling.value=this.dataset.values.split('|')[this.value]"
)
# JupyterLab takes arrow keys before they come to a slider; on the window itself one is ahead of it.
_FOCUSED = (
    "if(!window.tpsSliders){window.tpsSliders=true;window.addEventListener('keydown',"
    "e=>{if(e.key.startsWith('Arrow')&&e.target.closest('.tps-sliders'))e.stopImmediatePropagation()},true)}"
)


@dataclass(frozen=True)
class Sliders:
    """What `sliders` and `player` give: a cell's result.

    Args:
        page: its HTML, which needs nothing from elsewhere.
    """

    page: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.page


def sliders(draw: Callable[..., Any], **choices: Sequence[Any]) -> Sliders:
    """`draw(**values)` for every set of values, and a slider for each argument that says which one is seen.

    All pictures are drawn at once, so keep the choices few. An `InputError` of `draw` is shown as its one line.

    Args:
        draw: from the values to an axes or a figure.
        **choices: argument → the values that it can take; a pair (values, first) begins with `first`.

    Raises:
        InputError: more than 64 pictures.

    >>> sliders(lambda frames: viz.mosaic("A"), frames=(8, 16))  # doctest: +SKIP
    """
    asked = {}
    for name, given in choices.items():
        values, first = given if len(given) == 2 and isinstance(given[0], (list, tuple)) else (given, given[0])
        asked[name] = (list(values), list(values).index(first))
    many = 1
    for values, _ in asked.values():
        many *= len(values)
    if many > _MOST:
        raise InputError(f"sliders draws every picture beforehand: {many} are asked for, at most {_MOST} can be")
    parts = ['<div class="tps-sliders"><div style="display: flex; flex-wrap: wrap; gap: 0.4em 2em">']
    for name, (values, first) in asked.items():
        told = html.escape("|".join(map(str, values)))
        parts.append(
            f'<label style="display: flex; gap: 0.5em; align-items: center">{html.escape(name)} <input type="range" '
            f'min="0" max="{len(values) - 1}" value="{first}" data-values="{told}" oninput="{html.escape(_MOVED)}" '
            f'onfocus="{html.escape(_FOCUSED)}">'
            f"<output>{html.escape(str(values[first]))}</output></label>"
        )
    parts.append("</div>")
    places = itertools.product(*(range(len(values)) for values, _ in asked.values()))
    at_first = tuple(first for _, first in asked.values())
    for place in places:
        said = {name: values[at] for (name, (values, _)), at in zip(asked.items(), place, strict=True)}
        hidden = "" if place == at_first else " hidden"
        parts.append(f'<div data-at="{" ".join(map(str, place))}"{hidden}>{_drawn(draw, said)}</div>')
    return Sliders("".join([*parts, "</div>"]))


# Matplotlib's player fetches its buttons' signs from the network; these are letters.
_SIGNS = {
    "fa-minus": "−", "fa-fast-backward": "⏮", "fa-step-backward": "◁", "fa-play fa-flip-horizontal": "◀",
    "fa-pause": "❚❚", "fa-play": "▶", "fa-step-forward": "▷", "fa-fast-forward": "⏭", "fa-plus": "+",
}  # fmt: skip


def player(animation: Any) -> Sliders:
    """An animation with buttons, in a notebook and in a page made from it, with no kernel and no network.

    Args:
        animation: of Matplotlib, such as `reach_animation` gives.

    >>> player(viz.reach_animation("tps"))  # doctest: +SKIP
    """
    page = re.sub(r"<link\b[^>]*>", "", animation.to_jshtml())
    for icon, sign in _SIGNS.items():
        page = page.replace(f'<i class="fa {icon}"></i>', sign)
    return Sliders(page)


def _drawn(draw: Callable[..., Any], values: dict[str, Any]) -> str:
    try:
        made = draw(**values)
    except InputError as error:
        return f"<em>{html.escape(str(error))}</em>"
    figure = made.get_figure(root=True) if hasattr(made, "get_figure") else made
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    said = html.escape(", ".join(f"{name} {value}" for name, value in values.items()))
    content = base64.b64encode(picture.getvalue()).decode()
    return f'<img style="max-width: 100%" alt="{said}" src="data:image/png;base64,{content}">'
