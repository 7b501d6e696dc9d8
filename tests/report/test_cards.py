"""What an overview takes of a page: from what a report writes today, and from pages of earlier days."""

from __future__ import annotations

import base64
from pathlib import Path

from made_up import study

from tps_lab.report import build
from tps_lab.report import overview_cards as cards
from tps_lab.report.grids import Overview, OverviewLine
from tps_lab.report.render import render

EARLIER = """# Depth or reach?

Can a deeper network do what reach does?

**pattern=C, depth=8 has the highest test accuracy, 71.9 %.**

24 px, vit\\_micro, 300 steps, batch 24, opposites.

| Against A | Difference | Verdict |
|:---|---:|:---|
| C | +3.0 | better |
| D | +0.5 | open: about 14 more seeds would settle it |

![Differences](figures/differences-1.png)

## Patterns
"""


def test_a_page_of_today_says_title_question_answer_and_how_sure(tmp_path: Path) -> None:
    build(study(5), tmp_path, title="Which _one_?", question="Which is it?")
    card = cards.read(tmp_path)
    assert card is not None
    assert (card.title, card.question) == ("Which _one_?", "Which is it?")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert f"**{card.answers['']}**" in text.replace("\\", "")
    verdicts = [line.rstrip(" |").rpartition("| ")[2] for line in text.splitlines() if line.startswith("|")]
    settled = sum(verdict in ("better", "worse") for verdict in verdicts)
    assert card.sure == f"{settled} of 7 comparisons settled"
    assert card.basis == "not tuned, after 2,000 steps"
    assert (card.done, card.other) == (40, 0)
    assert card.picture.parent == tmp_path / "figures"
    assert base64.b64decode(card.embedded) == card.picture.read_bytes()


def test_a_page_of_earlier_days_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text(EARLIER)
    card = cards.read(tmp_path)
    assert card is not None
    assert card.answers == {"": "pattern=C, depth=8 has the highest test accuracy, 71.9 %."}
    assert (card.sure, card.basis) == ("1 of 2 comparisons settled", "not tuned, after 300 steps")
    assert card.picture is None  # it is not there
    assert cards.read(tmp_path / "nowhere") is None


def test_the_overview_is_one_file_with_a_card_for_each(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text(EARLIER.replace("Depth", "<b>Depth"))
    card = cards.read(tmp_path)
    lines = [
        OverviewLine("depth", "<b>Depth?", "Why?", card.answers, "", 10, 0, 0, card),
        OverviewLine("hard", "How hard?", "How?", {}, "", 0, 0, 4),
    ]
    page = render("overview.html.j2", {"overview": Overview(tmp_path, "small", lines), "command": ""})
    assert page.count("<li>") == 2
    assert "&lt;b&gt;Depth?" in page
    assert "<b>Depth" not in page
    assert "1 of 2 comparisons settled" in page
    assert "Not run yet" in page
    assert 'href="./depth/index.html"' in page
    assert 'href="./hard' not in page
