"""What holds the package together: light imports, one list of dependencies."""

import ast
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def loaded_by(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import tps_lab", "import tps_lab.cli", "from tps_lab.attention import variants; variants()",
     "from tps_lab.data import data_sets; data_sets()",
     # models are torch's own classes in these three
     "import tps_lab; [getattr(tps_lab, n) for n in {*tps_lab.__all__} - {'VideoModel', 'certify', 'shift_patches'}]"],
)  # fmt: skip
def test_torch_comes_only_when_a_model_is_asked_for(statement):
    heavy = {"torch", "timm", "matplotlib", "pandas", "av", "sklearn", "PIL"}
    assert not heavy & loaded_by(statement)


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


def test_no_class_and_no_file_shares_its_name():
    """A name leads to one place: no class of the package is called like another, and no file like another."""
    modules = list((ROOT / "tps_lab").rglob("*.py"))
    classes = [
        node.name for file in modules for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, times in Counter(classes).items() if times > 1] == []
    assert [
        name
        for name, times in Counter(file.name for file in modules).items()
        if times > 1 and not name.startswith("__")
    ] == []


SCRIPTS = [file for folder in ("docs", "notebooks", "reports") for file in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_script_imports_of_the_package_is_there(script):
    """Imports inside functions too: many of them stand before a computation that no test runs."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tps_lab":
            module = importlib.import_module(node.module)
            for name in node.names:
                found = hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}")
                assert found, f"{node.module} has no {name.name}"
