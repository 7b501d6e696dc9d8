"""`reports/relations/make.py`: its page is that of its results, and what it counted is what is counted today."""

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "reports/relations/make.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("relations_study", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_results(study, tmp_path):
    page = study.publish(json.loads((FILE.parent / "results.json").read_text()), tmp_path)
    assert page.read_text() == (FILE.parent / "report.md").read_text()


def test_pairs_of_eight_frames_are_counted_the_same_today(study):
    from tps_lab.attention import Grid, parse

    rows = [row for row in json.loads((FILE.parent / "results.json").read_text())["rows"] if row["frames"] == 8]
    assert {row["attention"] for row in rows} == set(study.NAMES)
    for row in rows:
        variant = parse(row["attention"])
        found = variant.pairs(Grid(8, *study.PATCHES, 1, variant.prefix_of), study.DEPTH)
        assert found == {"allowed": row["allowed"], "executed": row["executed"]}
