"""What the makers hand over: pages, pictures, and what is put into a page after the search has read it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class Made:
    """Pages and pictures that stand in no file.

    Attributes:
        files: place in the site → content.
        listed: pages for the navigation, in order.
        origins: page → the file of the repository whose links it holds.
        stands: file of the repository → the page that shows it.
        later: page → {mark in its text: HTML to put there}.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, str | bytes] = {}
        self.listed: list[str] = []
        self.origins: dict[str, str] = {}
        self.stands: dict[str, str] = {}
        self.later: dict[str, dict[str, str]] = {}

    def page(self, place: str, text: str, origin: str | None = None, shows: bool = True) -> None:
        """A page; its relative links are those of the file `origin`, and links to `origin` lead to it."""
        self.files[place] = text
        self.listed.append(place)
        if origin is not None:
            self.origins[place] = origin
            if shows:
                self.stands[origin] = place

    def picture(self, place: str, figure: Any, dpi: int = 110) -> None:
        """A Matplotlib figure as PNG."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight", facecolor="white")
        self.files[place] = drawn.getvalue()
