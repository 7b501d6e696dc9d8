"""README and docs: short enough, every link leads somewhere, and the README's Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURES = ("mosaic.gif", "variants.png", "pareto.png", "studio.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http:", "https:", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_readme_is_short_and_begins_with_the_commands_and_a_picture():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 700
    first_screen = text[:1500]
    for part in ("make quickstart", "make test", "docs/studio.html", "mosaic.gif"):
        assert part in first_screen
    for picture in PICTURES:
        assert f"docs/pictures/{picture}" in text
        assert (ROOT / "docs/pictures" / picture).stat().st_size < 2**20


def test_the_readme_s_python_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(code, found)
    assert found["logits"].shape == (1, 174)
    assert found["tps_lab"].ShiftPattern.parse("0 1 / -1 2").reach(layers=4) == 12
