"""environment.yml for conda users, written from pyproject.toml so that there is one list of dependencies.

`make environment` writes it; a test holds the two together.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    """The text of environment.yml for this pyproject.toml: what `pip install -e '.[dev]'` brings."""
    project = tomllib.loads(pyproject.read_text())["project"]
    wanted = dict.fromkeys([*project["dependencies"], *_extra("dev", project)])
    return _HEAD + "".join(f'      - "{dependency}"\n' for dependency in wanted) + "      - -e .\n"


def _extra(name: str, project: dict[str, Any]) -> Iterator[str]:
    """The packages of an extra, those of the extras that it names included."""
    for dependency in project["optional-dependencies"][name]:
        other = re.fullmatch(re.escape(project["name"]) + r"\[(.+)\]", dependency)
        if other:
            yield from _extra(other[1], project)
        else:
            yield dependency


if __name__ == "__main__":
    print(environment_yml(Path(__file__).parents[1] / "pyproject.toml"), end="")
