"""CONTRIBUTING.md does what it says: its files are written, its commands run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", TEXT, re.S))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("contributor")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


def test_it_has_files_and_commands():
    assert set(FILES) == {"columns.py", "diagonal.py", "blink.py", "bar.py", "balanced.py", "question.yaml"}
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_command(folder, command):
    program, *arguments = shlex.split(command)
    assert program == "tps-lab"
    code = "from tps_lab.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    if "report" in arguments:
        assert (folder / "page/index.html").exists()
        assert len(list((folder / "runs/question").rglob("row.json"))) == 4


def test_the_metric_of_answers(folder):
    """The classes of `blink` are equally frequent, so their mean accuracy is the accuracy of the row."""
    asked = [sys.executable, "balanced.py", "runs/question"]
    said = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [json.loads(file.read_text()) for file in (folder / "runs/question").glob("*/row.json")]
    assert sorted(said) == sorted(f"{row['label']} {row['seed']} {row['top1_pct']:.1f} %" for row in rows)


def test_the_printed_command_makes_a_row_again(folder):
    """The commands above have run: the page that they made says how, with grid file and plugins."""
    page = (folder / "page/report.md").read_text()
    printed = re.search(r"`(tps-lab [^`]*--only CASE/SEED --out NEW)`", page).group(1)
    assert "--plugin columns.py --plugin blink.py ablate question.yaml" in printed
    _, *arguments = shlex.split(printed.replace("CASE/SEED", "columns/1").replace("NEW", "again"))
    code = "from tps_lab.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = (json.loads(file.read_text()) for file in (folder / "again").glob("*/row.json"))
    (first,) = (
        json.loads(file.read_text())
        for file in (folder / "runs/question").glob("*/row.json")
        if file.parent.name == row["id"]
    )
    assert (row["status"], row["top1_pct"], row["seed"]) == ("done", first["top1_pct"], 1)
