"""The package's templates as text, and the filters that they use."""

from __future__ import annotations

import re
from typing import Any

from tps_lab.report import own
from tps_lab.results.axes import axis_name
from tps_lab.text import code, markdown
from tps_lab.viz.style import tag


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
    environment.filters["code"] = code
    environment.globals["own"] = own
    environment.filters["tied"] = tied
    environment.filters["tag"] = tag
    environment.filters["axes"] = lambda name: " × ".join(map(axis_name, name.split(" × ")))
    environment.filters["p"] = p_text
    environment.filters["points"] = lambda value: f"{value:+z.1f}".replace("-", "−").replace("+0.0", "0.0")
    environment.filters["tenths"] = lambda value: f"{value:z.1f}".replace("-", "−")
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
