"""Notebooks: stored without outputs, and run from top to bottom (`make notebooks`, which also renders them)."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RENDERED = ROOT / "build" / "notebooks"


def name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_is_stored_clean_and_teaches(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert notebook.cells[0].source.startswith(f"# {path.stem.partition('_')[0]} · ")
    assert "**You will learn**" in notebook.cells[0].source
    assert text.count("**Exercise.**") == text.count("<summary>Answer</summary>") >= 1
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
    assert "pyplot" not in text, "pictures come from tps_lab.viz"


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_runs_from_top_to_bottom(path: Path) -> None:
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    notebook = nbformat.read(path, as_version=4)
    # in its own folder, as JupyterLab starts it
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    said = [out for cell in notebook.cells for out in cell.get("outputs", ()) if out.get("name") == "stderr"]
    assert not said, said[0].text
    shown = [out.data for cell in notebook.cells for out in cell.get("outputs", ()) if "data" in out]
    assert any("image/png" in data for data in shown)
    assert not any(str(data.get("text/plain", "")).startswith("<Figure") and "image/png" not in data for data in shown)
    RENDERED.mkdir(parents=True, exist_ok=True)
    page, _ = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(notebook)
    (RENDERED / f"{path.stem}.html").write_text(page, encoding="utf-8")
