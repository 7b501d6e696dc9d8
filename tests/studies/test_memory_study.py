"""`reports/memory/make.py`: its table, on whatever device, and its cells, kept as they come."""

import csv
import json
import subprocess
import sys

import pytest
import torch
from study import kept_cells, load

from tps_lab.errors import InputError

memory = load("memory")
ROW = {"backbone": "vit_micro", "attention": "tps", "frames": 8, "size": 32, "batch": 2, "precision": "bf16"}
MIB = 2**20


def row(error_pct, **figures):
    measured = {"predicted_bytes": 100 * MIB, "measured_bytes": 98 * MIB, "error_pct": error_pct, "status": "done"}
    return ROW | measured | {"on": "a GPU; torch 2"} | figures


def test_on_a_cpu_two_real_cells_are_measured_once(tmp_path):
    news_of = []
    cells = memory.grid(large=False)[:2]
    summary = memory.validate(tmp_path, "cpu", cells, lambda *news: news_of.append(news))
    assert (summary["cells"], summary["measured"]) == (2, 2)
    assert summary["p95_error_pct"] < 5
    assert news_of == [(1, "done"), (2, "done")]
    report = (tmp_path / "report.md").read_text()
    assert "(the whole grid has 87) 2 were measured" in report
    assert "[those of a GPU](cuda/report.md)" in report
    assert "reserved" not in report
    kept = (tmp_path / "cells.jsonl").read_text()
    assert memory.validate(tmp_path, "cpu", cells, lambda *news: None) == summary
    assert (tmp_path / "cells.jsonl").read_text() == kept


def test_a_table_says_where_its_cells_were_measured_and_not_where_it_is_written(tmp_path):
    memory.write(tmp_path, "cpu", [row(1.0), row(1.0, on="another GPU; torch 3"), row(2.0)])
    assert "\nDevice: a GPU; torch 2; and another GPU; torch 3. Measured:" in (tmp_path / "report.md").read_text()


def test_a_gpus_table_compares_what_is_reserved_too(tmp_path):
    reserved = {"predicted_reserved_bytes": 120 * MIB, "reserved_bytes": 100 * MIB, "reserved_error_pct": 20.0}
    rows = [row(-4.0, **reserved), row(2.0, **reserved), ROW | {"status": "out of memory"}]
    (tmp_path / "remarks.md").write_text("**A remark.**\n")
    summary = memory.write(tmp_path, "cuda", rows)
    assert (summary["cells"], summary["measured"], summary["median_error_pct"], summary["p95_error_pct"]) == (
        3,
        2,
        3,
        4,
    )
    assert summary["reserved_median_error_pct"] == 20
    *_, first, _, last = (page := (tmp_path / "report.md").read_text()).splitlines()
    assert "\n\n**A remark.**\n\n" in page
    assert first.endswith("| bf16, adamw | 100.00 | 98.00 | -4.00 | 120.00 | 100.00 | +20.00 |")
    assert last.endswith("|  | out of memory |")
    assert first.count("|") == last.count("|")
    with (tmp_path / "cells.csv").open() as file:
        assert [cell["status"] for cell in csv.DictReader(file)] == ["done", "done", "out of memory"]


def test_nothing_measured_has_no_error(tmp_path):
    assert memory.write(tmp_path, "cpu", [ROW | {"status": "impossible: so"}])["median_error_pct"] is None


def test_several_at_once_only_on_a_gpu(tmp_path):
    for device, jobs in (("cpu", 2), ("cuda", 0)):
        with pytest.raises(InputError, match=str(jobs)):
            memory.validate(tmp_path, device, [], lambda *news: None, jobs)


@pytest.fixture
def squared(tmp_path):
    """A cell for the tests below, in a file that a fresh process has read at once."""
    file = tmp_path / "make.py"
    file.write_text(
        "def squared(number, device):\n"
        "    if number == 3:\n"
        "        raise ValueError('three')\n"
        "    return {'number': number, 'squared': number**2}\n"
    )
    return load(file).squared


def test_cells_in_fresh_processes_come_in_order_and_a_failure_is_a_row(tmp_path, squared):
    file = tmp_path / "cells.jsonl"
    file.write_text(
        json.dumps({"cell": {"number": 2, "device": "cuda"}, "row": {"number": 2, "squared": "kept"}}) + "\n"
    )
    cells = [{"number": number, "device": "cuda"} for number in (1, 2, 3, 4, 1)]
    rows = list(kept_cells(file, cells, squared, "device", jobs=2))
    assert [row.get("squared") for row in rows] == [1, "kept", None, 16, 1]
    assert rows[2] == {"number": 3, "status": "failed: ValueError: three"}
    assert len(file.read_text().splitlines()) == 4
    list(kept_cells(file, cells, squared, "device"))
    assert len(file.read_text().splitlines()) == 5  # only the one that failed was tried again


def test_a_line_that_a_kill_cut_short_is_done_again(tmp_path, squared):
    file = tmp_path / "new" / "cells.jsonl"  # the folder is made before the first cell is computed
    cells = [{"number": number, "device": "cpu"} for number in (1, 2)]
    whole = list(kept_cells(file, cells, squared))
    text = file.read_text()
    file.write_text(text[:-9])
    assert list(kept_cells(file, cells, squared)) == whole
    assert list(kept_cells(file, cells, lambda **given: None)) == whole
    assert text.splitlines()[1] in file.read_text().splitlines()


def test_who_stops_listening_leaves_what_came(tmp_path, squared):
    coming = kept_cells(
        tmp_path / "cells.jsonl", [{"number": n, "device": "cuda"} for n in range(50)], squared, "device"
    )
    assert next(coming)["squared"] == 0
    coming.close()
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 1


def test_a_cell_of_the_validation_that_runs_out_of_memory_is_a_row(monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(memory, "_measured", fails)
    row = memory.cell("vit_micro", "tps", 8, 32, 2)
    assert row["status"] == "out of memory"
    assert row["predicted_bytes"] > 0


@pytest.mark.parametrize("option", ["--cells", "--jobs"])
def test_the_command_names_what_is_wrong_and_exits_with_2(option, tmp_path):
    run = [sys.executable, memory.__file__, "--out", str(tmp_path), option, "0", "--quiet"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 2
    assert option[2:] in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_command_measures_a_cell_in_a_fresh_process(tmp_path):
    run = [sys.executable, memory.__file__, "--out", str(tmp_path), "--cells", "1", "--quiet"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 cells: median error" in done.stdout
    (kept,) = (tmp_path / "cells.jsonl").read_text().splitlines()
    assert json.loads(kept)["row"]["status"] == "done"
