"""`reports/gpu/make.py`: what was measured is kept as it comes, whatever happens to the rest."""

import json

import pytest
from study import load

gpu = load("gpu")
MACHINE = {"gpu": "a GPU", "torch": "2", "date": "today"}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Cases that were run, and the file that keeps them."""
    ran = []

    def run(**case):
        ran.append(case)
        if case.get("compiled"):
            raise RuntimeError("no compiler")
        return case | {"ms": len(ran)}

    monkeypatch.setattr(gpu, "machine", lambda: MACHINE)
    monkeypatch.setattr(gpu, "shift", run)
    monkeypatch.setattr(gpu, "steps", run)
    return ran, tmp_path / "results.json"


def test_the_page_is_that_of_the_results(tmp_path):
    page = gpu.publish(json.loads((gpu.HERE / "results.json").read_text()), tmp_path)
    assert page.read_text() == (gpu.HERE / "report.md").read_text()


def test_a_case_that_fails_costs_no_other_and_is_all_that_is_run_again(measured):
    ran, file = measured
    failed = gpu.measure(file)
    assert len(ran) == len(gpu.cases()) == 18
    assert len(failed) == 4
    assert all("RuntimeError: no compiler" in line for line in failed)
    kept = json.loads(file.read_text())
    assert (len(kept["shift"]), len(kept["steps"])) == (10, 4)
    ran.clear()
    assert gpu.measure(file) == failed
    assert len(ran) == 4
    assert json.loads(file.read_text()) == kept


def test_what_is_cut_short_is_kept_and_figures_of_another_gpu_are_not(measured, monkeypatch):
    ran, file = measured
    monkeypatch.setattr(gpu, "steps", lambda **case: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        gpu.measure(file)
    assert len(json.loads(file.read_text())["shift"]) == 10
    monkeypatch.setattr(gpu, "machine", lambda: MACHINE | {"gpu": "another GPU"})
    with pytest.raises(KeyboardInterrupt):
        gpu.measure(file)
    assert len(ran) == 20
    assert json.loads(file.read_text())["machine"]["gpu"] == "another GPU"
