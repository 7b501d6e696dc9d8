"""Examples in docstrings say what happens."""

import doctest
import importlib
from pathlib import Path

import pytest

import tps_lab

HERE = Path(tps_lab.__file__).parent


def with_examples():
    for file in sorted(HERE.rglob("*.py")):
        lines = [line for line in file.read_text().splitlines() if line.lstrip().startswith(">>> ")]
        if any("+SKIP" not in line for line in lines):
            yield ".".join(("tps_lab", *file.relative_to(HERE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = list(with_examples())


def test_many_modules_have_examples():
    assert len(MODULES) > 30


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0
