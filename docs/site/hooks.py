"""What mkdocs cannot know by itself: pages that are made from the code, and links that lead into the repository.

The pages of docs/ link to each other and to files beside them as they lie in the repository, so that they can be read
there, too. In the site a link to a page leads to that page, a link to any other file to a copy of it.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import books
import commands
import gallery
import results
from made import Made
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
log = logging.getLogger("mkdocs.hooks.site")

# folders, and pages that stand elsewhere in the site
_PLACES = {
    "README.md": "README.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "security.md",
    "docs": "README.md",
    "notebooks": "notebooks/index.md",
    "reports": "results/index.md",
    "reports/README.md": "results/state.md",
    "reports/ablations": "results/index.md",
    "reports/ablations/README.md": "results/ablations.md",
    "ablations": "how/grid.md",
    "tps_lab/attention": "gallery/index.md",
    "tps_lab/cli": "reference/commands.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FILE_OF_CODE = re.compile(r"^(```\w+) file=(\S+)$", re.MULTILINE)  # as CONTRIBUTING.md names the file that a block is
_made: Made


def on_config(config: Any) -> Any:
    global _made
    _made = Made(ROOT)
    for page in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        _made.page(_PLACES[page], _FILE_OF_CODE.sub(r'\1 title="\2"', text), page)
    for maker in (gallery, books, results, commands):
        maker.make(_made)
    config.nav = list(_expanded(config.nav))
    return config


def _expanded(nav: list[Any]) -> Iterator[Any]:
    """An entry "gallery/*" is replaced by the pages made in that folder."""
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            yield from (uri for uri in _made.listed if uri.startswith(entry[:-1]))
        elif isinstance(entry, dict):
            yield {
                name: list(_expanded(inside)) if isinstance(inside, list) else inside for name, inside in entry.items()
            }
        else:
            yield entry


def on_files(files: Files, config: Any) -> Files:
    for uri, content in _made.files.items():
        files.append(File.generated(config, uri, content=content))
    for page in [*files.documentation_pages()]:
        for target in _targets(page):
            copy = _place(target)
            if copy and copy.startswith("files/") and files.get_file_from_path(copy) is None:
                files.append(File.generated(config, copy, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    here, origin = page.file.src_uri, _origin(page.file)

    def relinked(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        path = _in_repository(target, origin)
        place = path and _place(path)
        if place is None:
            return found[0]
        return f"{before}{posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor or ''}{after}"

    return "".join(part if part.startswith("```") else _LINK.sub(relinked, part) for part in _fences(markdown)).replace(
        "<details>", '<details markdown="1">'
    )


def on_post_page(output: str, page: Any, **_: Any) -> str:
    for mark, html in _made.later.get(page.file.src_uri, {}).items():
        output = output.replace(mark, html)
    return output


# ---------------------------------------------------------------------- links


def _fences(markdown: str) -> list[str]:
    """The text in parts; those that begin with ``` are code."""
    return re.split(r"(^```.*?^```[ ]*$)", markdown, flags=re.DOTALL | re.MULTILINE)


def _origin(file: Any) -> str:
    return _made.origins.get(file.src_uri, f"docs/{file.src_uri}")


def _targets(file: Any) -> Iterator[str]:
    for part in _fences(file.content_string):
        if not part.startswith("```"):
            for found in _LINK.finditer(part):
                path = _in_repository(found[2], _origin(file))
                if path:
                    yield path


def _in_repository(target: str, origin: str) -> str | None:
    """The path, seen from the root, of a file that a page links to; None where it leads elsewhere or is made."""
    if re.match(r"[a-z]+:", target):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    return path if (ROOT / path).exists() else None


def _place(path: str) -> str | None:
    """Where a path of the repository stands in the site."""
    if path in _PLACES:
        return _PLACES[path]
    if path in _made.stands:
        return _made.stands[path]
    if path.startswith("docs/") and not path.endswith(".py"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        log.warning("a link leads to the folder %s, which has no page", path)
        return None
    readable = path.endswith((".png", ".html", ".svg", ".csv", ".json"))
    return f"files/{path}" if readable else f"files/{path}.txt"  # a browser shows text, and would save the rest
