"""Small frozen dataclasses that are written as text: "tps(pattern=C, every=2)".

Attention variants and data sets are such specs: their fields are the options of the command line,
the axes of an ablation and the columns of a report, and the text form parses back to the same
object, whatever a field holds. How it is written::

    name(option=value, option="text, with a comma", option=[1,2])

A bare value ends at a comma outside brackets. Text in quotes is that text; in double quotes \\" \\\\ \\n
and \\u00e9 mean what they mean in JSON. What a bare value is follows from the type of its field.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import math
import operator
import os
import pkgutil
import re
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from tps_lab import plugins
from tps_lab.errors import InputError, shortened, unknown

S = TypeVar("S", bound="Spec")
Kind = Literal["bool", "int", "float", "tuple", "text"]
Limits = Mapping[str, tuple[float, float]]

LARGEST = 2**63 - 1  # whole numbers; torch and NumPy hold no larger ones
_LONGEST = 20_000  # characters of a text form
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOTHING = ("none", "null", "~")


class Quoted(str):
    """Text that stood in quotes: never a number, a switch or nothing."""


@dataclass(frozen=True)
class Spec:
    """Base of everything that has a name, fields with defaults, and a text form."""

    name: ClassVar[str] = ""  # as typed
    title: ClassVar[str] = ""  # as printed in tables and figures
    kind: ClassVar[str] = ""  # what it is one of, in errors
    # what a number may be at most, either way of 0; and the range of those that a class gives one of their own
    largest: ClassVar[int] = LARGEST
    limits: ClassVar[Limits] = {}

    def __post_init__(self) -> None:
        """Refuse a word that is none of a field's, a number that is not finite, not whole or out of its range.

        A subclass that has a `__post_init__` of its own calls this.

        Raises:
            InputError: which field, and what it may be.
        """
        words, limits = _words(type(self)), ChainMap(*(vars(cls).get("limits", {}) for cls in type(self).__mro__))
        for name, field in self.options().items():
            value, what = getattr(self, name), f"{name} of {self.kind} '{self.name}'"
            if name in words and value not in words[name]:
                raise unknown(name, str(value), words[name])
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{what} must be a finite number, got {value}")
            if kind_of(field) == "int" and not (value is None or isinstance(value, int)):
                raise InputError(f"{what} must be a whole number, got {shortened(repr(value))}")
            most = math.inf if isinstance(value, float) else self.largest
            low, high = limits.get(name, (-most, most))
            if isinstance(value, (int, float)) and not low <= value <= high:
                got = value if abs(value) < LARGEST else f"10^{math.floor(math.log10(abs(value)))} or more"
                raise InputError(f"{what} must be from {low:,} to {high:,}, got {got}")

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
        return written(self.name, {k: _bare(v, self.options()[k]) for k, v in changed.items()})

    @property
    def label(self) -> str:
        """What tables and legends call it: the title, and what differs from the defaults."""
        _, bracket, inside = str(self).partition("(")
        return f"{self.title} ({inside}" if bracket else self.title


_WORDS: WeakKeyDictionary[type, dict[str, tuple[Any, ...]]] = WeakKeyDictionary()  # a notebook's classes may go


def _words(cls: type) -> dict[str, tuple[Any, ...]]:
    """Fields that take one of a few words (`Literal`) → these; none of a class whose types are not there."""
    if cls not in _WORDS:
        try:
            hints = get_type_hints(cls)
        except NameError:
            hints = {}
        _WORDS[cls] = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
    return _WORDS[cls]


@functools.cache
def import_all(package: str) -> None:
    """Import every module of a package but those that begin with "_"; once in a process, as to look takes long."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")


