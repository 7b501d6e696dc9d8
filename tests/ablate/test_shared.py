"""Several grids in one results folder: cells are run once, and every report has its own names for them."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from ablate_tiny import COST, TINY, run, write
from here import here

from tps_lab.ablate import executors, record
from tps_lab.errors import InputError
from tps_lab.report import grids, page


class Counting(executors.Inline):
    """In this process, and remembers what it ran."""

    def __init__(self):
        self.ran = []

    def start(self, job):
        self.ran.append(job.id)
        return super().start(job)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Two grids that overlap in one cell, run with other steps than their files say, and one that never ran."""
    folder = tmp_path_factory.mktemp("grids")
    cases = {
        "first": {"cases": {"plain": {"attention": "spatial"}, "A": {"attention": "tps(pattern=A)"}}},
        "second": {"cases": {"patch only": {"attention": "tps(pattern=A)"}, "all": {"attention": "joint"}}},
        "third": {"cases": {"B": {"attention": "tps(pattern=B)"}}},
    }
    files = {}
    for name, vary in cases.items():
        files[name] = write(folder, title=f"The {name}", vary=vary).rename(folder / f"{name}.yaml")
    ran = {}
    for name in ("first", "second"):
        executor = Counting()
        run(files[name], folder / "out", executor, COST, set_={"recipe.steps": 5})
        ran[name] = executor.ran
    return folder, files, ran


def test_a_cell_of_two_grids_runs_once(shared):
    folder, _, ran = shared
    assert [id_.partition("-seed")[0] for id_ in ran["first"]] == 2 * ["Spatial", "TPS-A"]
    assert [id_.partition("-seed")[0] for id_ in ran["second"]] == ["Joint", "Joint"]
    assert len(list((folder / "out").glob("*/row.json"))) == 6


def test_each_grid_has_its_own_names_for_the_cells(shared):
    folder, files, _ = shared
    for name, cases in (("first", ["plain", "A"]), ("second", ["patch only", "all"])):
        grid = grids.chosen([folder / "out"], files[name])
        assert [run.row["case"] for run in grid.runs] == 2 * cases
        assert {run.row["steps"] for run in grid.runs} == {5}  # as they ran, whatever the file says by now
        assert (grid.done, grid.missing) == (4, 0)
    with pytest.raises(InputError, match=r"no cell of .*third\.yaml"):
        grids.chosen([folder / "out"], files["third"])
    with pytest.raises(InputError, match=r"cells of several grids \(first, second\)"):
        grids.chosen([folder / "out"])


def test_a_folder_of_one_grid_needs_no_file(tmp_path):
    file = write(tmp_path, vary={"cases": {"x": {"attention": "spatial"}}}, scales={"small": {"seeds": 1}})
    run(file, tmp_path / "out")
    file.unlink()
    grid = grids.chosen([tmp_path / "out"])
    assert (grid.record.about["question"], grid.runs[0].row["case"]) == ("Does it run?", "x")


def test_cells_that_were_not_run_are_shown_as_missing(shared, tmp_path):
    folder, files, _ = shared
    content = yaml.safe_load(files["first"].read_text())
    content["scales"]["small"]["seeds"] = 3
    more = tmp_path / "first.yaml"
    more.write_text(yaml.safe_dump(content | {"base": TINY | {"recipe.steps": 5}}))
    record.write(grids_loaded(more), tmp_path / "newer")
    grid = grids.chosen([folder / "out", tmp_path / "newer"], more)
    assert (grid.done, grid.missing) == (4, 2)
    text = grids.build(grid, tmp_path / "page").with_name("report.md").read_text()
    assert "1 of 3 runs missing: not run yet" in text


def grids_loaded(file):
    from tps_lab.ablate.grid import load

    return load(file)


def test_all_reports_and_an_overview(shared, tmp_path):
    folder, files, _ = shared
    done = here("report", folder / "out", "--grids", files["first"].parent, "--out", tmp_path / "reports", "--json")
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert [(line["name"], line["done"], line["missing"]) for line in said["grids"]] == [
        ("first", 4, 0), ("second", 4, 0), ("third", 0, 2)
    ]  # fmt: skip
    # spatial attention cannot tell counterparts apart; that was written down before anything was trained
    assert said["grids"][0]["proofs"] == "Of 2 runs with a ceiling proved before training, none passed it."
    overview = (tmp_path / "reports/README.md").read_text()
    for line in said["grids"][:2]:
        assert all(answer in overview for answer in line["answers"].values())
        assert (tmp_path / "reports" / line["name"] / "index.html").exists()
    assert "Not run yet" in overview
    assert not (tmp_path / "reports/third").exists()
    assert "patch only" in (tmp_path / "reports/second/report.md").read_text()


def test_a_ceiling_that_is_passed_is_said_to_be():
    rows = [
        {"case": "x", "status": "done", "proved_ceiling_pct": 50.0, "proved_reason": "why", "top1_pct": top1}
        for top1 in (49.0, 55.0)
    ]
    kept, passed = (record.confront(some)[0] for some in (rows[:1], rows))
    assert (kept.kept, passed.kept) == (True, False)
    assert "55.0 % where 50.0 % was proved" in page.proofs_said([passed])[0]
    assert record.confront([rows[1] | {"status": "failed"}, {"case": "y", "status": "done", "top1_pct": 99.0}]) == []


def test_a_page_never_gives_way_to_one_that_shows_less(shared, tmp_path):
    folder, files, _ = shared
    full = grids.chosen([folder / "out"], files["second"])
    page_there = grids.build(full, tmp_path / "second").read_text()
    some = replace(full, runs=tuple(one for one in full.runs if one.row["case"] == full.runs[0].row["case"]))
    with pytest.raises(InputError, match=r"shows 4 finished runs of 2 variants, more than the 2 of 1 that are here"):
        grids.build(some, tmp_path / "second", force=True)
    assert (tmp_path / "second/index.html").read_text() == page_there
    grids.build(some, tmp_path / "second", fewer=True)
    assert "2 runs" in (tmp_path / "second/index.html").read_text()
    # all of them, from fewer runs than their pages show: they stay, and the overview says what they say
    grids.build(full, tmp_path / "second")
    few = tmp_path / "few"
    shutil.copytree(folder / "out", few)
    for one in some.runs:
        shutil.rmtree(few / one.path.name)
    overview = grids.build_all([few], files["second"].parent, tmp_path)
    line = next(line for line in overview.lines if line.name == "second")
    assert "it stays" in line.kept
    assert line.card.done == 4
    again = grids.build_all([], files["second"].parent, tmp_path)
    assert [line.card for line in again.lines] == [line.card for line in overview.lines]
