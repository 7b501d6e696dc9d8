"""Paired comparisons in reports, effects of axes, LaTeX, and two result sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from here import here
from made_up import VARIANTS, MadeUp, made_up

from tps_lab import report, viz
from tps_lab.errors import InputError
from tps_lab.report.answer import answer as answer_of
from tps_lab.report.budgets import Budgets, ahead, largest
from tps_lab.report.comparisons import Comparisons, Ranking, compared
from tps_lab.report.tables import escaped, latex_table
from tps_lab.report.versus import answer, versus, write
from tps_lab.results import runs
from tps_lab.results.axes import axis_to_draw, lines, spoken_data
from tps_lab.results.groups import group_runs
from tps_lab.results.paired import along, effects, paired

N = 240
LABELS = np.arange(N) % 12
STUDIED = (("spatial", "Spatial", 0.5), ("joint", "Joint", 0.9), ("axial", "Axial", 0.52))


def run(attention: str, label: str, accuracy: float, seed: int, **changes: object) -> MadeUp:
    """A made-up run whose answers to single clips are right in `accuracy` of them, by luck of seed and label."""
    made = made_up(attention, label, attention.split("(")[0], "", 100 * accuracy, 28.1, 131, 32, 22.0, seed=seed)
    rng = np.random.default_rng([seed, *attention.encode()])
    predicted = np.where(rng.random(N) < accuracy, LABELS, (LABELS + 1) % 12)
    made.row |= {"top1_pct": 100 * float((predicted == LABELS).mean()), "test_clips": N, "twins": 2} | {
        "temporal_position": False,
        **changes,
    }
    made.predictions = (predicted, LABELS)  # type: ignore[attr-defined]
    return made


def study() -> list[MadeUp]:
    return [run(attention, label, accuracy, seed) for attention, label, accuracy in STUDIED for seed in range(5)]


def test_what_differs_is_settled_and_what_does_not_stays_open() -> None:
    pairs = {pair.group.label: pair for pair in paired(group_runs(study()))}
    assert pairs["Joint"].verdict == "better"
    assert pairs["Axial"].verdict.startswith("open")
    assert {pair.against.label for pair in pairs.values()} == {"Spatial"}
    # the difference is the one of the means on the very clips
    means = {group.label: group.mean("top1_pct") for group in group_runs(study())}
    assert pairs["Joint"].found.difference == pytest.approx(means["Joint"] - means["Spatial"])


def test_only_seeds_that_both_have_are_compared_and_gaps_say_why() -> None:
    every = study()
    every = [made for made in every if not (made.row["variant"] == "joint" and made.row["seed"] > 1)]
    for made in every:
        if made.row["variant"] == "axial":
            del made.predictions  # type: ignore[attr-defined]
    pairs = {pair.group.label: pair for pair in paired(group_runs(every))}
    assert pairs["Joint"].found.seeds == 2
    assert pairs["Axial"].verdict == "answers to single clips were not recorded"


@pytest.mark.parametrize(
    ("joint", "axial", "briefly", "verdicts"),
    [
        ((0.8, 0.9), (0.52, 0.52), "so at every budget", [["better", "better"], ["open", "open"]]),
        ((0.52, 0.9), (0.52, 0.52), "after 100 steps none is settled", [["open", "better"], ["open", "open"]]),
        ((0.9, 0.9), (0.9, 0.52), "verdicts depend on the budget", [["better", "better"], ["better", "open"]]),
        ((0.1, 0.9), (0.52, 0.52), "the order depends on the budget", [["worse", "better"], ["open", "open"]]),
    ],
)
def test_what_the_question_compares_is_told_after_each_number_of_steps(
    tmp_path: Path, joint: tuple[float, float], axial: tuple[float, float], briefly: str, verdicts: list[list[str]]
) -> None:
    accuracies = {"joint": joint, "axial": axial, "spatial": (0.5, 0.5)}
    every = [
        run(name, name.title(), accuracies[name][k], seed, steps=100 * (k + 1), case=name)
        for name in accuracies for k in range(2) for seed in range(5)
    ]  # fmt: skip
    found = Budgets(tuple(ahead(every, baseline="spatial")))
    asked = compared(Ranking(group_runs(largest(every))), "spatial")
    assert found.briefly(asked) == briefly
    told = {name: [pair and pair.verdict for pair in pairs] for name, pairs in found.told(asked)}
    assert [told["joint"], told["axial"]] == verdicts
    page = report.build(largest(every), tmp_path, baseline="spatial", budgets=found)
    for shown in (page.read_text(), (tmp_path / "report.md").read_text()):
        assert f"; {briefly}." in shown
        assert "100 steps" in shown.partition("The same comparisons after each number of steps")[2]


def test_what_was_not_compared_at_a_budget_makes_no_verdict_depend_on_it() -> None:
    def said(*without: tuple[str, int], first: float = 0.9, **changes: float) -> str:
        """What becomes of the answer where these cases failed after so many steps."""
        accuracies = {"joint": 0.9, "axial": 0.9, "spatial": 0.5} | changes
        every = [
            run(name, name.title(), accuracies[name] if steps > 100 else min(first, accuracies[name]), seed,
                steps=steps, case=name, **({"status": "failed"} if (name, steps) in without else {}))
            for name in accuracies for steps in (100, 200) for seed in range(5)
        ]  # fmt: skip
        found = Budgets(tuple(ahead(every, baseline="spatial")))
        return found.briefly(compared(Ranking(group_runs(largest(every))), "spatial"))

    assert said() == "so at every budget"
    assert said(("axial", 100)) == ""  # joint is ahead at both, of axial nothing is known
    assert said(("spatial", 100)) == ""  # nothing was compared
    assert said(("axial", 100), first=0.5) == "after 100 steps none is settled"
    assert said(first=0.05, spatial=0.02) == "after 100 steps none is settled"  # nobody is above chance there


def test_the_first_value_of_an_axis_is_compared_with_also_where_its_first_case_has_not_run() -> None:
    cases = [("A", "circular"), ("A", "zero"), ("A", "edge"), ("C", "circular"), ("C", "zero"), ("C", "edge")]
    every = [
        run(f"tps(pattern={pattern}, border={border})", "", 0.9, seed, case=f"{pattern}, {border}", place=place)
        for place, (pattern, border) in enumerate(cases) for seed in range(3)
    ]  # fmt: skip
    for made in every:
        pattern, border = made.row["case"].split(", ")
        made.row["varied"] = {"attention.pattern": pattern, "attention.border": border}
    whole, part = (along(group_runs(some), "attention.border") for some in (every, every[3:]))
    against = [(pair.group.label, pair.against.label) for pair in part]
    assert against == [("C, zero", "C, circular"), ("C, edge", "C, circular")]
    assert [(pair.group.label, pair.against.label) for pair in whole][2:] == against


def test_a_page_with_question_papers_numbers_and_latex(tmp_path: Path) -> None:
    page = report.build(
        study(), tmp_path, question="Which & why?", baseline="Joint", paper={"axial": {"top1_pct": 51.23}},
        paper_source="a paper", command="tps-lab report",
    )  # fmt: skip
    markup, text = page.read_text(), (tmp_path / "report.md").read_text()
    for shown in (markup, text):
        assert "Against Joint" in shown
        assert "paper: 51.2 %" in shown
        assert "worse" in shown
    assert "Which &amp; why?" in markup
    assert "RUN/config.yaml" in text
    latex = (tmp_path / "results.tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
    assert "51.2" in latex
    rows = [line for line in latex.splitlines() if r"\\ %" in line]
    assert len(rows) == 3
    assert len({line.partition("%")[0].count("&") for line in rows}) == 1
    assert all(made.row["id"] in latex for made in study())


def test_an_unknown_baseline_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'Joint'"):
        report.build(study(), tmp_path, baseline="Jont")


def test_effects_of_a_grid_that_adds_up() -> None:
    """a adds 10 points, b adds 4, nothing comes of both; chance is a tenth of a point."""
    rng = np.random.default_rng(0)
    made = [
        run("joint", "Joint", 0.5, seed, case=f"{a}{b}", varied={"a": a, "b": b},
            top1_pct=50 + 10 * a + 4 * b + rng.normal(0, 0.1))
        for a in (0, 1) for b in (0, 1) for seed in range(4)
    ]  # fmt: skip
    found = {effect.name: effect for effect in effects(group_runs(made))}
    assert set(found) == {"a", "b", "a × b"}
    assert found["a"].levels["1"] - found["a"].levels["0"] == pytest.approx(10, abs=0.2)
    assert found["a"].share == pytest.approx(100 / 116, abs=0.01)
    assert found["a × b"].p > 0.01 > found["b"].p
    assert effects(group_runs(made[:-4])) == []  # a combination is missing


def test_heat_maps_hold_the_figures() -> None:
    ax = viz.confusion(group_runs(study()))
    assert "100" not in [text.get_text() for text in ax.texts]
    ax = viz.accuracy_map(study(), "class")
    assert len(ax.get_yticklabels()) == 3


def test_a_class_without_a_test_clip_is_no_row_of_zeros() -> None:
    every = study()
    for made in every:
        made.row["classes"] = ["a", "b", "never tested", "c"]
        said, right = made.predictions
        made.predictions = said % 2 * 3, right % 2 * 3  # classes 0 and 3, which is never 1 or 2
    ax = viz.confusion(group_runs(every))
    (image,) = ax.images
    assert image.get_array().mask.all(axis=1).tolist() == [False, True, True, False]
    notes = [text for text in ax.texts if text.get_text() == "no test clips"]
    assert [note.get_position()[1] for note in notes] == [1, 2]
    assert not [text for text in ax.texts if text.get_text() == "0" and text.get_position()[1] in (1, 2)]


@pytest.mark.parametrize(("text", "expected"), [("50 % of a_b", r"50 \% of a\_b"), ("a ± b", r"a $\pm$ b")])
def test_latex_prints_text_as_it_is(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_two_result_sets(tmp_path: Path) -> None:
    before, after = study(), study()
    found = versus(before, after)
    assert "alike" in answer(found)
    for made in after:
        if made.row["variant"] == "joint":
            made.predictions = ((LABELS + 1) % 12, LABELS)  # type: ignore[attr-defined]
    found = versus(before, [made for made in after if made.row["variant"] != "axial"])
    assert answer(found).startswith("1 of 2 differ")
    assert found.only_a == ["Axial"]
    write(found, tmp_path)
    assert "1 of 2 differ" in (tmp_path / "index.html").read_text()
    assert "Joint" in (tmp_path / "report.md").read_text()
    with pytest.raises(InputError, match="no configuration in common"):
        versus(before[:5], after[5:10])


def test_compare_from_the_command_line(tmp_path: Path) -> None:
    for made in study()[:4]:
        folder = tmp_path / "a" / made.row["id"]
        folder.mkdir(parents=True)
        (folder / "row.json").write_text(json.dumps(made.row))
        runs.write_predictions(folder, *made.predictions)  # type: ignore[attr-defined]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    done = here("compare", tmp_path / "a", tmp_path / "b", "--json")
    assert json.loads(done.stdout)["compared"][0]["verdict"] == "same answers"


def test_the_answer_to_a_grid_with_a_baseline_names_what_differs_from_it() -> None:
    groups = group_runs(study())
    ranking = Ranking(groups)
    said = answer_of(ranking, compared(ranking, baseline="Spatial"))
    assert said.text == "Joint is more accurate than Spatial; one cannot be told apart."
    assert "Axial" in said.open


def crossed() -> list[MadeUp]:
    """Two mixings with a border each way: the border helps joint attention alone."""
    accuracy = {("spatial", "zero"): 0.5, ("spatial", "edge"): 0.5, ("joint", "zero"): 0.6, ("joint", "edge"): 0.9}
    return [
        run(mixing, mixing, right, seed, case=f"{mixing}, border={border}", place=place,
            varied={"attention": mixing, "attention.border": border})
        for place, ((mixing, border), right) in enumerate(accuracy.items()) for seed in range(4)
    ]  # fmt: skip


def test_a_question_along_an_axis_is_answered_by_cases_that_are_alike_in_all_else(tmp_path: Path) -> None:
    ranking = Ranking(group_runs(crossed()))
    found = compared(ranking, axis="attention.border")
    labels = {(pair.group.label, pair.against.label) for pair in found.pairs}
    assert labels == {(f"{name}, edge border", f"{name}, zero border") for name in ("spatial", "joint")}
    said = answer_of(ranking, found)
    assert said.text == "With an edge border, joint is more accurate than with a zero border; one cannot be told apart."
    assert said.open == "edge border against zero border: spatial."
    report.build(crossed(), tmp_path, compare="attention.border")
    text = (tmp_path / "report.md").read_text()
    assert "| edge border against zero border |" in text
    assert "| joint | +" in text
    assert "what enters at the ends of a clip" in text
    assert "difference to the same with a zero border" in (tmp_path / "results.tex").read_text()


def test_an_axis_that_the_runs_do_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"attention.bordr.*attention.border"):
        report.build(crossed(), tmp_path / "page", compare="attention.bordr")
    with pytest.raises(InputError, match="not of a grid"):
        report.build(study(), tmp_path / "page", compare="frames")
    assert not (tmp_path / "page").exists()


def test_lines_along_an_axis_are_named_by_what_they_have_in_common() -> None:
    groups = group_runs(crossed())
    found = lines(groups, "attention.border")
    assert [(line.name, list(line.at)) for line in found] == [
        ("spatial", ["zero", "edge"]),
        ("joint", ["zero", "edge"]),
    ]
    assert axis_to_draw(groups, "attention.border") == "attention.border"
    assert axis_to_draw(groups) is None  # neither axis is one of numbers


def test_what_a_ranking_says_is_what_its_table_says() -> None:
    """Without a baseline, both rest on the same p values, corrected for all pairs."""
    ranking = Ranking(group_runs(study()))
    table = compared(ranking)
    assert not table.asked
    by_label = {group.label: (group, top1) for group, top1 in ranking.scored}
    for pair in table.pairs:
        high, low = sorted((by_label[pair.group.label], by_label[pair.against.label]), key=lambda s: -s[1].mean)
        assert ranking.apart(high, low) == pair.found.settled
        assert pair.found.difference == pytest.approx(
            by_label[pair.group.label][1].mean - by_label[pair.against.label][1].mean
        )
        assert pair.found.low <= pair.found.difference <= pair.found.high


def test_ranks_are_those_of_paired_answers_not_of_overlapping_bars() -> None:
    """Two variants of which the second is right wherever the first is, and on 12 clips more, with every seed;
    what a seed gets right varies so much that the intervals of the two overlap.
    """
    made = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        right = rng.random(N) < rng.uniform(0.3, 0.9)
        more = right.copy()
        more[rng.permutation(np.flatnonzero(~right))[:12]] = True
        for attention, label, answers in (("spatial", "Spatial", right), ("joint", "Joint", more)):
            one = run(attention, label, 0.5, seed, top1_pct=100 * float(answers.mean()))
            one.predictions = (np.where(answers, LABELS, LABELS + 1), LABELS)  # type: ignore[attr-defined]
            made.append(one)
    groups = group_runs(made)
    first, second = (group.top1 for group in groups)
    assert first is not None
    assert second is not None
    assert first.overlaps(second)
    assert answer_of(Ranking(groups)).text.startswith("Joint is the most accurate")


def test_latex_leaves_out_columns_that_say_nothing() -> None:
    groups = group_runs([made_up(*VARIANTS[i], seed=seed, latency_ms=None) for i in range(2) for seed in range(3)])
    text = latex_table(groups, compared(Ranking(groups)), {})
    head = text.splitlines()[text.splitlines().index(r"\toprule") + 1]
    assert head == r"Variant & Top-1 (\%) & Memory (MiB) \\"
    assert "% Seeds: 3 for all" in text
    assert "% MACs (M): 28.1 for all" in text
    run = made_up(*VARIANTS[0])
    run.row |= {"status": "failed", "top1_pct": None, "macs": None, "peak_memory_bytes": {}, "latency_ms": None}
    groups = group_runs([run])
    assert r"Spatial & 0 \\ %" in latex_table(groups, compared(Ranking(groups)), {})


def all_or_nothing(seeds: int, successes: dict[str, int], variants: int = 8) -> list[MadeUp]:
    """Variants whose first runs succeed (98 %) and whose others do not (50 %); none succeed if not named."""
    return [
        run(f"tps(every={i + 1})", f"v{i}", 0.98 if seed < successes.get(f"v{i}", 0) else 0.5, seed)
        for i in range(variants)
        for seed in range(seeds)
    ]


def test_three_seeds_that_succeed_all_or_nothing_settle_nothing_among_many() -> None:
    # of eight equal variants one has luck three times, the others sometimes
    few = paired(group_runs(all_or_nothing(3, {"v1": 3, "v2": 1, "v3": 2})))
    assert not any(pair.found.settled for pair in few)
    # the same without any variant whose seeds fall into two heaps is a difference of accuracies
    assert paired(group_runs(all_or_nothing(3, {"v1": 3}, 2)))[0].found.settled
    # five of five against none is no luck, even as one of seven
    verdicts = {p.group.label: p.verdict for p in paired(group_runs(all_or_nothing(5, {"v1": 5, "v2": 2})))}
    assert (verdicts["v1"], verdicts["v2"]) == ("better", "open")


def test_a_variant_that_varies_is_no_coin_because_another_succeeds_all_or_nothing() -> None:
    tops = {
        "spatial": (0.99, 0.985, 0.99, 0.985, 0.99),
        "tps": (0.74, 0.8, 0.83, 0.87, 0.91),  # on both sides of the other's gap
        "joint": (0.6, 0.58, 0.61, 0.98, 0.97),
    }
    made = [run(name, name, right, seed) for name, some in tops.items() for seed, right in enumerate(some)]
    verdicts = {pair.group.label: pair.verdict for pair in paired(group_runs(made), "spatial")}
    assert verdicts == {"tps": "worse", "joint": "open"}


def test_a_variant_that_was_proved_unable_fails_by_no_chance() -> None:
    # among 30 comparisons five of five against none may be luck, but not against one that cannot succeed
    made = all_or_nothing(5, {"v1": 5, "v2": 2}, 30)
    assert not any(pair.found.settled for pair in paired(group_runs(made), "v0"))
    for one in made:
        if one.row["label"] == "v0":
            one.row["proved_ceiling_pct"] = 50.0
    settled = {pair.group.label for pair in paired(group_runs(made), "v0") if pair.found.settled}
    assert settled == {"v1"}


def test_what_an_axis_is_compared_with_is_said_as_people_say_it() -> None:
    along = Comparisons([], "the same with a circular border", "", True)
    assert (along.plain, along.noun) == ("with a circular border", "the same with a circular border")
    two = Comparisons([], "x", "", True, "with an embedding of time against without an embedding of time")
    assert (two.plain, two.noun) == ("without an embedding of time", "the same without an embedding of time")
    assert two.common == "with an embedding of time"
    two = Comparisons([], "x", "", True, "from image weights against circular border")
    assert (two.common, two.plain) == ("from image weights", "with a circular border")
    assert (Comparisons([], "PST", "", True).plain, Comparisons([], "PST", "", True).noun) == ("PST", "PST")


def test_data_sets_are_named_by_what_tells_them_apart() -> None:
    assert spoken_data(["direction(val=384, test=768)", "match(val=384)"]) == ["direction", "match"]
    assert spoken_data(["a(x=1)", "a(x=1)"]) == ["a(x=1)", "a(x=1)"]