def subclasses(base: type[S]) -> dict[str, type[S]]:
    """Every named subclass by name; of two with one name in one place, the later definition (a notebook's).

    A class whose module was unloaded does not count, though Python may keep it for a while.

    Raises:
        InputError: somebody else's class has the name of one of the package's, or two plugins' classes share one:
            their results would be mixed up.
    """
    # of a class that is defined again, under whatever name, the last definition
    defined = {(cls.__module__, cls.__qualname__): cls for cls in _descendants(base)}.values()
    named = [cls for cls in defined if cls.name and cls.__module__ in sys.modules]
    ours = {cls.name: cls for cls in named if _is_ours(cls)}
    found: dict[str, type[S]] = {}
    for cls in named:
        if cls.name in ours and not _is_ours(cls):
            raise InputError(
                f"the name '{cls.name}' of {cls.__qualname__} in {plugins.place(cls.__module__)} is taken by the "
                f"package itself ({ours[cls.name].__module__}): take another"
            )
        plugins.refuse_shared(cls.kind, cls.name, found.setdefault(cls.name, cls).__module__, cls.__module__)
        found[cls.name] = cls
    return found


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def parse(kind: str, given: S | str, known: Mapping[str, type[S]], **overrides: Any) -> S:
    """An object from its text form, and fields to override.

    Raises:
        InputError: unknown name, unknown field, or a value that the field cannot take.
    """
    if isinstance(given, str):
        name, texts = split(kind, given)
        if name not in known:
            raise unknown(kind, name, known, "one of your own wants --plugin FILE.py")
        cls, options = known[name], dict(texts)
    elif isinstance(given, Spec):
        cls, options = type(given), {name: getattr(given, name) for name in given.options()}
    else:
        raise InputError(f"{kind} must be text, such as '{next(iter(known), 'name')}', got {shortened(repr(given))}")
    values = options | overrides
    for name in values:
        if not cls.options():
            raise InputError(f"{kind} '{cls.name}' has no options, got {name}=")
        if name not in cls.options():
            raise unknown(f"option of {kind} '{cls.name}'", name, cls.options())
    return cls(**{name: value_of(cls.options()[name], value) for name, value in values.items()})


def split(kind: str, text: str) -> tuple[str, dict[str, str]]:
    """Name and options of a text form, options still as text; those that stood in quotes are `Quoted`.

    >>> split("attention variant", "tps(pattern=C, every=2)")
    ('tps', {'pattern': 'C', 'every': '2'})
    """
    if len(text) > _LONGEST:
        raise InputError(f"{kind} of {len(text)} characters, at most {_LONGEST}: {shortened(text)}")
    match = re.fullmatch(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if not match:
        raise InputError(f"cannot read {kind} {shortened(text)!r}; expected a form like 'name' or 'name(option=value)'")
    found: dict[str, str] = {}
    for name, value in _arguments(match[2] or "", text):
        if name in found:
            raise InputError(f"'{name}' is given twice in {shortened(text)!r}")
        found[name] = value
    return match[1], found


def written(name: str, options: Mapping[str, str]) -> str:
    """The text form of a name and its options as they are written."""
    inside = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{name}({inside})" if inside else name


def text_in_quotes(text: str) -> str:
    """A text as `split` reads it back, with quotes only where it needs them.

    >>> print(text_in_quotes("my videos"), text_in_quotes("cats, dogs"))
    my videos "cats, dogs"
    """
    try:
        if text.isprintable() and list(_arguments(f"x={text}", text)) == [("x", text)] and not text.startswith('"'):
            return text
    except InputError:
        pass
    return json.dumps(text, ensure_ascii=not text.isprintable())


def unquoted(text: str) -> str:
    """Text that people may have put in quotes, without them; then it is `Quoted`."""
    match = _QUOTED.fullmatch(text)
    return _in_quotes(text) if match else text


def kind_of(field: dataclasses.Field[Any]) -> Kind:
    """What a field holds, by its default; by its annotation where the default is None."""
    default = field.default
    for kind in (bool, int, float, tuple):
        if isinstance(default, kind):
            return kind.__name__  # type: ignore[return-value]
    if default is None:
        named = re.match(r"(bool|int|float|tuple)\b", str(getattr(field.type, "__name__", field.type)))
        return named[1] if named else "text"  # type: ignore[return-value]
    return "text"


def value_of(field: dataclasses.Field[Any], given: Any) -> Any:
    """Text or a Python value → what the field holds.

    Raises:
        InputError: it is of another kind, not finite, or beyond what tensors hold.
    """
    kind = kind_of(field)
    if given is None or (field.default is None and _is_bare(given) and given.lower() in _NOTHING):
        return given if not _is_bare(given) else None
    if kind == "text":
        if isinstance(field.default, str) and not isinstance(given, str):
            return os.fspath(given) if isinstance(given, os.PathLike) else str(given)
        return str(given) if isinstance(given, str) else given
    read = {"bool": switch, "int": whole, "float": number, "tuple": _row}[kind]
    value = read(given)
    if value is None:
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number", "tuple": "a list"}[kind]
        if kind in ("int", "float") and re.fullmatch(r"[-+]?(\d+|nan|inf)", str(given)):
            wanted += " that is finite and below 2^63"
        raise InputError(f"{field.name} must be {wanted}, got {shortened(str(given))!r}")
    return value


def switch(given: Any) -> bool | None:
    """True or false, as Python or YAML write it; None for anything else."""
    if isinstance(given, bool):
        return given
    return _SWITCH.get(given.strip().lower()) if _is_bare(given) else None


def whole(given: Any) -> int | None:
    """A whole number below 2^63, of a number or its text (12, 0x10, 1e3); None for anything else."""
    if isinstance(given, bool):
        return None
    if _is_bare(given):
        text = given.strip()
        if len(text) > 40:
            return None
        if re.fullmatch(r"[-+]?(\d+(_\d+)*|0[xX][0-9a-fA-F]+)", text, re.ASCII):
            given = int(text, 16) if "x" in text.lower() else int(text)
        elif re.fullmatch(r"[-+]?\d+(\.\d*)?[eE]\+?\d{1,2}", text, re.ASCII):
            given = int(float(text)) if float(text).is_integer() else None
        else:
            return None
    try:
        value = int(given) if isinstance(given, float) and given.is_integer() else operator.index(given)
    except TypeError:
        return None
    return value if abs(value) <= LARGEST else None


def number(given: Any) -> float | None:
    """A finite number, of a number or its text; None for anything else."""
    if isinstance(given, bool):
        return None
    as_whole = whole(given)
    if as_whole is not None and not (isinstance(given, str) and re.search(r"[.eE]", given)):
        return as_whole
    try:
        value = float(given) if not isinstance(given, str) or (_is_bare(given) and len(given) <= 40) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _row(given: Any) -> Any:
    if isinstance(given, str):
        inside = re.fullmatch(r"\s*(?:\[(.*)\]|\((.*)\)|([^\[\]()]*))\s*", given, re.DOTALL)
        if not inside:
            return None
        parts = [part.strip() for part in (inside[1] or inside[2] or inside[3] or "").split(",")]
        given = [part for part in parts if part]
        numbers = [number(part) for part in given]
        return tuple(n if n is not None else part for n, part in zip(numbers, given, strict=True))
    return tuple(given) if isinstance(given, (list, tuple)) else given


def _is_bare(given: Any) -> bool:
    return isinstance(given, str) and not isinstance(given, Quoted)


def _descendants(base: type[S]) -> Iterator[type[S]]:
    for sub in base.__subclasses__():
        yield sub
        yield from _descendants(sub)


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'', re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}


