"""Whole runs by name: a YAML file each, in this folder.

A file holds any of a run's keys. `like: NAME` begins with another recipe, so that files say only what
is different; `about` says what it is, from where, and what the paper got.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tps_lab.errors import InputError, shortened, unknown


def names() -> list[str]:
    """All recipes, in alphabetical order."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.yaml"))


def about(name: str) -> str:
    """What a recipe is."""
    return " ".join(str(_values(_file(name)).get("about", "")).split())


def read(text: str | Path, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """A run's keys from a file, or from a recipe of this name.

    Args:
        before: files that are `like` this one.

    Raises:
        InputError: there is neither, or what is there cannot be read.
    """
    from tps_lab.training.config import merged, unsaid

    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.exists():
        values = _values(path)
    elif len(path.parts) == 1:
        values = _values(_file(str(text)))
    else:
        raise InputError(f"cannot read {path}: no such file, and no recipe of this name (see: tps-lab list recipes)")
    values.pop("about", None)
    like = values.pop("like", None)
    if like is None:
        return values
    if not isinstance(like, str):
        raise InputError(f"{path}: 'like' must be the name of a recipe or a file, got {shortened(repr(like))}")
    if like in before or len(before) > 20:
        raise InputError(f"{path}: 'like' refers back to itself: {' → '.join((*before, like))}")
    return merged(unsaid(read(like, (*before, like)), values), values)


def _file(name: str) -> Path:
    if name not in names():
        raise unknown("recipe", name, names(), "an attention variant is --attention NAME")
    return Path(__file__).parent / f"{name}.yaml"


def _values(file: Path) -> dict[str, Any]:
    from tps_lab.documents import Document
    from tps_lab.training.config import means_text

    return Document(file, means_text).values
