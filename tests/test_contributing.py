"""CONTRIBUTING.md does what it says: its files are written, its commands run.

A plugin stays in the process that loaded it, so no command may share one with a test: they run in forks.
"""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from statistics import fmean

import forks
import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", TEXT, re.S))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.strip().splitlines()]


def test_it_has_a_file_of_every_kind():
    assert set(FILES) == {
        *("columns.py", "diagonal.py", "stairs.py", "blink.py", "bar.py", "balanced.py", "question.yaml"),
        *("reports/sizes/make.py", "reports/sizes/template.md"),
    }
    assert len(COMMANDS) >= 6


@pytest.mark.slow
def test_every_command_does_what_is_said_of_it(tmp_path):
    """One test, for the commands build on each other, and take a while."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(ROOT / "reports/study.py", tmp_path / "reports")
    with forks.commands(tmp_path) as run:
        said = {command: run(*shlex.split(command)) for command in COMMANDS}
        page = (tmp_path / "page/report.md").read_text()
        printed = re.search(r"`(tps-lab [^`]*--only CASE/SEED --out NEW)`", page).group(1)
        run(*shlex.split(printed.replace("CASE/SEED", "columns/1").replace("NEW", "again")))

    # the counters agree on the cost of a variant
    assert "disputed" not in said["tps-lab --plugin columns.py cost --attention columns --frames 8"]
    # a pattern has its note
    assert "each patch of a square a frame later" in said["tps-lab --plugin stairs.py pattern stairs --frames 8"]
    # a question has its runs and its page
    rows = [json.loads(file.read_text()) for file in (tmp_path / "runs/question").glob("*/row.json")]
    assert sorted((row["case"], row["seed"]) for row in rows) == [
        (case, i) for case in ("columns", "spatial") for i in (0, 1)
    ]
    assert (tmp_path / "page/index.html").exists()
    # a metric is in the table, on the page, and in the file
    (asked,) = (text for command, text in said.items() if "ablate" in command and "--out" in command)
    assert "balanced %" in asked
    assert "Balanced (%)" in next(line for line in page.splitlines() if line.startswith("| Variant"))
    written = csv.DictReader((tmp_path / "page/results.csv").open())
    found = {line["id"]: float(line["balanced_pct"]) for line in written}
    assert found == {row["id"]: pytest.approx(fmean(row["per_class_pct"].values())) for row in rows}
    # a study makes its page
    lines = (tmp_path / "reports/sizes/report.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| spatial", "| joint", "| tps"]
    assert len((tmp_path / "reports/sizes/cells.jsonl").read_text().splitlines()) == 3
    # the page says how its runs are made again, with grid file and plugins
    assert "--plugin columns.py --plugin blink.py --plugin balanced.py ablate question.yaml" in printed
    (row,) = (json.loads(file.read_text()) for file in (tmp_path / "again").glob("*/row.json"))
    (first,) = (one for one in rows if one["id"] == row["id"])
    assert (row["status"], row["top1_pct"], row["seed"]) == ("done", first["top1_pct"], 1)
