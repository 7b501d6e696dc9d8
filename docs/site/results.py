"""The results: a card for every report, and the report itself as a page."""

from __future__ import annotations

import re
from pathlib import Path

from made import Made

from tps_lab.report.overview_cards import cut_short, first_picture

_HEAD = """---
hide: [toc]
---

# Results

Every card is a page of `reports/`: its question, and its answer as the page gives it. Read
[what does not hold, or not as it was said](state.md) beside it.
"""


def make(made: Made) -> None:
    reports = sorted((made.root / "reports").rglob("report.md"), key=lambda path: (_group(path), str(path)))
    cards: list[str] = [_HEAD]
    for group in ("Questions", "Costs and measuring"):
        of_group = [path for path in reports if _group(path) == group]
        cards += ["", f"## {group}", "", '<div class="cards" markdown>', ""]
        for path in of_group:
            cards += [*_card(made, path), ""]
        cards += ["</div>", ""]
    made.page("results/index.md", "\n".join(cards))
    for source, place in (
        ("reports/README.md", "results/state.md"),
        ("reports/ablations/README.md", "results/ablations.md"),
    ):
        made.page(place, (made.root / source).read_text(encoding="utf-8"), source)
    for path in reports:
        origin = path.relative_to(made.root).as_posix()
        place = _place(path, made)
        made.page(place, path.read_text(encoding="utf-8"), origin)
        made.listed.remove(place)  # found by its card


def _group(path: Path) -> str:
    return "Questions" if {"ablations", "opposites"} & set(path.parts) else "Costs and measuring"


def _place(path: Path, made: Made) -> str:
    return f"results/{path.parent.relative_to(made.root / 'reports').as_posix().replace('/', '_')}.md"


def _card(made: Made, path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    place = _place(path, made).removeprefix("results/")
    lines = ['<div class="card" markdown>', "", f"### [{title[1] if title else path.parent.name}]({place})", ""]
    bold = re.search(r"^\*\*(.+?)\*\*$", text, re.MULTILINE)
    first = re.search(r"^(?![#!|<`\s*-])(.+?)(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    said = bold or first
    if said:
        lines += [cut_short(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(said[1].split())), 420), ""]
    picture = first_picture(text, path.parent)
    if picture is not None:
        shown = f"results/pictures/{picture.relative_to(made.root / 'reports').as_posix().replace('/', '_')}"
        made.files[shown] = picture.read_bytes()
        lines += [f"![]({shown.removeprefix('results/')})", ""]
    return [*lines, "</div>"]
