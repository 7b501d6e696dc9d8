"""A report's files: made from the package's templates, marked as ours, and written over nobody else's."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import files
from tps_lab.errors import InputError
from tps_lab.results import archive
from tps_lab.results.axes import axis_name
from tps_lab.text import code, markdown
from tps_lab.viz.style import tag

if TYPE_CHECKING:
    import jinja2

# stands in every page and every Markdown file that a report writes
HTML, MARKDOWN = '<meta name="generator" content="tps-lab">', "<!-- written by tps-lab -->"
_WITH_MARK = ("index.html", "report.md", "README.md")
_WITHOUT = ("results.csv", "results.tex", archive.FILE, "summary.json")


def check(out: Path, force: bool = False) -> None:
    """Refuse, before any work, a folder that a report should not or cannot be written into.

    Args:
        force: replace files of others too.

    Raises:
        InputError: it cannot be written, or holds files in a report's way that no report wrote.
    """
    files.check_folder(out)
    if force:
        return
    marked = [name for name in _WITH_MARK if os.path.lexists(out / name)]
    strange = [name for name in marked if not is_ours(out / name)]
    if not marked:
        strange = [name for name in _WITHOUT if os.path.lexists(out / name)]
    if strange:
        raise InputError(
            f"{out} holds {', '.join(strange)}, which no report wrote: give another --out, or --force to replace them"
        )


def is_ours(file: Path) -> bool:
    """Whether a report wrote this file."""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as content:
            start = content.read(1 << 16).decode("utf-8", "replace")
    except OSError:  # a link, or not to be read
        return False
    return HTML in start or MARKDOWN in start


def render(template: str, content: dict[str, Any]) -> str:
    """A template of this package as text."""
    return _environment().get_template(template).render(content)


@functools.cache
def _environment() -> jinja2.Environment:
    """Made once: it keeps the templates that it has compiled."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tps_lab.report"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["md"] = markdown
    environment.filters["code"] = code
    environment.globals["own"] = {"HTML": HTML, "MARKDOWN": MARKDOWN}
    environment.filters["tied"] = tied
    environment.filters["tag"] = tag
    environment.filters["axes"] = lambda name: " × ".join(map(axis_name, name.split(" × ")))
    environment.filters["p"] = p_text
    environment.filters["points"] = lambda value: f"{value:+z.1f}".replace("-", "−").replace("+0.0", "0.0")
    environment.filters["tenths"] = lambda value: f"{value:z.1f}".replace("-", "−")
    environment.filters["ranges"] = lambda text: tied(text).replace(" ", "\u00a0").replace(",\u00a0", ", ")
    return environment


def p_text(p: float) -> str:
    """A p value as people write it."""
    if p != p:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def tied(text: str) -> str:
    """Text whose ranges and percentages do not break over two lines."""
    text = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)
    return re.sub(r"(?<=\d) (?=(%|M|G|×)(\W|$))", "\u00a0", text)