def _in_quotes(text: str) -> Quoted:
    if text[0] == "'":
        return Quoted(text[1:-1].replace("''", "'"))

    def meant(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, match[0])

    read = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", meant, text[1:-1], flags=re.DOTALL)
    # JSON writes what lies beyond 16 bits as two halves
    halves = "[\ud800-\udbff][\udc00-\udfff]"
    return Quoted(re.sub(halves, lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), read))


def _arguments(text: str, whole_text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        if text[position] == "," or text[position].isspace():
            position += 1
            continue
        end = _end_of_bare(text, position, whole_text)
        name, equals, _ = text[position:end].partition("=")
        if not equals or not name.strip():
            part = shortened(text[position:end].strip())
            raise InputError(f"'{part}' in {shortened(whole_text)!r} is not of the form option=value")
        start = position + len(name) + 1
        start += len(text[start:]) - len(text[start:].lstrip())
        if quoted := _QUOTED.match(text, start):
            position = quoted.end()
            rest = text[position:].lstrip()
            if rest and rest[0] != ",":
                raise InputError(f"after {shortened(quoted[0])} in {shortened(whole_text)!r} a comma is expected")
            yield name.strip(), _in_quotes(quoted[0])
            continue
        yield name.strip(), text[start:end].strip()
        position = end


def _end_of_bare(text: str, start: int, whole_text: str) -> int:
    """Where an option that begins at `start` ends: at a comma outside brackets and quotes."""
    depth = 0
    at = start
    while at < len(text):
        sign = text[at]
        # a quote counts at the beginning of a value and inside brackets; elsewhere it is an apostrophe
        if sign in "\"'" and (depth or text[start:at].rstrip().endswith("=")) and (quoted := _QUOTED.match(text, at)):
            at = quoted.end()
            continue
        if sign == "," and not depth:
            return at
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            break
        at += 1
    if depth:
        raise InputError(
            f"brackets do not match in {shortened(text[start:])!r} of {shortened(whole_text)!r}; "
            'put text with brackets or commas into quotes: option="…"'
        )
    return at


def _bare(value: Any, field: dataclasses.Field[Any]) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(map(str, value)) + "]"
    if isinstance(value, str):
        if field.default is None and value.lower() in _NOTHING:
            return json.dumps(value)
        return text_in_quotes(value)
    text = str(value)
    return text_in_quotes(text) if kind_of(field) == "text" and value is not None else text
