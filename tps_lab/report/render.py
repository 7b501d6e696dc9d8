"""The package's templates as text, and the filters that they use."""

from __future__ import annotations

import re
from typing import Any


def render(template: str, content: dict[str, Any]) -> str:
    """A template of this package as text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tps_lab.report"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["md"] = markdown
    environment.filters["tied"] = tied
    environment.filters["p"] = p_text
    environment.filters["points"] = lambda value: f"{value:+.1f}".replace("-", "−")
    environment.filters["ranges"] = lambda text: tied(text).replace(" ", "\u00a0").replace(",\u00a0", ", ")
    return environment.get_template(template).render(content)


def p_text(p: float) -> str:
    """A p value as people write it."""
    if p != p:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def tied(text: str) -> str:
    """Text whose ranges and percentages do not break over two lines."""
    text = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)
    return re.sub(r"(?<=\d) (?=(%|M|G|×)(\W|$))", "\u00a0", text)


def markdown(text: object) -> str:
    """Text that Markdown prints as it is, also inside a table."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]|#~" else sign for sign in str(text))
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
