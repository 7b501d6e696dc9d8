"""In what variants differ besides what is asked: settings that buy accuracy by themselves.

What a grid's cases vary is the question. Everything else should be equal: an embedding of time, what enters at
the ends of a clip, parameters within 5 %, recipe, clips, steps. It is worked out from the runs' configurations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tps_lab.results.groups import Group, setting_text, start_of_time
from tps_lab.text import listed

_MOST = 6  # variants named
_NEAR = 1.05  # parameters within 5 % count as equal
_PLAIN = ("frames", "size", "tubelet", "backbone", "depth", "channels", "data", "steps", "batch")
_OWN_CONTENT = {"tcs": "edge", "tsm": "zero"}  # what enters at the ends of a clip under a channel shift
_NAMES = {
    "temporal_position": "embedding of time",
    "start": "what the embedding of time starts as",
    "weights": "weights to begin with",
    "ends": "what enters at the ends of the clip",
}


def beyond(one: Group, other: Group, groups: Sequence[Group]) -> list[str]:
    """What two groups differ in besides what is asked: "embedding of time", "parameters".

    Args:
        groups: all of the question.
    """
    asked = _asked([one, other], groups)
    a, b = _settings(one), _settings(other)
    found = [
        _name(key)
        for key in a
        if key in b and a[key] != b[key] and not _is_asked(key, asked) and None not in (a[key], b[key])
    ]
    counts = [group.one("params") for group in (one, other)]
    if not _is_asked("params", asked) and all(counts) and max(counts) > _NEAR * min(counts):  # type: ignore[type-var,operator]
        found.append("parameters")
    return found


def unequal(groups: Sequence[Group]) -> list[str]:
    """What is not equal over the groups and not asked, each in a sentence with who has what."""
    groups = [group for group in groups if group.done]
    asked = _asked(groups, groups)
    said = []
    of = {id(group): _settings(group) for group in groups}
    for key in dict.fromkeys(key for found in of.values() for key in found):
        levels: dict[str, list[str]] = {}
        for group in groups:
            value = of[id(group)].get(key)
            if value is not None:
                levels.setdefault(_level(key, value), []).append(group.label)
        if len(levels) > 1 and not _is_asked(key, asked):
            parts = sorted(levels.items(), key=lambda level: -len(level[1]))
            shown = [f"{level} ({listed(names, _MOST)})" for level, names in parts]
            said.append(f"{_name(key)[0].upper()}{_name(key)[1:]}: {'; '.join(shown)}.")
    counts = {group.label: count for group in groups if (count := group.one("params"))}
    if counts and not _is_asked("params", asked) and max(counts.values()) > _NEAR * min(counts.values()):
        usual = sorted(counts.values())[(len(counts) - 1) // 2]
        near = _NEAR**0.5  # where the least and the most are too far apart, one of them is as far from the usual
        off = {label: count for label, count in counts.items() if not usual / near <= count <= usual * near}
        named = [f"{label} " + f"{100 * count / usual - 100:+.0f} %".replace("-", "−") for label, count in off.items()]
        said.append(f"Parameters: {listed(named, _MOST)} against the others’ {usual:,.0f}.")
    return said


def _asked(pair: Sequence[Group], groups: Iterable[Group]) -> set[str]:
    """Keys in which these differ and that are the question: every case says something of it, or it alone differs."""
    varied: list[Mapping[str, Any]] = [group.first.get("varied") or {} for group in groups]
    asked = set.intersection(*(set(one) for one in varied)) if varied else set()
    own = [group.first.get("varied") or {} for group in pair]
    asked = {key for key in asked if any(one[key] != own[0][key] for one in own)}
    for i, one in enumerate(own):
        for other in own[i + 1 :]:
            differ = {key for key in {*one, *other} if one.get(key) != other.get(key)}
            if len(differ) == 1:
                asked |= differ
    return asked


def _is_asked(key: str, asked: set[str]) -> bool:
    if key == "ends":
        return "attention.border" in asked
    if key == "start":
        return "temporal_position" in asked
    if key == "params":  # a deeper model has more of them, and that is the question then
        return any(one.startswith(("backbone", "data", "tubelet")) or one == "temporal_position" for one in asked)
    heads = {"frames": "data", "size": "data", "depth": "backbone", "channels": "backbone"}
    head = heads.get(key, key)
    names = {key, head, f"recipe.{key}"}
    return any(one in names or one.startswith(f"{head}.") for one in asked)


def _settings(group: Group) -> dict[str, Any]:
    row = group.first
    found = {key: row.get(key) for key in ("temporal_position", *_PLAIN)} | {"ends": _ends(group)}
    found |= {"start": start_of_time(row), "temporal_position": row.get("temporal_position") and True}
    found["weights"] = row.get("weights") or "none, from scratch"
    config = group.runs[0].config or {}
    recipe = config.get("recipe")
    tuned = {str(key).removeprefix("recipe.") for key in row.get("tuned") or {}}
    if isinstance(recipe, Mapping):
        found |= {f"recipe.{key}": str(value) for key, value in recipe.items() if key not in {"steps", "batch"} | tuned}
    return found


def _ends(group: Group) -> str | None:
    """What enters at the ends of the clip under a shift; None where nothing is shifted."""
    if group.variant is None:
        return None
    border = getattr(group.variant, "border", None)
    return str(border) if border else _OWN_CONTENT.get(group.variant.name)


def _level(key: str, value: Any) -> str:
    if key == "temporal_position":
        return "with one" if value else "without"
    if key == "ends":
        return {"edge": "the end frame’s own content", "zero": "zeros", "circular": "the other end"}.get(value, value)
    return setting_text({key: value}, key) if key in _PLAIN else str(value)


def _name(key: str) -> str:
    return _NAMES.get(key, key.removeprefix("recipe.").replace("_", " "))
