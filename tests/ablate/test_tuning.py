"""Every case has the same trials, takes its best by validation, and runs at it with fresh seeds."""

from __future__ import annotations

import shutil

import pytest
from ablate_tiny import TINY, write

from tps_lab import ablate
from tps_lab.ablate import costs, record
from tps_lab.ablate.grid import Choice, choose, load
from tps_lab.errors import InputError
from tps_lab.report import grids
from tps_lab.report.budgets import Ahead, Budgets
from tps_lab.training.forecast import Forecast

GRID = """
title: Tiny
question: Which?
vary:
  cases:
    spatial: {attention: spatial}
    joint: {attention: joint}
scales:
  small:
    tune: {over: {recipe.lr: [1e-3, 3e-3, 1e-2]}}
    budgets: [4, 8]
    seeds: 3
"""


@pytest.fixture
def grid(tmp_path):
    def made(text=GRID):
        (tmp_path / "tiny.yaml").write_text(text)
        return load(tmp_path / "tiny.yaml")

    return made


def point(lr):
    return (("recipe.lr", lr),)


def test_trials_are_the_same_for_all_and_share_no_seed_and_no_identity_with_runs(grid):
    grid = grid()
    assert {(cell.case, cell.budget, cell.tuned) for cell in grid.cells} == {
        (case, steps, point(lr)) for case in ("spatial", "joint") for steps in (4, 8) for lr in (1e-3, 3e-3, 1e-2)
    }
    choices = {
        (case, steps): Choice({"recipe.lr": 3e-3 if case == "joint" else 1e-3}, ())
        for case in ("spatial", "joint")
        for steps in (4, 8)
    }
    choices["joint", 4] = Choice(None, ())
    runs = grid.tuned(choices).runs
    assert len(runs) == 3 * 3  # a case that no trial taught anything is left out
    assert {(cell.case, cell.config.recipe.lr) for cell in runs} == {("spatial", 1e-3), ("joint", 3e-3)}
    assert {cell.seed for cell in runs} == {0, 1, 2}
    assert all(cell.is_trial and cell.seed == 1000 for cell in grid.cells)
    assert len({cell.id.rpartition("-")[2] for cell in (*grid.cells, *runs)}) == len(grid.cells) + len(runs)


def test_no_two_cells_of_a_tuned_grid_are_called_alike(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "forecast", lambda *_, **__: Forecast(*[1] * 9, how=""))
    grid = grid()
    assert len({cell.title for cell in grid.cells}) == len(grid.cells) == 12
    assert grid.cells[0].title == "spatial, seed 1000, 4 steps, lr 0.001"
    cells = grid.expected().cells
    table = costs.plan(grid, (cells[11], cells[-1]), tmp_path, {}).table().splitlines()
    trial, run = (line.split() for line in table if line.startswith("joint"))
    assert trial[:4] == ["joint", "8", "0.01", "1000"]
    assert run[:4] == ["joint", "8", "chosen", "2"]


def test_the_best_is_taken_and_the_middle_of_equals():
    assert choose([(point(1), 50.0), (point(2), 70.0), (point(3), 60.0)]).values == {"recipe.lr": 2}
    assert choose([(point(1), 70.0), (point(2), 70.0), (point(3), 70.0)]).values == {"recipe.lr": 2}
    assert choose([(point(1), 70.0), (point(2), None), (point(1), 50.0)]).curve == ((point(1), 60.0), (point(2), None))
    assert choose([(point(1), None)]).values is None


@pytest.mark.parametrize(("best", "edge"), [(0, ("recipe.lr",)), (1, ()), (2, ("recipe.lr",))])
def test_a_choice_at_an_end_of_the_list_is_told(best, edge):
    found = choose([(point(lr), 90.0 if i == best else 50.0) for i, lr in enumerate((1e-3, 3e-3, 1e-2))])
    assert found.at_edge == edge


