"""What a cell is: the hash of its configuration, of its data's version and of the code behind its figures.

The code is found by following imports inside the package, from the variant, the data set, the
backbone's family and the training loop. So a changed mechanism gives its own cells a new identity,
and nobody else's. Comments, docstrings, layout and the version of Python are no part of it.

Three things are left out, each for a reason:

* functions of a package's `__init__` import by name whatever is asked for: following them would
  make every cell depend on every family;
* modules in `_WITHOUT_EFFECT` decide how a run is written down, shown or measured, not its accuracy;
* tables in `_BY_VALUE` are many cells' presets in one file: the entry that a cell uses counts, as
  a value, and a new entry changes nobody's identity.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib.util
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tps_lab import data
from tps_lab.config import RunConfig

_PACKAGE = "tps_lab"
_WITHOUT_EFFECT = frozenset(
    [
        _PACKAGE,
        *(f"{_PACKAGE}.{name}" for name in "ablate cards checkpoints cli config errors plugins progress".split()),
        *(f"{_PACKAGE}.{name}" for name in "report runs specs training.trackers viz workers".split()),
    ]
) | {f"{_PACKAGE}.measure{name}" for name in ("", ".flops", ".latency", ".memory", ".probe")}
_NO_TIME_UNLESS_ASKED = {f"{_PACKAGE}.backbones.swin"}  # others ask the variant whether it wants an embedding of time
_BY_VALUE = {
    f"{_PACKAGE}.patterns": {"_TILES", "_NOTES", "_ALIASES"},
    f"{_PACKAGE}.backbones": {"SMALL", "_MICRO", "_MICRO_SWIN", "__all__"},
    f"{_PACKAGE}.backbones._paper": {"PAPER"},
}


def cell_hash(config: RunConfig) -> str:
    """Twelve hexadecimal digits.

    Raises:
        InputError: the backbone has no such model.
    """
    content = {
        "config": config.content() | {"temporal_position": _temporal_position(config)},
        "data_version": data.parse(config.data).version,
        "values": _values(config),
        "code": code(config),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def code(config: RunConfig) -> dict[str, str]:
    """Module → hash of its code, for every module that a cell's accuracy depends on."""
    roots = [
        type(config.variant).__module__,
        type(data.parse(config.data)).__module__,
        _family_module(config.model[0]),
        f"{_PACKAGE}.train",
        f"{_PACKAGE}.measure.accuracy",
    ]
    return {name: _hash_of(name) for name in sorted(dependencies(roots))}


def dependencies(roots: Iterable[str]) -> set[str]:
    """Modules that these import, directly or not, inside the package; themselves included."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in _WITHOUT_EFFECT:
            found.add(name)
            waiting += _imports(name)
    return found


def _values(config: RunConfig) -> dict[str, Any]:
    from tps_lab.backbones import PAPER, SMALL

    name = config.model[0]
    pattern = getattr(config.variant, "pattern", None)
    return {
        "tile": pattern.text if pattern is not None else None,
        "preset": repr(PAPER[name]) if name in PAPER else repr(SMALL.get(name)),
    }


def _temporal_position(config: RunConfig) -> bool | None:
    """As asked for; None, too, where that is what happens unasked, because it is the same model."""
    unasked = _family_module(config.model[0]) not in _NO_TIME_UNLESS_ASKED and config.variant.temporal_position
    return None if config.temporal_position == unasked else config.temporal_position


def _family_module(name: str) -> str:
    from tps_lab.backbones import family_module

    return family_module(name)


@cache
def _file(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    found = getattr(loaded, "__file__", None)
    if found is None and module.startswith(f"{_PACKAGE}."):
        spec = importlib.util.find_spec(module)
        found = spec.origin if spec else None
    return Path(found) if found else None


@cache
def _tree(module: str) -> ast.Module | None:
    file = _file(module)
    return ast.parse(file.read_text()) if file else None


@cache
def _imports(module: str) -> tuple[str, ...]:
    tree = _tree(module)
    if tree is None:
        return ()
    file = _file(module)
    top_only = file is not None and file.name == "__init__.py"
    return tuple(dict.fromkeys(_named(ast.iter_child_nodes(tree) if top_only else ast.walk(tree))))


def _named(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{_PACKAGE}."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            assert node.module is not None
            for alias in node.names:  # a name may be a module of its own
                inner = f"{node.module}.{alias.name}"
                yield inner if _is_module(inner) else node.module


@cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@cache
def _hash_of(module: str) -> str:
    tree = _tree(module)
    if tree is None:  # a notebook's
        return "no file"
    return hashlib.sha256(normal_form(tree, _BY_VALUE.get(module, set())).encode()).hexdigest()[:12]


def normal_form(tree: ast.Module, leave_out: Iterable[str] = ()) -> str:
    """Code as text without comments, layout, docstrings and some module-level names."""
    tables = set(leave_out)
    kept = [node for node in tree.body if not tables & set(_assigned(node))]
    copied = copy.deepcopy(ast.Module(kept, []))  # the tree itself is shared
    for node in ast.walk(copied):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                node.body = node.body[1:]
    return _written(copied)


def _written(node: Any) -> str:
    """As `ast.dump`, without the empty fields that one version of Python has and another has not."""
    if isinstance(node, list):
        return f"[{', '.join(map(_written, node))}]"
    if isinstance(node, ast.JoinedStr):  # its text comes in more pieces, even empty ones, from some versions
        values: list[Any] = node.values
        pieces = itertools.groupby(values, lambda piece: isinstance(piece, ast.Constant))
        parts = [["".join(str(p.value) for p in run)] if text else list(map(_written, run)) for text, run in pieces]
        return f"JoinedStr({[part for part in parts if part != ['']]})"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, getattr(node, name, None)) for name in sorted(node._fields))
    inside = ", ".join(f"{name}={_written(value)}" for name, value in fields if value is not None and value != [])
    return f"{type(node).__name__}({inside})"


def _assigned(node: ast.AST) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
