"""environment.yml for conda users, written from pyproject.toml so that there is one list of dependencies.

`make environment` writes it; a test holds the two together.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

_HEAD = """\
# For conda users: conda env create -f environment.yml && conda activate tps_lab
# Written by `make environment` from pyproject.toml; edit that one.
name: tps_lab
channels: [conda-forge]
dependencies:
  - python>=3.11
  - pip
  # torch and torchvision must come from one place to fit each other, so all packages come through pip
  - pip:
"""


def environment_yml(pyproject: Path) -> str:
    """The text of environment.yml for this pyproject.toml."""
    project = tomllib.loads(pyproject.read_text())["project"]
    own = f"{project['name']}["
    extras = [d for extra in ("clips", "dev") for d in project["optional-dependencies"][extra] if not d.startswith(own)]
    lines = [f'      - "{dependency}"\n' for dependency in [*project["dependencies"], *extras]]
    return _HEAD + "".join(lines) + "      - -e .\n"


if __name__ == "__main__":
    print(environment_yml(Path(__file__).parents[1] / "pyproject.toml"), end="")
