"""What holds the package together: light imports, one list of dependencies."""

import subprocess
import sys
from pathlib import Path

import pytest

from tps_lab.environment_file import environment_yml

ROOT = Path(__file__).parents[1]


def loaded_by(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import tps_lab", "import tps_lab.cli", "from tps_lab.attention import variants; variants()",
     "from tps_lab.data import data_sets; data_sets()"],
)  # fmt: skip
def test_torch_comes_only_when_a_model_is_asked_for(statement):
    heavy = {"torch", "timm", "matplotlib", "pandas", "av", "sklearn"}
    assert not heavy & loaded_by(statement)


def test_environment_yml_repeats_pyproject():
    assert (ROOT / "environment.yml").read_text() == environment_yml(ROOT / "pyproject.toml"), "run: make environment"


def test_imports_point_downwards_and_in_no_circle():
    """The layers and the siblings of pyproject.toml, as `make lint` checks them, imports in functions included."""
    run = [
        Path(sys.executable).with_name("lint-imports"),
        "--no-logo",
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
    ]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
