"""The axes of a grid: how cases are named by them ("frames=16", "temporal_position=on"), and what varies along one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tps_lab import specs
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from tps_lab.results.groups import Group


def level_text(value: Any) -> str:
    """A value of an axis: "on", "16", "zero"."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def short(axis: str) -> str:
    """An axis without what it is an option of: "border" for attention.border."""
    return axis.rpartition(".")[2]


def of_several(varied: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Axes that have several values → these, in the order in which they come.

    Args:
        varied: of each case, axis → value.
    """
    found: dict[str, dict[str, Any]] = {}
    for values in varied:
        for key, value in values.items():
            found.setdefault(key, {}).setdefault(repr(value), value)
    return {key: list(levels.values()) for key, levels in found.items() if len(levels) > 1}


@dataclass(frozen=True)
class Line:
    """Cases that differ in one axis alone.

    Args:
        name: what their labels have in common.
        at: the axis' value, as tables write it → the group.
    """

    name: str
    at: dict[str, Group]


def lines(groups: Sequence[Group], axis: str) -> list[Line]:
    """The groups along an axis ("attention.border"), in their order; groups without that axis are left out."""
    found: dict[str, dict[str, Group]] = {}
    for group in groups:
        varied = dict(group.first.get("varied") or {})
        if axis in varied:
            level = level_text(varied.pop(axis))
            found.setdefault(repr(sorted(varied.items())), {})[level] = group
    return [Line(_in_common([group.label for group in at.values()]), at) for at in found.values()]


def axis_to_draw(groups: Sequence[Group], asked: str | None = None) -> str | None:
    """The axis that is worth a picture: the one asked for, else the one of numbers; None if there is none.

    One axis alone is a table's column, so there must be another beside it.
    """
    several = of_several(group.first.get("varied") or {} for group in groups)
    if len(several) < 2:
        return None
    if asked in several:
        return asked
    numbers = [key for key, values in several.items() if all(type(value) in (int, float) for value in values)]
    return numbers[0] if len(numbers) == 1 else None


def _in_common(labels: Sequence[str]) -> str:
    parts = [label.split(", ") for label in labels]
    return ", ".join(part for part in parts[0] if all(part in other for other in parts)) or labels[0]


# axis → how people say that a case has a value of it
_SPOKEN: dict[str, str | dict[str, str]] = {
    "temporal_position": {
        "on": "with an embedding of time",
        "off": "without an embedding of time",
        "sines": "with an embedding of time that starts as sines",
        "zeros": "with an embedding of time that starts at zero",
    },
    "border": "{} border",
    "frames": "{} frames",
    "depth": "{} blocks",
    "size": "{} pixels",
    "steps": "{} steps",
    "batch": "batches of {}",
    "lr": "learning rate {}",
    "pattern": "pattern {}",
    "tubelet": "tubelets of {}",
    "stages": "stages {}",
    "shift_back": {"on": "shifted back", "off": "not shifted back"},
    "mirror": {"on": "mirrored clips", "off": "no mirrored clips"},
    **dict.fromkeys(("attention", "backbone", "data", "weights"), "{}"),
}
_AXES = {
    "temporal_position": "embedding of time",
    "border": "what enters at the ends of a clip",
    "frames": "frames",
    "depth": "blocks",
    "pattern": "pattern",
    "lr": "learning rate",
    "position_bias": "position bias",
}


def phrase(axis: str, level: str) -> str:
    """A value of an axis as people say it.

    >>> phrase("temporal_position", "on"), phrase("attention.border", "edge")
    ('with an embedding of time', 'edge border')
    """
    known = _SPOKEN.get(short(axis), f"{axis_name(axis)} {{}}")
    return known.get(level, f"{axis_name(axis)} {level}") if isinstance(known, dict) else known.format(level)


def axis_name(axis: str) -> str:
    """An axis as people say it.

    >>> axis_name("attention.border")
    'what enters at the ends of a clip'
    """
    return _AXES.get(short(axis), short(axis).replace("_", " "))


def spoken(case: str) -> str:
    """A grid's case as people say it.

    >>> spoken("spatial, temporal_position=on")
    'spatial, with an embedding of time'
    """
    parts = re.split(r", (?![^(]*\))", case)
    said = [phrase(*part.split("=", 1)) if re.fullmatch(r"[a-z_]+=[^=(]+", part) else part for part in parts]
    return ", ".join(said)


def data_names(by: Mapping[str, Sequence[Group]]) -> list[str]:
    """Data sets (`groups.by_data`) as the grid calls them, if it does; else by what tells their text forms apart."""
    asked = [{(group.first.get("varied") or {}).get("data") for group in groups} for groups in by.values()]
    named = [str(*names) for names in asked if len(names) == 1 and None not in names]
    return spoken_data(named if len(set(named)) == len(by) else list(by))


def beside(label: str, data: Any) -> str:
    """A case's name where its data set is named beside it."""
    return label.removeprefix(f"{data}, ").removesuffix(f", {data}")


def spoken_data(texts: Sequence[str]) -> list[str]:
    """Data sets as people say them: their names, and of those with one name what tells them apart.

    >>> spoken_data(["speed(val=384)", "clips(path=a, task=order)", "clips(path=b, task=order)"])
    ['speed', 'clips, path a', 'clips, path b']
    """
    parts: list[tuple[str, dict[str, str]]] = []
    for text in texts:
        try:
            parts.append(specs.split("data", text))
        except InputError:
            parts.append((text, {}))
    times = Counter(name for name, _ in parts)
    found = []
    for name, options in parts:
        others = [given for other, given in parts if other == name]
        apart = [f"{k} {v}" for k, v in options.items() if any(given.get(k) != v for given in others)]
        found.append(", ".join([name, *apart]) if times[name] > 1 else name)
    return found if len(set(found)) == len(found) else list(texts)