def test_what_cannot_be_tuned_is_refused_with_its_line(grid):
    with pytest.raises(InputError, match=r"tiny.yaml:10: .*recipe.lrr"):
        grid(GRID.replace("recipe.lr:", "recipe.lrr:"))
    with pytest.raises(InputError, match=r"tiny.yaml:11: budgets"):
        grid(GRID.replace("[4, 8]", "[4, 4]"))
    with pytest.raises(InputError, match="seed 1000 is the tuning's"):
        grid(GRID.replace("seeds: 3", "seeds: [1000]"))


SMALL = {"tune": {"over": {"recipe.lr": [1e-3, 3e-3]}, "seeds": 2}, "budgets": [3], "seeds": 1}
VARIANTS = {"product": {"attention": ["spatial", "tps(pattern=A)", "tcs"]}}


def part(file, out, *only, **more):
    """Run some cases; what the record says then: case and steps of its runs → the rate that was chosen."""
    ablate.run(ablate.Asked(file, out=out, only=only, executor="inline", quiet=True, timing_seconds=0.1, **more))
    (found,) = record.find([out]).values()
    return {(cell.case, cell.row["steps"]): cell.tuned["recipe.lr"] for cell in found.cells}


def test_parts_that_are_run_one_after_the_other_add_up(tmp_path):
    file, out = write(tmp_path, base=TINY, vary=VARIANTS, scales={"small": SMALL}), tmp_path / "out"
    first = part(file, out, "spatial")
    assert [*first] == [("spatial", 3)]
    both = part(file, out, "tcs")
    assert [*both] == [("spatial", 3), ("tcs", 3)]
    # asked again in part, nothing runs, and nothing is forgotten or chosen anew
    runs = {path: path.stat().st_mtime_ns for path in out.glob("*/row.json")}
    assert part(file, out, "tcs/1001") == part(file, out, limit=1) == both
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/row.json")} == runs
    # what an earlier call chose stands, though its trials are gone
    for trial in out.glob("Spatial-*trial*"):
        shutil.rmtree(trial)
    assert part(file, out, "tcs") == both
    page = grids.build(grids.chosen([out]), tmp_path / "report")
    assert "**Left out:** tps(pattern=A) (not run)" in page.with_name("report.md").read_text()
    # a record that is damaged is written anew
    (out / "grids/tiny-small.json").write_text("{")
    assert [*part(file, out, "tcs")] == [("tcs", 3)]


def test_a_part_with_more_steps_is_not_compared_with_one_that_has_fewer(tmp_path):
    out = tmp_path / "out"
    file = write(tmp_path, base=TINY, vary=VARIANTS, scales={"small": SMALL})
    part(file, out, "spatial")
    file = write(tmp_path, base=TINY, vary=VARIANTS, scales={"small": SMALL | {"budgets": [3, 6]}})
    assert [*part(file, out, "tcs")] == [("spatial", 3), ("tcs", 3), ("tcs", 6)]
    grids.build(grids.chosen([out]), tmp_path / "report")
    text = (tmp_path / "report/report.md").read_text()
    assert "**Left out:** tps(pattern=A) and spatial after 6 steps (not run)" in text
    assert "| spatial |" not in text.partition("## ")[0]  # the table is of the largest budget
    # the file does not ask for what ran before any more
    file = write(tmp_path, base=TINY | {"recipe.batch": 2}, vary=VARIANTS, scales={"small": SMALL})
    assert [*part(file, out, "tps*")] == [("tps(pattern=A)", 3)]
    # nor for what was tuned in another way
    tune = {"over": {"recipe.lr": [1e-3, 3e-3], "recipe.warmup": [0.1]}}
    file = write(tmp_path, base=TINY | {"recipe.batch": 2}, vary=VARIANTS, scales={"small": SMALL | {"tune": tune}})
    assert [*part(file, out, "tcs")] == [("tcs", 3)]


def test_the_answer_says_whether_the_order_depends_on_the_budget():
    early, late = Ahead(150, ("A",), ()), Ahead(600, ("A", "B"), ())
    assert Budgets((early, late)).depends.startswith("A is ahead")
    assert Budgets((early, Ahead(600, ("B",), ()))).depends == (
        "Who is ahead depends on the budget: A after 150 steps and B after 600 steps."
    )
