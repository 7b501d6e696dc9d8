"""Python files of the user's own that define variants, patterns, data sets or metrics (`--plugin`)."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from tps_lab.errors import InputError, one_line

_PREFIX = "tps_lab_plugin_"


def load(file: Path) -> ModuleType:
    """Run a plugin; the classes that it defines are then found by name.

    Raises:
        InputError: there is no such file, or it ends the program. An error inside the file comes out as it is.
    """
    if not file.is_file():
        raise InputError(f"no such plugin file: {file}")
    spec = importlib.util.spec_from_file_location(f"{_PREFIX}{len(loaded())}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file (its name must end with .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[spec.name]  # or every process of ours would load it, too
        if isinstance(error, SystemExit):
            raise InputError(f"{file} ends the program while it is read: {told(error, file)}") from error
        if isinstance(error, InputError):
            raise InputError(f"{error}{_where(error, file)}") from error
        raise
    return module


def read(file: Path) -> ModuleType:
    """`load`, with any error inside the file as one line that names its line.

    Raises:
        InputError: it cannot be loaded.
    """
    try:
        return load(file)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{file} could not be read: {told(error, file)}") from error


def loaded() -> list[Path]:
    """The plugins of this process, first to last."""
    return [Path(str(module.__file__)) for name, module in list(sys.modules.items()) if name.startswith(_PREFIX)]


def told(error: BaseException, *files: Path) -> str:
    """An exception as one line, with the line of a plugin, or of these files, that it came from.

    "ValueError: why (mine.py, line 2)".
    """
    return one_line(error).rstrip(": ") + _where(error, *files)


def _where(error: BaseException, *files: Path) -> str:
    lines = _passed(error, *files)
    return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""


def refuse_shared(what: str, name: str, first: str, second: str) -> None:
    """Refuse a name that two plugins define: which of them is meant would hang on their order.

    A notebook, and a plugin that is loaded again, may define a name anew.

    Args:
        first, second: the modules that define it.

    Raises:
        InputError: they are two plugins.
    """
    if not (first.startswith(_PREFIX) and second.startswith(_PREFIX)):
        return
    files = [place(module) for module in (first, second)]
    if files[0] != files[1]:
        raise InputError(f"{what} '{name}' is defined in {files[0]} and in {files[1]}: give one of them another name")


def place(module: str) -> str:
    """The file that a module is, or its name where there is none (a notebook's) and where it is the package's own."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return module if file is None or module.startswith("tps_lab.") else os.path.realpath(file)


def is_theirs(error: BaseException) -> bool:
    """Whether it came out of a plugin's code: whoever wrote that is helped by its line, not by ours above it."""
    return bool(_passed(error))


def _passed(error: BaseException, *files: Path) -> list[traceback.FrameSummary]:
    own = {str(file) for file in (*loaded(), *(file.absolute() for file in files))}
    return [at for at in traceback.extract_tb(error.__traceback__) if at.filename in own]


def can_travel(cls: type) -> bool:
    """Whether another process that loads the same plugins knows this class: a notebook's it does not."""
    return cls.__module__.startswith((_PREFIX, "tps_lab."))
