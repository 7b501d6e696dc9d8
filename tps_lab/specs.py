"""Small frozen dataclasses that are written as text: "tps(pattern=C, every=2)".

Attention variants and data sets are such specs: their fields are the options of the command line,
the axes of an ablation and the columns of a report, and the text form parses back to the same
object.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from tps_lab.errors import InputError, unknown

S = TypeVar("S", bound="Spec")


@dataclass(frozen=True)
class Spec:
    """Base of everything that has a name, fields with defaults, and a text form."""

    name: ClassVar[str] = ""  # as typed
    title: ClassVar[str] = ""  # as printed in tables and figures

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field[Any]]:
        """The fields by name."""
        return {f.name: f for f in dataclasses.fields(cls)}

    @classmethod
    def summary(cls) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())

    def __str__(self) -> str:
        changed = {k: getattr(self, k) for k, f in self.options().items() if getattr(self, k) != f.default}
        inside = ", ".join(f"{k}={_text(v)}" for k, v in changed.items())
        return f"{self.name}({inside})" if inside else self.name

    @property
    def label(self) -> str:
        """What tables and legends call it: the title, and what differs from the defaults."""
        _, bracket, inside = str(self).partition("(")
        return f"{self.title} ({inside}" if bracket else self.title


def subclasses(base: type[S]) -> dict[str, type[S]]:
    """Every named subclass by name; of two with one name, the later definition (a notebook's).

    A class whose module was unloaded does not count, though Python may keep it for a while.
    """
    return {cls.name: cls for cls in _descendants(base) if cls.name and cls.__module__ in sys.modules}


def parse(kind: str, given: S | str, known: Mapping[str, type[S]], **overrides: Any) -> S:
    """An object from its text form, and fields to override.

    Raises:
        InputError: unknown name, unknown field, or a value that the field cannot take.
    """
    if isinstance(given, str):
        name, texts = split(kind, given)
        if name not in known:
            raise unknown(kind, name, known)
        cls, options = known[name], dict(texts)
    else:
        cls, options = type(given), {name: getattr(given, name) for name in given.options()}
    values = options | overrides
    for name in values:
        if not cls.options():
            raise InputError(f"{kind} '{cls.name}' has no options, got {name}=")
        if name not in cls.options():
            raise unknown(f"option of {kind} '{cls.name}'", name, cls.options())
    return cls(**{name: _value(cls.options()[name], value) for name, value in values.items()})


def split(kind: str, text: str) -> tuple[str, dict[str, str]]:
    """Name and options of a text form, options still as text.

    >>> split("attention variant", "tps(pattern=C, every=2)")
    ('tps', {'pattern': 'C', 'every': '2'})
    """
    match = re.fullmatch(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if not match:
        raise InputError(f"cannot read {kind} {text!r}; expected a form like 'name' or 'name(option=value)'")
    return match[1], dict(_arguments(match[2] or "", text))


def _descendants(base: type[S]) -> Iterator[type[S]]:
    for sub in base.__subclasses__():
        yield sub
        yield from _descendants(sub)


def _arguments(text: str, whole: str) -> Iterator[tuple[str, str]]:
    # Split at commas that stand outside brackets, so that tiles and tuples stay whole.
    for part in re.split(r",(?![^\[(]*[\])])", text):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"'{part.strip()}' in {whole!r} is not of the form option=value")
        yield name.strip(), value.strip()


def _value(field: dataclasses.Field[Any], given: Any) -> Any:
    """Text → what the field holds, judged by the type of its default."""
    default = field.default
    if not isinstance(given, str) or not isinstance(default, (bool, int, float, tuple)):
        return given
    try:
        value = ast.literal_eval(given.capitalize() if given.lower() in ("true", "false") else given)
    except (ValueError, SyntaxError):
        value = given
    if isinstance(default, tuple):
        return tuple(value) if isinstance(value, list) else value
    wanted = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (numeric if isinstance(default, float) else type(value) is type(default)):
        raise InputError(f"{field.name} must be {wanted}, got {given!r}")
    return value


def _text(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, tuple) else str(value)
