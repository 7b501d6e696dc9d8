"""YAML that remembers where everything stood, so that an error can name file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tps_lab.errors import InputError

Path_ = tuple[str | int, ...]


class Document:
    """A YAML file's values, and the line of each by its path of keys and positions.

    Raises:
        InputError: the file cannot be read, is no mapping, or has a key twice.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lines: dict[Path_, int] = {(): 1}
        try:
            text = file.read_text()
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{file}:{mark.line + 1}" if mark else str(file)
            raise InputError(f"{where}: {getattr(error, 'problem', None) or error}") from error
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"{file}:1: expected keys and values, such as 'title: …'")
        self.values: dict[str, Any] = self._read(root, ())

    def where(self, path: Path_) -> str:
        """file:line of the value there, or of the nearest thing around it."""
        while path not in self._lines:
            path = path[:-1]
        return f"{self.file}:{self._lines[path]}"

    def _read(self, node: yaml.Node, path: Path_) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*path, i)) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return _scalar(node)
        found: dict[Any, Any] = {}
        for key_node, value in node.value:
            key = _scalar(key_node)
            # YAML 1.1 reads a bare `on` or `1-2` as it likes; a key is what stands there
            key = key if isinstance(key, str) else key_node.value
            if key in found:
                raise InputError(f"{self.file}:{key_node.start_mark.line + 1}: the key '{key}' stands here twice")
            self._lines[*path, key] = key_node.start_mark.line + 1
            found[key] = self._read(value, (*path, key))
        return found


def _scalar(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    value = loader.construct_object(node, deep=True)  # type: ignore[no-untyped-call]
    if isinstance(value, str) and node.tag.endswith(":str") and getattr(node, "style", None) is None:
        # YAML 1.1 takes 1e-3 for text; people mean the number (but mean "nan" and "inf" as they stand)
        try:
            return float(value) if value[:1].isdigit() else value
        except ValueError:
            return value
    return value
