"""Matplotlib figures as parts of a page: inline SVG for the page, PNG files for Markdown."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tps_lab import files
from tps_lab.viz.style import RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_SVG = 1_000_000  # bytes; a figure of photographs is smaller as one JPEG
_FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


@dataclass(frozen=True)
class Picture:
    """A figure in a page.

    Args:
        markup: an <svg> element, or an <img> that holds its data.
        file: its PNG, relative to the page.
        caption: what it shows; user text, to be escaped by the template.
        wide: it takes the whole width of the page.
    """

    markup: str
    file: str
    caption: str
    wide: bool = True


def picture(figure: Figure, name: str, caption: str, folder: Path, wide: bool = True) -> Picture:
    """Write `folder`/`name`.png and make the markup for the page; `name` must be used only once."""
    import matplotlib

    with matplotlib.rc_context(RC | {"svg.hashsalt": name}):
        markup = inline_svg(figure, name, caption)
        figure.set_layout_engine("none")  # it is laid out by now, and to do it again takes long
        photographs = len(markup) > _LARGEST_SVG
        if photographs:
            markup = _inline_jpeg(figure, caption)
        _write_png(figure, folder / f"{name}.png", all_colours=photographs)
    return Picture(markup, f"{folder.name}/{name}.png", caption, wide)


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an <svg> element that can stand beside others: all its ids begin with `name`."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # a style sheet inside an inlined SVG would reach the whole page; the page has these two rules
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="(of-\w+)"', r'data-of="\1"', svg)  # many artists may show one variant
    svg = re.sub(r"""(\bid=")([^"]+)""", rf"\g<1>{name}-\g<2>", svg)
    svg = re.sub(r"""(url\(#|href="#)""", rf"\g<1>{name}-", svg)
    svg = re.sub(r"'?DejaVu Sans'?(, *sans-serif)?", _FONTS, svg)
    width = figure.get_figwidth() * 96
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening is not None
    box = re.search(r'viewBox="[^"]*"', opening[0])
    new = (
        f'<svg class="plot" role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" {box[0] if box else ""} style="max-width:{width:.0f}px">'
    )
    return new + svg[opening.end() :].rstrip()


def _write_png(figure: Figure, file: Path, all_colours: bool) -> None:
    """With 256 colours, which are enough for lines and text, a third of the size: reports live in repositories."""
    from PIL import Image

    written = io.BytesIO()
    figure.savefig(written, format="png")
    drawn = Image.open(written).convert("RGB")
    with files.whole(file, to_disk=False) as half:
        (drawn if all_colours else drawn.quantize(256, dither=Image.Dither.NONE)).save(half)


def _inline_jpeg(figure: Figure, title: str) -> str:
    written = io.BytesIO()
    figure.savefig(written, format="jpeg", dpi=168, pil_kwargs={"quality": 88})
    data = base64.b64encode(written.getvalue()).decode()
    width = figure.get_figwidth() * 96
    return (
        f'<img class="plot" alt="{escape(title)}" src="data:image/jpeg;base64,{data}" style="max-width:{width:.0f}px">'
    )
