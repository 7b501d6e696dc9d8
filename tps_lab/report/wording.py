"""Figures and lists as sentences say them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tps_lab import specs
from tps_lab.errors import InputError
from tps_lab.report.tables import over
from tps_lab.results.groups import Group, Interval


def listed(words: Sequence[str]) -> str:
    """Words as people list them: "a, b and c", or with semicolons where a comma stands inside one."""
    separator = "; " if any(", " in word for word in words) else ", "
    return " and ".join(words) if len(words) < 3 else f"{separator.join(words[:-1])} and {words[-1]}"


def interval(group: Group, top1: Interval) -> str:
    """What a mean's interval is: "95 % interval over 5 seeds: 55.2–56.9"."""
    return f"95 % interval over {over(group)}: {top1.span}" if top1.over else "interval unknown"


def signed(found: object) -> str:
    """A comparison with true minus signs: "−0.7 (−2.1 to +0.8)"."""
    return str(found).replace("-", "−")


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
