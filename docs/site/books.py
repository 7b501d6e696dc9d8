"""The notebooks as pages, with the outputs that are stored in them."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any

import nbformat
from made import Made

_STUDIO = re.compile(r'href="[^"]*studio\.html(#[^"]*)?"')


def make(made: Made) -> None:
    paths = sorted((made.root / "notebooks").glob("*.ipynb"), key=lambda path: int(path.name.partition("_")[0]))
    books = {path: nbformat.read(path, as_version=4) for path in paths}
    parts = [
        "# Notebooks", "",
        "Each is shown as it ran, outputs included. To run them yourself: `make notebooks`, or open the folder in "
        "JupyterLab.", "",
    ]  # fmt: skip
    for path, book in books.items():
        title, _, rest = book.cells[0].source.partition("\n")
        learn = re.search(r"\*\*You will learn\*\*(.+?)(?=\n\n|\Z)", rest, re.DOTALL)
        said = " ".join(learn[1].split()) if learn else ""
        parts += [f"**[{title.removeprefix('# ')}]({path.stem}.md)**", "", f"You will learn {said}", ""]
    made.page("notebooks/index.md", "\n".join(parts))
    for path, book in books.items():
        _page(made, path, book)


def _page(made: Made, path: Path, book: Any) -> None:
    place = f"notebooks/{path.stem}.md"
    later = made.later.setdefault(place, {})
    parts = []
    for n, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            parts += [cell.source, ""]
            continue
        parts += ["```python", cell.source, "```", ""]
        outputs = cell.get("outputs", ())
        for k, output in enumerate(outputs):
            if _STUDIO.search(outputs[k + 1].get("data", {}).get("text/html", "") if k + 1 < len(outputs) else ""):
                continue  # the studio's picture, where the link behind it becomes the studio
            shown = _output(made, f"notebooks/pictures/{path.stem}_{n}_{k}.png", output)
            if shown.startswith("<"):
                mark = f"<p>output-{n}-{k}</p>"
                later[mark] = shown
                shown = f"output-{n}-{k}"
            parts += [shown, ""]
    made.page(place, "\n".join(parts), path.relative_to(made.root).as_posix())


def _output(made: Made, picture: str, output: Any) -> str:
    """Markdown, or HTML that goes into the page later."""
    if output.output_type == "stream":
        return _text(output.text)
    if output.output_type == "error":
        return _text("\n".join(output.traceback))
    data = output.data
    if "image/png" in data:
        made.files[picture] = base64.b64decode(data["image/png"])
        return f"![]({picture.removeprefix('notebooks/')})"
    if "text/html" in data:
        found = _STUDIO.search(data["text/html"])
        if found:  # a link where it is stored, the studio itself here
            state = html.escape(html.unescape(found[1] or ""))
            return f'<iframe class="studio" title="Mosaic studio" src="../studio.html{state}" loading="lazy"></iframe>'
        return f'<div class="output">{data["text/html"]}</div>'
    return _text(data.get("text/plain", ""))


def _text(text: str) -> str:
    return f'<pre class="output">{html.escape(text.rstrip())}</pre>'
