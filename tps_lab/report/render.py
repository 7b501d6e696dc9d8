"""The package's templates as text, and the filters that they use."""

from __future__ import annotations

import re
from typing import Any

from tps_lab.report import own
from tps_lab.text import printable


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
    environment.filters["p"] = p_text
    environment.filters["points"] = lambda value: f"{value:+z.1f}".replace("-", "−")
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


# what Markdown (GitHub's too, with its formulas, mentions and signs) gives a meaning
_MEANS_SOMETHING = "\\`*_[]|#~$@!"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(text: object) -> str:
    """Text that Markdown prints as it is, also inside a table and at the beginning of a line.

    >>> markdown("1. a_b $x$ <b>")
    '1\\\\. a\\\\_b \\\\$x\\\\$ &lt;b&gt;'
    """
    line = " ".join(printable(text).split())
    escaped = "".join(f"\\{sign}" if sign in _MEANS_SOMETHING else _ENTITIES.get(sign, sign) for sign in line)
    escaped = re.sub(r":(?=\w*:|//)", r"\\:", escaped)  # :emoji: and addresses
    return re.sub(r"^(\d*)([-+.)=])(?=\s|$|-|=)", r"\1\\\2", escaped)  # lists and lines under headings


def code(text: object) -> str:
    """Text as code in Markdown, also inside a table; a backtick in it does not end it.

    >>> code("a `b` | c"), code("a b")
    ('<code>a &#96;b&#96; \\\\| c</code>', '`a b`')
    """
    line = " ".join(printable(text).split())
    return f"<code>{markdown(line).replace(chr(92) + '`', '&#96;')}</code>" if set(line) & {"`", "|"} else f"`{line}`"
