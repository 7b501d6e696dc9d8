"""README and docs: short enough, links lead somewhere, code runs, commands exist; and the site that is made of them."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SITE = ROOT / "build/site"
PICTURES = ("mosaic.gif", "variants.png", "pareto.png", "studio.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http:", "https:", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


REPORTS = [page for page in sorted((ROOT / "reports").rglob("*.md")) if page.name != "template.md"]


@pytest.mark.parametrize("page", [*PAGES, *REPORTS], ids=lambda page: str(page.relative_to(ROOT)))
def test_rows_of_a_table_have_as_many_cells_as_its_head(page):
    cells = 0
    for line in page.read_text().splitlines():
        here = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert here in (0, cells) or not cells, line
        cells = here


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


# ---------------------------------------------------------------------- what pages say can be done


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text()], ids=name)
def test_what_a_page_shows_comes_out(page):
    found = doctest.testfile(
        str(page), module_relative=False, encoding="utf-8", optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert found.attempted
    assert found.failed == 0


@pytest.mark.parametrize("page", [page for page in PAGES if "```sh" in page.read_text()], ids=name)
def test_the_commands_of_a_page_exist_with_their_options(page):
    import typer

    from tps_lab.cli import app

    program = typer.main.get_command(app)
    for block in re.findall(r"```sh[^\n]*\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] != "tps-lab":
                continue
            words = words[1:]
            while words[0] == "--plugin":
                words = words[2:]
            command = program.commands[words[0]]
            if hasattr(command, "commands"):
                command = command.commands[words[1]]
            known = {opt for p in command.params for opt in [*p.opts, *p.secondary_opts]} | {"--help"}
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, line


def test_concepts_are_a_page_and_a_picture_each():
    pages = sorted((ROOT / "docs/concepts").glob("*.md"))
    assert len(pages) == 6
    for page in pages:
        text = page.read_text()
        assert 200 <= len(re.sub(r"```.*?```", "", text, flags=re.DOTALL).split()) <= 420, page.name
        assert re.search(r"!\[[^\]]+\]\(\.\./pictures/", text), page.name


WORDS = """frame tubelet patch grid clip crop view offset tile pattern border reach receptive-field coverage
attention-variant spatial joint divided backbone block stage window run cell grid-file ablation case axis seed budget
metric MACs peak-memory latency throughput""".split()


@pytest.mark.parametrize("word", WORDS)
def test_the_glossary_says_what_a_word_means_once(word):
    bold = re.findall(r"\*\*([^*]+)\*\*:", (ROOT / "docs/glossary.md").read_text())
    assert [entry.partition(" (")[0] for entry in bold].count(word.replace("-", " ")) == 1


# ---------------------------------------------------------------------- the site (make docs)


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").is_file():
        pytest.fail("build/site is not there: make docs")
    return {page: page.read_text(encoding="utf-8") for page in SITE.rglob("*.html") if "files" not in page.parts}


@pytest.mark.site
def test_every_link_and_picture_of_the_site_is_in_it(site):
    wrong = []
    for page, text in site.items():
        if page.name in ("404.html", "studio.html"):
            continue
        for target in re.findall(r"""<(?:a|link|img|script|iframe)\b[^>]*?\s(?:href|src)="([^"]*)\"""", text):
            path = unquote(target.partition("#")[0].partition("?")[0])
            elsewhere = path.startswith(("http:", "https:", "data:", "mailto:", "javascript:"))
            if path and not elsewhere and not (page.parent / path).exists():
                wrong.append((str(page.relative_to(SITE)), target))
    assert wrong == []


@pytest.mark.site
def test_no_block_of_code_is_shown_as_prose(site):
    assert [page for page, text in site.items() if "<p>```" in text] == []
    assert "<blockquote>" not in site[SITE / "reference/api.html"]  # a ">>>" of a docstring
    commands = site[SITE / "reference/commands.html"]
    assert len(re.findall(r"<p>Examples?:</p>\s*<div", commands)) == commands.count("<p>Example") > 10
    assert "<code></code>" not in commands


@pytest.mark.site
def test_the_site_fetches_nothing(site):
    for page, text in site.items():
        fetched = re.findall(r"""<(?:link|img|script|iframe)\b[^>]*?\s(?:href|src)="(https?:)?//[^"]*\"""", text)
        assert not fetched, page
        assert "fonts.googleapis" not in text
        assert "unpkg.com" not in text


@pytest.mark.site
def test_the_gallery_holds_all_variants_and_patterns(site):
    from tps_lab.attention import variants
    from tps_lab.patterns import gallery

    for variant in variants().values():
        page = site[SITE / f"gallery/{variant.name.replace('+', '-')}.html"]
        assert variant.title in page
        assert (SITE / f"gallery/{variant.name.replace('+', '-')}.png").stat().st_size > 1000
        assert "multiply-adds" in page
    for pattern in gallery:
        assert (SITE / f"gallery/pattern_{pattern}.png").is_file()


@pytest.mark.site
def test_it_is_read_searched_and_found_whole_without_a_network(site):
    """As a person does who got the folder: from disk, offline, in a narrow window, too."""
    from studio.browser import new_page

    with new_page(420, 900, online=False) as page:
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        for file in (
            "index.html",
            "concepts/problem.html",
            "gallery/index.html",
            "results/index.html",
            "teach/sheet.html",
        ):
            page.goto((SITE / file).as_uri())
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= 420, file
            assert page.evaluate("[...document.images].every(one => one.loading === 'lazy' || one.naturalWidth > 0)"), (
                file
            )
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto((SITE / "index.html").as_uri())
        page.locator(".md-search__input").fill("counterparts")
        page.locator(".md-search-result__link").first.wait_for(timeout=60_000)
        assert wrong == []
