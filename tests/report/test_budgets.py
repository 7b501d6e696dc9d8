"""What tuning found, on the page: the choices, the curves, and whether more trials change who is ahead."""

from __future__ import annotations

import json
from pathlib import Path

from made_up import MadeUp, made_up, study

from tps_lab.report import build, cards
from tps_lab.report.budgets import Budgets, ahead, largest, names_of_data, tuned
from tps_lab.report.comparisons import Ranking, compared
from tps_lab.results.groups import group_runs

JOINT = ("joint", "Joint", "joint", "", 93.2, 35.4, 187, 52, 34.2)
SPATIAL = ("spatial", "Spatial", "spatial", "", 49.0, 28.1, 124, 31, 20.4)


def trials(case: tuple, accuracies: list[float | None], steps: int = 300) -> list[MadeUp]:
    return [
        made_up(
            *case, seed=1000, case=case[2], steps=steps, tuned={"recipe.lr": 10 ** -(4 - i)}, val_top1_pct=accuracy,
            status="failed" if accuracy is None else "done",
        )
        for i, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def test_the_leader_after_one_trial_may_be_another_after_three() -> None:
    # joint needs its learning rate, spatial forgives a wrong one
    found = tuned([*trials(JOINT, [10, 90, 10]), *trials(SPATIAL, [60, 70, 60])])
    assert [one.chosen for one in found] == ["learning rate 0.001"] * 2
    said = Budgets(tuned=tuple(found)).trials_said
    assert said.startswith("After 300 steps spatial leads after 1 and 2 trials; joint after 3.")
    assert "rank nobody for certain" in said
    one, _, all_of_them = Budgets(tuned=tuple(found)).after_trials
    assert [(case, round(best.mean, 1)) for case, best in one.order] == [("spatial", 63.3), ("joint", 36.7)]
    assert [(case, best.mean) for case, best in all_of_them.order] == [("joint", 90), ("spatial", 70)]


def test_where_the_order_stays_the_page_says_so() -> None:
    found = tuned([*trials(JOINT, [80, 90, 10]), *trials(SPATIAL, [40, 50, 5])])
    assert Budgets(tuned=tuple(found)).trials_said.startswith(
        "After 300 steps joint leads after any number of trials, and the"
    )
    assert Budgets(tuned=tuple(tuned(trials(JOINT, [80, 90])))).trials_said == ""  # nobody to lead


def test_many_trials_tell_apart_what_differs_by_much() -> None:
    found = tuned([*trials(JOINT, [95 + i / 9 for i in range(9)]), *trials(SPATIAL, [5 + i / 9 for i in range(9)])])
    assert any(entry.apart for entry in Budgets(tuned=tuple(found)).after_trials)
    assert "nobody" not in Budgets(tuned=tuple(found)).trials_said


def test_accuracies_on_several_data_sets_are_no_order(tmp_path: Path) -> None:
    easy, hard = "direction(step=4)", "direction(step=1)"

    def on(data: str, name: str, of: tuple, steps: int, top1: float, **row) -> MadeUp:
        case, axes = f"{name}, {of[2]}", {"data": name, "attention": of[0]}
        return made_up(*of[:4], top1, *of[5:], case=case, varied=axes, data=data, steps=steps, **row)

    scores = {
        (easy, "far", JOINT): 99,
        (easy, "far", SPATIAL): 90,
        (hard, "near", JOINT): 60,
        (hard, "near", SPATIAL): 50,
    }
    runs = [
        on(*key, steps, top1 - 30 * (steps == 150), seed=seed)
        for key, top1 in scores.items() for steps in (150, 300) for seed in range(3)
    ]  # fmt: skip
    tried = [
        on(*key, 300, top1, seed=1000, val_top1_pct=top1 - i, tuned={"recipe.lr": 10**-i})
        for key, top1 in scores.items() for i in (1, 2)
    ]  # fmt: skip
    called = names_of_data(runs)
    found = Budgets(tuple(ahead(runs, called)), tuple(tuned(tried, called)))
    assert [(one.data, one.steps, len(one.order)) for one in found.ahead] == [
        ("near", 150, 2), ("near", 300, 2), ("far", 150, 2), ("far", 300, 2),
    ]  # fmt: skip
    assert found.depends == ""
    assert found.of("near").depends.startswith("Near, joint is ahead")
    assert "near: after 300 steps joint leads after any number of trials" in found.trials_said
    build([run for run in runs if run.row["steps"] == 300], tmp_path, budgets=found)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "| near | 300 | 2 | joint 59.0 (" in text
    assert "| near | 150 | near, joint |" in text
    assert json.loads((tmp_path / cards.FILE).read_text())["basis"] == "tuned, after 150 and 300 steps"


def test_nobody_is_ahead_where_nothing_has_been_learnt(tmp_path: Path) -> None:
    def said(joint: tuple[float, ...], spatial: tuple[float, ...]) -> tuple[Budgets, str]:
        """Accuracies after 100, 200, … steps, and what becomes of an answer about the best."""
        made = [
            made_up(*of[:4], top1, *of[5:], case=of[2], steps=100 * k, seed=seed)
            for of, tops in ((JOINT, joint), (SPATIAL, spatial))
            for k, top1 in enumerate(tops, 1) for seed in range(3)
        ]  # fmt: skip
        found = Budgets(tuple(ahead(made)))
        return found, found.briefly(compared(Ranking(group_runs(largest(made)))))

    chance = 100 / 12
    never, briefly = said((chance, chance), (chance, chance))
    assert never.depends == "After each of 100 and 200 steps nobody is above chance."
    assert briefly == ""
    late, briefly = said((chance, 60, 90), (chance, 30, 50))
    assert late.depends == (
        "Joint is ahead, or not told apart from who is, after each of 200 and 300 steps; "
        "after 100 steps nobody is above chance."
    )
    assert briefly == "verdicts depend on the budget"
    turned, briefly = said((chance, 30, 90), (chance, 60, 50))
    assert turned.depends == (
        "Who is ahead depends on the budget: nobody after 100 steps, spatial after 200 steps and joint after 300 steps."
    )
    assert briefly == "the order depends on the budget"
    assert said((90, 91), (60, 60))[1] == "so at every budget"
    build(study(), tmp_path, budgets=late)
    assert "| 100 | nobody is above chance |" in (tmp_path / "report.md").read_text("utf-8")
    assert '<td>100</td><td class="text long">nobody is above chance</td>' in (tmp_path / "index.html").read_text(
        "utf-8"
    )


def test_the_page_shows_choices_curves_and_failures(tmp_path: Path) -> None:
    found = tuned([*trials(JOINT, [80, None, 90]), *trials(SPATIAL, [40, 50, 5])])
    page = build(study(), tmp_path, budgets=Budgets(tuned=tuple(found)))
    for text in (page.read_text("utf-8"), (tmp_path / "report.md").read_text("utf-8")):
        assert "How the order changes with tuning" in text
        assert "failed" in text
        assert "learning rate at the end of the list" in text
        assert "leads after any number of trials" in text
    assert (tmp_path / "figures" / "tuning.png").is_file()
    assert (tmp_path / "figures" / "trials.png").is_file()
