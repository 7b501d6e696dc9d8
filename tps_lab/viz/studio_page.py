"""The studio's page as people open it: in the browser, or in a notebook, where it also lives in exported HTML."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tps_lab.errors import InputError, unknown
from tps_lab.patterns import BORDERS, ShiftPattern

# a link to docs/studio.html, so that the package has it, too
PAGE = Path(__file__).parents[1] / "studio" / "studio.html"
# what else of the page's state can be given, each with its least and largest value; page/pattern.js has the same
LIMITS = {"frames": (2, 64), "rows": (1, 32), "columns": (1, 32), "blocks": (1, 24), "every": (1, 4)}
_CHOICES: dict[str, tuple[str, ...]] = {
    "border": BORDERS,
    "view": ("mixed", "cube", "meets"),
    "order": ("filmed", "reversed", "shuffled", "frozen"),
}


def state(pattern: str = "C", beside: str = "A", **asked: Any) -> str:
    """What the page shows at first, as it stands behind the # of its address.

    Args:
        pattern, beside: the two tiles, each a name or text such as "0 1 / -1 0".
        **asked: frames, rows, columns, blocks, every, border, view, order.

    Raises:
        InputError: a tile, a name or a value is none.
    """
    found = {}
    for name, tile in (("a", beside), ("b", pattern)):
        parsed = ShiftPattern.parse(tile)
        parsed.check_fits(int(asked.get("frames", 16)))
        found[name] = str(parsed)
    for name, value in asked.items():
        if name in LIMITS:
            low, high = LIMITS[name]
            if not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise unknown(name, str(value), _CHOICES[name])
        else:
            raise unknown("field of the studio", name, [*LIMITS, *_CHOICES])
        found[name] = value
    return urlencode(found).replace("+", "%20")


def address(pattern: str = "C", beside: str = "A") -> str:
    """The page's address on this machine, with the two tiles to begin with."""
    return f"{page().resolve().as_uri()}#{state(pattern, beside)}"


def page() -> Path:
    """The page's file.

    Raises:
        InputError: it is not there.
    """
    if not PAGE.is_file():
        raise InputError("the studio's page is missing; make it with: python -m tps_lab.studio.build")
    return PAGE


@dataclass(frozen=True)
class Frame:
    """The studio as the result of a notebook's cell: the whole page inside a frame, no kernel and no network.

    Args:
        start: of `state`.
        height: in pixels.
    """

    start: str
    height: int = 960

    def _repr_html_(self) -> str:
        begin = f"<script>window.STUDIO_START = {json.dumps(self.start)}</script>"
        inside = page().read_text(encoding="utf-8").replace("<head>", "<head>" + begin, 1)
        return (
            f'<iframe title="Mosaic studio" style="width: 100%; height: {self.height}px; border: 0" '
            f'allow="camera; clipboard-write" srcdoc="{html.escape(inside)}"></iframe>'
        )
