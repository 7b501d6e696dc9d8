"""The studio as a widget in JupyterLab, in both of its themes, and sliders under a picture."""

from __future__ import annotations

import re
import subprocess
import sys

import nbformat
import pytest
from browser import new_page, wait_for
from nbformat.v4 import new_code_cell, new_notebook

from tps_lab.studio.page import HOST, free_port

SOURCES = [
    "from tps_lab import viz\nviz.studio('C')",
    "box = viz.sliders(lambda frames: viz.coverage(['tps'], (frames, 2, 2), 3), frames=(8, 12))",
]
SHADE = "getComputedStyle(document.querySelector('.tps-studio')).backgroundColor"
INK = "getComputedStyle(document.querySelector('.tps-studio')).color"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    pytest.importorskip("anywidget", reason="the extra [studio] is not installed")
    folder = tmp_path_factory.mktemp("lab")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=[new_code_cell(s) for s in SOURCES], metadata=kernel), folder / "studio.ipynb")
    port, settings = free_port(None), tmp_path_factory.mktemp("settings")
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
            opened.get_by_role("gridcell", name="offset").first.wait_for(timeout=120_000)
            yield opened
        except Exception:
            opened.screenshot(path=str(settings / "failed.png"))
            raise
        finally:
            process.terminate()


def contrast(page):
    """Of the studio's text and background, as WCAG 2 counts it: 4.5 is wanted."""

    def light(css):
        parts = [int(part) / 255 for part in re.findall(r"\d+", css)[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(page.evaluate(INK)), light(page.evaluate(SHADE))])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.notebook
def test_a_student_clicks_and_types_in_jupyterlab(lab):
    first = lab.get_by_role("gridcell", name="row 1, column 1: offset")
    first.click()
    lab.get_by_role("gridcell", name="row 1, column 1: offset -3, 3 frames ahead").wait_for()
    lab.keyboard.press("ArrowRight")
    lab.keyboard.press("7")  # must reach the cell, and not JupyterLab's own keys
    lab.get_by_role("gridcell", name="row 1, column 2: offset 7, 7 frames back").wait_for()
    assert lab.get_by_label("As text", exact=True).input_value() == "-3 7 2 / -1 0 3 / -2 -3 4"
    lab.get_by_label("Patches down").fill("7")
    lab.get_by_label("Frames", exact=True).fill("1")
    lab.get_by_text("frames must be a whole number from 2 to 64").wait_for()
    lab.get_by_label("Frames", exact=True).fill("16")
    tile = lab.get_by_label("As text", exact=True)
    tile.fill("0 1 / banana")
    tile.press("Enter")
    lab.get_by_text("'banana' is not an integer").wait_for()
    tile.fill("0 1 / -1 2")
    tile.press("Enter")
    lab.get_by_text("This is the pattern B.").wait_for()
    assert lab.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0


@pytest.mark.notebook
def test_it_can_be_read_in_both_themes(lab):
    light = lab.evaluate(SHADE)
    assert contrast(lab) > 4.5
    lab.get_by_role("menuitem", name="Settings", exact=True).click()
    lab.get_by_text("Theme", exact=True).hover()
    lab.get_by_text("JupyterLab Dark", exact=True).click()
    lab.wait_for_function(f"{SHADE} !== '{light}'", timeout=20_000)
    assert contrast(lab) > 4.5


@pytest.mark.notebook
def test_a_slider_draws_again(lab):
    picture = lab.locator(".jp-OutputArea-output img[src^='data:image/png']").last
    picture.wait_for(timeout=60_000)
    before = picture.get_attribute("src")
    handle = lab.locator(".jp-OutputArea-output .noUi-handle").last
    handle.focus()
    lab.keyboard.press("ArrowRight")
    pictures = "[...document.querySelectorAll(\".jp-OutputArea-output img[src^='data:image/png']\")]"
    lab.wait_for_function(f"before => {pictures}.at(-1).src !== before", arg=before, timeout=30_000)
