"""Two sets of benchmarks compared: made-up calls whose change is known."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tps_lab.cli import app
from tps_lab.errors import InputError
from tps_lab.measure.baseline import compare_benchmarks, regressions


def written(file, seed, **medians):
    rng = np.random.default_rng(seed)
    entries = []
    for name, (median, peak) in medians.items():
        data = (median * np.exp(0.05 * rng.standard_normal(40))).tolist()
        stats = {"data": data, "median": float(np.median(data))}
        entries.append({"name": name, "stats": stats, "extra_info": {"peak_memory_bytes": peak}})
    file.write_text(json.dumps({"benchmarks": entries}))
    return file


@pytest.fixture
def files(tmp_path):
    before = written(tmp_path / "before.json", 0, copy=(1e-3, 100), shift=(1e-3, 100), joint=(2e-3, 500), gone=(1, 1))
    after = written(tmp_path / "after.json", 1, copy=(1e-3, 100), shift=(1.4e-3, 100), joint=(1.5e-3, 600), new=(1, 1))
    return before, after


def test_a_regression_is_flagged_with_its_interval_and_what_is_the_same_is_not(files):
    changes = {(change.name, change.what): change for change in compare_benchmarks(*files)}
    assert {name for name, _ in changes} == {"copy", "shift", "joint"}
    assert changes["copy", "time"].verdict == "same"
    shift = changes["shift", "time"]
    assert shift.verdict == "slower"
    assert 1.3 < shift.low < shift.ratio < shift.high < 1.5
    assert changes["joint", "time"].verdict == "faster"
    assert changes["joint", "peak_memory_bytes"].verdict == "more"
    assert [(change.name, change.what) for change in regressions(list(changes.values()))] == [
        ("shift", "time"),
        ("joint", "peak_memory_bytes"),
    ]


def test_what_is_not_sure_is_called_unclear(files):
    changes = {change.name: change for change in compare_benchmarks(*files, tolerance=0.4) if change.what == "time"}
    assert changes["shift"].verdict == "unclear"


def test_the_command_exits_with_1_if_anything_became_worse(files):
    before, after = map(str, files)
    worse = CliRunner().invoke(app, ["benchmark-compare", before, after])
    assert worse.exit_code == 1
    assert "2 of 6 figures became worse beyond 10 %" in worse.stdout
    same = CliRunner().invoke(app, ["benchmark-compare", before, before, "--json"])
    assert same.exit_code == 0
    assert {change["verdict"] for change in json.loads(same.stdout)} == {"same"}


def test_what_is_no_benchmark_is_named(files, tmp_path):
    (tmp_path / "other.json").write_text("[]")
    for wrong in (tmp_path / "other.json", tmp_path / "none.json"):
        with pytest.raises(InputError, match=wrong.name):
            compare_benchmarks(files[0], wrong)
    alone = written(tmp_path / "alone.json", 0, alone=(1, 1))
    with pytest.raises(InputError, match="in common"):
        compare_benchmarks(files[0], alone)
