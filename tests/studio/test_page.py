"""The studio in a browser, as somebody uses it who knows no Jupyter."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest
from browser import new_page, wait_for

from tps_lab.errors import InputError
from tps_lab.studio.page import HOST, free_port, server

SAID = "[...document.querySelectorAll('[role=alert]')].some(e => e.textContent.includes(LINE))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("voila", reason="the extra [studio] is not installed")
    port = free_port(None)
    command = server(tmp_path_factory.mktemp("studio"), "C", port, browser=False)
    log = (tmp_path_factory.mktemp("log") / "log").open("w")
    with log, new_page() as opened, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://{HOST}:{port}/voila/static/", process)
            opened.goto(f"http://{HOST}:{port}/", timeout=120_000)
            opened.get_by_role("gridcell").first.wait_for(timeout=120_000)
            yield opened
        finally:
            process.terminate()


def cells(page):
    return [cell.inner_text().replace("−", "-") for cell in page.get_by_role("gridcell").all()]


def wait(page, test):
    page.wait_for_function(test, timeout=20_000)


def test_a_student_changes_a_pattern(page):
    assert cells(page) == ["-4", "+1", "+2", "-1", "0", "+3", "-2", "-3", "+4"]
    page.get_by_role("gridcell").first.click()
    wait(page, "document.querySelector('.tps-studio .cell').textContent.includes('3')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("7")
    page.get_by_role("gridcell", name=re.compile("column 2: offset 7, 7 frames back")).first.wait_for()
    assert cells(page)[:2] == ["-3", "+7"]
    assert page.get_by_label("As text", exact=True).input_value().startswith("-3 7 2 /")
    # every control has a name that a screen reader can say
    named = "[...document.querySelectorAll('.tps-studio :is(input, select, button, textarea)')]"
    assert page.evaluate(
        f"{named}.every(e => e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())"
    )

    tile = page.get_by_label("As text", exact=True)
    tile.fill("0 1 / banana")
    tile.press("Enter")
    wait(page, SAID.replace("LINE", "\"'banana' is not an integer\""))
    assert "Traceback" not in page.content()
    tile.fill("0 1 / -1 0")
    tile.press("Enter")
    page.get_by_text("This is the pattern A.").wait_for()
    assert page.get_by_label("Begin with").input_value() == "A"

    page.get_by_label("Patches down").fill("99")
    wait(page, SAID.replace("LINE", "'from 1 to 32'"))
    page.get_by_label("Patches down").fill("7")
    wait(page, "![...document.querySelectorAll('[role=alert]')].some(e => e.textContent)")
    page.get_by_role("button", name="Copy YAML").click()
    assert page.locator(".tps-studio textarea").input_value() == 'attention: ["tps(pattern=A)"]'


def test_others_cannot_reach_it(tmp_path):
    command = server(tmp_path, "C", None, browser=False)
    assert f"--Voila.ip={HOST}" in command
    assert HOST == "127.0.0.1"


def test_a_bad_pattern_or_port_is_one_line(tmp_path):
    with pytest.raises(InputError, match="unknown pattern 'Q'"):
        server(tmp_path, "Q", None, browser=False)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        with pytest.raises(InputError, match="is taken"):
            free_port(taken.getsockname()[1])
    command = [sys.executable, "-c", "from tps_lab.cli import main; main()", "studio", "Q"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
