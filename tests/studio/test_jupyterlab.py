"""In JupyterLab: the studio in its frame, and sliders under a picture."""

from __future__ import annotations

import subprocess
import sys

import pytest
from browser import HOST, free_port, new_page, wait_for

SOURCES = [
    "from tps_lab import viz\nviz.studio('C')",
    "viz.sliders(lambda frames: viz.coverage(['tps'], (frames, 2, 2), 3), frames=(8, 12))",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    import nbformat  # takes seconds, and most who collect this file do not run it
    from nbformat.v4 import new_code_cell, new_notebook

    folder = tmp_path_factory.mktemp("lab")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=[new_code_cell(s) for s in SOURCES], metadata=kernel), folder / "studio.ipynb")
    port, settings = free_port(), tmp_path_factory.mktemp("settings")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}",
        "--IdentityProvider.token=", "--ServerApp.allow_root=True", f"--ServerApp.root_dir={folder}",
        f"--LabApp.workspaces_dir={settings}", f"--LabApp.user_settings_dir={settings}",
    ]  # fmt: skip
    log = (settings / "log").open("w")
    with log, new_page(1500, 1400) as opened, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://{HOST}:{port}/api", process)
            opened.goto(f"http://{HOST}:{port}/lab/tree/studio.ipynb", timeout=120_000)
            opened.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)
            opened.get_by_text("| Idle").wait_for(timeout=120_000)  # before that nothing would run
            opened.get_by_role("menuitem", name="Run", exact=True).click()
            opened.get_by_text("Run All Cells", exact=True).click()
            opened.frame_locator("iframe[title='Mosaic studio']").locator("body[data-ready]").wait_for(timeout=120_000)
            yield opened
        except Exception:
            opened.screenshot(path=str(settings / "failed.png"))
            raise
        finally:
            process.terminate()


@pytest.mark.notebook
def test_a_student_clicks_and_types_in_jupyterlab(lab):
    studio = lab.frame_locator("iframe[title='Mosaic studio']")
    grid = studio.get_by_role("grid", name="pattern 2")
    grid.get_by_role("gridcell").first.click()
    lab.keyboard.press("ArrowRight")
    lab.keyboard.press("7")  # must reach the cell, and not JupyterLab's own keys
    studio.get_by_role("gridcell", name="row 1, column 2: offset 7, 7 frames back").wait_for()
    assert studio.locator("#text-b").input_value() == "-3 7 2 / -1 0 3 / -2 -3 4"
    studio.locator("#text-b").fill("0 1 / -1 2")
    assert ": B" in studio.locator("#name-b").inner_text()
    assert lab.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0


@pytest.mark.notebook
def test_a_slider_shows_another_picture(lab):
    picture = lab.locator(".tps-sliders img:visible")
    assert picture.get_attribute("alt") == "frames 8"
    lab.locator(".tps-sliders input").focus()
    lab.keyboard.press("ArrowRight")
    assert picture.get_attribute("alt") == "frames 12"
    assert lab.locator(".tps-sliders output").inner_text() == "12"
