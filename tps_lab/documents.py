"""YAML files that people write: what stands there, and the line of each thing, so that an error can name it.

Files come from anywhere, so what a file costs to read is bounded, and of YAML's tags only those of
plain values count. A bare scalar is what its key means by it (see `Document`): YAML itself would read
`no` as false, `2024-01-01` as a date and `1:30` as 90.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tps_lab.errors import InputError, shortened

Path_ = tuple[str | int, ...]

_LARGEST_BYTES = 1 << 20
_MOST_VALUES = 100_000  # aliases count as often as they are used
_DEEPEST = 40
_SHORT = 4096
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")}
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class Document:
    """A YAML file's values, and the line of each by its path of keys and positions.

    Args:
        file: a regular file of at most 1 MiB.
        is_text: whether a path's value is meant as text: it then stays as it is written.
        text: what the file holds, if it was read already.
        written_here: a program of ours wrote it, so that it is likely to be right: tried in C first, ten times as fast.

    Raises:
        InputError: the file cannot be read, is no mapping, has a key twice, an unknown tag, an alias
            that contains itself, or aliases that multiply beyond measure.
    """

    def __init__(
        self,
        file: Path,
        is_text: Callable[[Path_], bool] = lambda path: False,
        text: str | None = None,
        written_here: bool = False,
    ) -> None:
        self.file, self._is_text = file, is_text
        self._lines: dict[Path_, int] = {(): 1}
        self._left = _MOST_VALUES
        try:
            text = _text(file) if text is None else text
            # in C brackets inside brackets fill the stack, so it gets short texts alone
            root = _in_c(text) if written_here and len(text) < _SHORT else None
            root = root or yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
        except RecursionError:
            raise InputError(f"{file}: brackets inside brackets, more than {_DEEPEST} deep") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{file}:{mark.line + 1}" if mark else str(file)
            problem, hint = str(getattr(error, "problem", None) or error), ""
            if "cannot start any token" in problem:
                hint = " (text that begins with @, `, %, & or * needs quotes)"
                if "\\t" in problem:
                    hint = " (indent with blanks, not with tabs)"
            raise InputError(f"{where}: {' '.join(problem.split())}{hint}") from error
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"{file}:1: expected keys and values, such as 'title: …'")
        self.values: dict[str, Any] = self._read(root, (), ())

    def where(self, path: Path_) -> str:
        """file:line of the value there, or of the nearest thing around it."""
        while path not in self._lines:
            path = path[:-1]
        return f"{self.file}:{self._lines[path]}"

    def _read(self, node: yaml.Node, path: Path_, around: tuple[int, ...]) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        self._left -= 1
        if self._left < 0:
            raise self._wrong(node, f"more than {_MOST_VALUES:,} values, aliases included")
        if id(node) in around:
            raise self._wrong(node, "an alias stands for something that contains it")
        if len(around) >= _DEEPEST:
            raise self._wrong(node, f"brackets inside brackets, more than {_DEEPEST} deep")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, self._is_text(path))
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise self._unknown_tag(node)
        around = (*around, id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*path, i), around) for i, item in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key, at, value in self._entries(node, around):
            self._lines[*path, key] = at
            found[key] = self._read(value, (*path, key), around)
        return found

    def _entries(self, node: yaml.Node, around: tuple[int, ...]) -> Iterator[tuple[str, int, yaml.Node]]:
        """Keys, lines and values of a mapping; merged ones (<<) behind its own, which win."""
        if len(around) >= _DEEPEST:
            raise self._wrong(node, "merge keys inside merge keys")
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._wrong(key_node, "a key must be text, not a list or a mapping")
            if key_node.tag not in _SCALARS:
                raise self._unknown_tag(key_node)
            key, line = key_node.value, key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif key in own:
                raise self._wrong(key_node, f"the key '{key}' stands here twice")
            else:
                own[key] = line, value
        for other in merged:
            if not isinstance(other, yaml.MappingNode):
                raise self._wrong(other, "'<<' takes keys and values, or a list of such")
            if id(other) in around:
                raise self._wrong(other, "an alias stands for something that contains it")
            self._left -= len(other.value)
            for key, line, value in self._entries(other, (*around, id(other))):
                own.setdefault(key, (line, value))
            if self._left < 0:
                raise self._wrong(node, f"more than {_MOST_VALUES:,} values, aliases included")
        for key, (line, value) in own.items():
            yield key, line, value

    def _scalar(self, node: yaml.ScalarNode, is_text: bool) -> Any:
        if node.tag not in _SCALARS:
            raise self._unknown_tag(node)
        text, kind = node.value, node.tag.removeprefix(_TAG)
        if kind == "null":
            return None if not is_text or text in ("", "~") else text
        if is_text or kind in ("timestamp", "value", "merge"):
            return text
        if kind == "str":
            # YAML 1.1 takes 1e-3 for text; people mean the number (but mean "nan" and "inf" as they stand)
            return float(text) if node.style is None and _EXPONENT.fullmatch(text) else text
        if ":" in text:  # 1:30 is 90 to YAML 1.1
            return text
        if len(text) > 40:
            raise self._wrong(node, f"a number of {len(text)} characters: {shortened(text)}")
        if kind == "int" and re.fullmatch(r"[-+]?\d+", text):
            return int(text)  # 010 is 8 to YAML 1.1
        try:
            return yaml.SafeLoader("").construct_object(node)  # type: ignore[no-untyped-call]
        except (ValueError, KeyError, yaml.YAMLError):
            raise self._wrong(node, f"{shortened(text)!r} is not of the kind !!{kind}") from None

    def _wrong(self, node: yaml.Node, what: str) -> InputError:
        return InputError(f"{self.file}:{node.start_mark.line + 1}: {what}")

    def _unknown_tag(self, node: yaml.Node) -> InputError:
        tag = node.tag.replace(_TAG, "!!")
        return self._wrong(node, f"the tag {shortened(tag)} means nothing here; write the value without it")


def _text(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise InputError(f"cannot read {file}: it is not a regular file")
    with file.open("rb") as opened:
        content = opened.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise InputError(f"cannot read {file}: a file of keys and values has at most {_LARGEST_BYTES >> 20} MiB")
    return content.decode("utf-8")


def _in_c(text: str) -> yaml.Node | None:
    """As the parser in C has it; None if it cannot read it, and says less plainly why."""
    try:
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return None
