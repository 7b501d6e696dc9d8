"""A page in short: what is written beside it, read back, and what an overview makes of it."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import made_up, study

from tps_lab import files
from tps_lab.report import build, cards
from tps_lab.report.budgets import whole
from tps_lab.report.cards import Card
from tps_lab.report.grids import Overview, OverviewLine
from tps_lab.report.render import render

STUDY = """# A [*study*](x.md) of its own

Not an answer of ours \\- a paragraph.

![Differences](figures/first.png)
"""


def test_a_page_says_title_question_answer_and_how_sure(tmp_path: Path) -> None:
    build(study(5), tmp_path, title="Which _one_?", question="Which is it?")
    card = cards.read(tmp_path)
    assert card is not None
    assert (card.title, card.question) == ("Which _one_?", "Which is it?")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert f"**{card.answers['']}**" in text.replace("\\", "")
    verdicts = [line.rstrip(" |").rpartition("| ")[2] for line in text.splitlines() if line.startswith("|")]
    settled = sum(verdict in ("better", "worse") for verdict in verdicts)
    assert card.sure == f"{settled} of 7 comparisons settled"
    assert (card.basis, card.tuned) == ("not tuned, after 2,000 steps", False)
    assert (card.done, card.failed, card.missing, card.variants) == (40, 0, 0, 8)
    assert card.count == "40 of 40 cells"
    assert base64.b64decode(card.embedded) == (tmp_path / card.picture).read_bytes()


def test_a_study_that_writes_its_page_itself_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text(STUDY)
    card = cards.read(tmp_path)
    assert card is not None
    assert card.title == "A *study* of its own"
    assert card.answers == {"": "Not an answer of ours - a paragraph."}
    assert card.picture == ""  # it is not there
    assert cards.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", ["{}", "[1]", '{"summary": 1, "title": "x", "answers": 3}', '{"summary": 1}', "{"])
def test_what_is_no_summary_is_said_to_be_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / cards.FILE).write_text(content)
    with pytest.raises(files.Damaged, match="summary"):
        cards.read(tmp_path)


def test_a_picture_is_taken_from_the_pages_own_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    for picture in ("../secret.png", str(tmp_path / "secret.png"), "page.txt", ""):
        Card("x", picture=picture).write(files.folder(tmp_path / "page"))
        assert cards.read(tmp_path / "page").image == b""


def test_a_page_gives_way_to_one_with_as_many_cells_and_variants() -> None:
    full = Card("x", done=30, variants=6)
    assert full.richer(replace(full, done=29))
    assert full.richer(Card("x", done=40, variants=2))
    assert not full.richer(full)


def test_the_overview_is_one_file_with_a_card_for_each(tmp_path: Path) -> None:
    answers = {"": "<b>Depth helps."}
    card = Card("<b>Depth?", answers=answers, sure="1 of 2 comparisons settled", done=10, folder=tmp_path)
    not_run = OverviewLine("hard", "How hard?", "How?", Card("How hard?", missing=4))
    lines = [OverviewLine("depth", "<b>Depth?", "Why?", card), not_run]
    content = {"overview": Overview(tmp_path, "small", lines), "command": ""}
    page = render("overview.html.j2", content)
    assert page.count("<li>") == 2
    assert "&lt;b&gt;Depth?" in page
    assert "&lt;b&gt;Depth helps." in page
    assert "<b>Depth" not in page
    assert "1 of 2 comparisons settled" in page
    assert "10 of 10 cells" in page
    assert "Not run yet" in page
    assert 'href="./depth/index.html"' in page
    assert 'href="./hard' not in page
    assert "4 cells to run" in render("overview.md.j2", content)


def test_a_budget_that_is_still_to_be_finished_is_left_out_and_said() -> None:
    def cell(case: str, seed: int, steps: int, status: str = "done") -> object:
        return made_up(case, case, case, "", 90.0, 1.0, 1, 1, 1.0, seed=seed, case=case, steps=steps, status=status)

    first = [cell(case, seed, 150) for case in ("spatial", "joint") for seed in range(3)]
    second = [cell("spatial", seed, 300) for seed in range(3)]
    second += [cell("joint", seed, 300, "missing") for seed in range(3)]
    assert whole([*first, *second]) == (first, ("3 of 6 runs of 300 steps have finished so far",))
    failed = [cell(case, seed, 300, "failed") for case in ("spatial", "joint") for seed in range(3)]
    assert whole([*first, *failed]) == ([*first, *failed], ())
    # where none is finished, the one that is nearest to it stays
    begun = [cell("spatial", 0, 150), cell("spatial", 1, 150, "missing"), cell("spatial", 0, 300, "missing")]
    assert whole(begun) == (begun[:2], ("none of 1 runs of 300 steps have finished so far",))
    # a task that takes longer by itself is no budget
    alone = [cell("spatial", 0, 150), cell("joint", 0, 300, "missing")]
    assert whole(alone) == (alone, ())
