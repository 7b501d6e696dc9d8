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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("contributor")
    for name, text in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    shutil.copy(ROOT / "reports/study.py", made / "reports")
    return made


@pytest.fixture(scope="module")
def typed(folder):
    """What a command prints, typed in the folder of the files; it must end well."""
    with forks.commands(folder) as run:
        yield lambda command: run(*shlex.split(command))


def test_it_has_a_file_of_every_kind():
    assert set(FILES) == {
        *("columns.py", "diagonal.py", "stairs.py", "blink.py", "bar.py", "balanced.py", "question.yaml"),
        *("reports/sizes/make.py", "reports/sizes/template.md"),
    }
    assert len(COMMANDS) >= 6


@pytest.fixture(scope="module")
def said(typed):
    """Command → what it printed, all of them run one after the other."""
    return {command: typed(command) for command in COMMANDS}


@pytest.fixture(scope="module")
def rows(said, folder):
    return [json.loads(file.read_text()) for file in (folder / "runs/question").glob("*/row.json")]


def test_every_command_runs_and_a_pattern_has_its_note(said):
    assert "each patch of a square a frame later" in said["tps-lab --plugin stairs.py pattern stairs --frames 8"]


def test_a_question_has_its_runs_and_its_page(rows, folder):
    assert sorted((row["case"], row["seed"]) for row in rows) == [
        (case, i) for case in ("columns", "spatial") for i in (0, 1)
    ]
    assert (folder / "page/index.html").exists()


def test_a_metric_is_in_the_table_the_page_and_the_file(said, rows, folder):
    (asked,) = (text for command, text in said.items() if "ablate" in command and "--out" in command)
    assert "balanced %" in asked
    head = next(line for line in (folder / "page/report.md").read_text().splitlines() if line.startswith("| Variant"))
    assert "Balanced (%)" in head
    written = csv.DictReader((folder / "page/results.csv").open())
    found = {line["id"]: float(line["balanced_pct"]) for line in written}
    assert found == {row["id"]: pytest.approx(fmean(row["per_class_pct"].values())) for row in rows}


def test_a_study_makes_its_page(said, folder):
    lines = (folder / "reports/sizes/report.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| spatial", "| joint", "| tps"]
    assert len((folder / "reports/sizes/cells.jsonl").read_text().splitlines()) == 3


def test_the_printed_command_makes_a_row_again(typed, rows, folder):
    """The page says how its runs are made again, with grid file and plugins."""
    printed = re.search(r"`(tps-lab [^`]*--only CASE/SEED --out NEW)`", (folder / "page/report.md").read_text()).group(
        1
    )
    assert "--plugin columns.py --plugin blink.py --plugin balanced.py ablate question.yaml" in printed
    typed(printed.replace("CASE/SEED", "columns/1").replace("NEW", "again"))
    (row,) = (json.loads(file.read_text()) for file in (folder / "again").glob("*/row.json"))
    (first,) = (one for one in rows if one["id"] == row["id"])
    assert (row["status"], row["top1_pct"], row["seed"]) == ("done", first["top1_pct"], 1)
