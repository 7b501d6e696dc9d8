"""The one exception that means "the input is wrong", and the words it is worded with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What was asked for is wrong, and the message says how to put it right.

    The command line prints the message as one clear line and exits with 2; from Python it is an
    ordinary `ValueError`.
    """


def unknown(kind: str, given: str, valid: Iterable[str], more: str = "") -> InputError:
    """An `InputError` that names the bad value, the nearest valid one and all the others, and what `more` says.

    >>> str(unknown("pattern", "Q", ["A", "B"]))
    "unknown pattern 'Q'; expected one of A, B"
    """
    names = list(valid)
    folded = {name.casefold(): name for name in names}
    near = nearest(given.casefold(), folded) if len(given) < 200 else None
    hint = f"did you mean '{folded[near]}'? " if near else ""
    return InputError(
        f"unknown {kind} '{shortened(_visible(given))}'; {hint}expected one of {', '.join(names)}{more and '; '}{more}"
    )


def nearest(given: str, names: Iterable[str]) -> str | None:
    """The name that was most likely meant, if one is near enough; swapped letters count as nearest.

    >>> nearest("tsp", ["tsm", "tps"])
    'tps'
    """
    found = difflib.get_close_matches(given, list(names), n=5, cutoff=0.5)
    return next((name for name in found if sorted(name) == sorted(given)), found[0] if found else None)


def _visible(text: str) -> str:
    """A text with what cannot be seen in it written out: a name with a zero-width blank looks like the right one."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def one_line(error: BaseException) -> str:
    """An exception of other code as one line: "ValueError: why"."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def shortened(text: str, length: int = 80) -> str:
    """A text that somebody gave, as far as an error needs it.

    >>> shortened("x" * 100, length=5)
    'xxxxx…'
    """
    return text if len(text) <= length else text[:length] + "…"
