"""Whole runs by name: a YAML file each, in this folder.

A file holds any of a run's keys. `like: NAME` begins with another recipe, so that files say only what
is different; `about` says what it is, from where, and what the paper got.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tps_lab.errors import InputError, unknown


def names() -> list[str]:
    """All recipes, in alphabetical order."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.yaml"))


def about(name: str) -> str:
    """What a recipe is."""
    return " ".join(str(_values(_file(name)).get("about", "")).split())


def read(text: str | Path) -> dict[str, Any]:
    """A run's keys from a file, or from a recipe of this name.

    Raises:
        InputError: there is neither, or what is there cannot be read.
    """
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.exists():
        values = _values(path)
    elif len(path.parts) == 1:
        values = _values(_file(str(text)))
    else:
        raise InputError(f"cannot read {path}: no such file, and no recipe of this name (see: tps-lab list recipes)")
    values.pop("about", None)
    like = values.pop("like", None)
    return values if like is None else merged(read(like), values)


def merged(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The later keys over the earlier ones, inside nested keys too."""
    found = dict(earlier)
    for key, value in later.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def _file(name: str) -> Path:
    if name not in names():
        raise unknown("recipe", name, names())
    return Path(__file__).parent / f"{name}.yaml"


def _values(file: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} must hold keys and values, e.g. 'attention: tps'")
    return {key: _numbers(value) for key, value in values.items()}


def _numbers(value: Any) -> Any:
    """YAML reads 1e-3 as text; people mean the number."""
    if isinstance(value, Mapping):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
