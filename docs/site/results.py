"""The results: a card for every report, and the report itself as a page."""

from __future__ import annotations

from pathlib import Path

from made import Made

from tps_lab.report import cards

_HEAD = """---
hide: [toc]
---

# Results

[All of it in five sentences](state.md), with what does not hold, or not as it was said. Every card below is a page of
`reports/`: its question, and its answer as the page gives it.
"""


def make(made: Made) -> None:
    reports = sorted((made.root / "reports").rglob("report.md"), key=lambda path: (_group(path), str(path)))
    lines: list[str] = [_HEAD]
    for group in ("Questions", "Costs and measuring"):
        of_group = [path for path in reports if _group(path) == group]
        lines += ["", f"## {group}", "", '<div class="cards" markdown>', ""]
        for path in of_group:
            lines += [*_card(made, path), ""]
        lines += ["</div>", ""]
    made.page("results/index.md", "\n".join(lines))
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
    card = cards.read(path.parent)
    assert card is not None
    place = _place(path, made).removeprefix("results/")
    lines = ['<div class="card" markdown>', "", f"### [{card.title}]({place})", ""]
    for data, said in card.answers.items():
        lines += [f"*{data}*: {said}" if data else said, ""]
    if card.sure:
        lines += [f"{card.sure}; {card.basis}", ""]
    if card.image:
        origin = path.parent.relative_to(made.root / "reports") / card.picture
        shown = f"results/pictures/{origin.as_posix().replace('/', '_')}"
        made.files[shown] = card.image
        lines += [f"![]({shown.removeprefix('results/')})", ""]
    return [*lines, "</div>"]
