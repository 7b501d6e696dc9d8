"""Python files of the user's own that define variants, patterns, data sets or metrics (`--plugin`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tps_lab.errors import InputError

_PREFIX = "tps_lab_plugin_"


def load(file: Path) -> ModuleType:
    """Run a plugin; the classes that it defines are then found by name.

    Raises:
        InputError: there is no such file. An error inside the file comes out as it is.
    """
    if not file.is_file():
        raise InputError(f"no such plugin file: {file}")
    spec = importlib.util.spec_from_file_location(f"{_PREFIX}{len(loaded())}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file (its name must end with .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def loaded() -> list[Path]:
    """The plugins of this process, first to last."""
    return [Path(str(module.__file__)) for name, module in list(sys.modules.items()) if name.startswith(_PREFIX)]


def can_travel(cls: type) -> bool:
    """Whether another process that loads the same plugins knows this class: a notebook's it does not."""
    return cls.__module__.startswith((_PREFIX, "tps_lab."))
