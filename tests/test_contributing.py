"""CONTRIBUTING.md does what it says: its files are written, its commands run."""

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
    assert set(FILES) == {"columns.py", "diagonal.py", "blink.py", "question.yaml"}
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
