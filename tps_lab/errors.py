"""The one exception that means "the input is wrong", and the words it is worded with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What was asked for is wrong, and the message says how to put it right.

    The command line prints the message as one clear line and exits with 2; from Python it is an
    ordinary `ValueError`.
    """


def unknown(kind: str, given: str, valid: Iterable[str]) -> InputError:
    """An `InputError` that names the bad value, the nearest valid one and all the others.

    >>> str(unknown("pattern", "Q", ["A", "B"]))
    "unknown pattern 'Q'; expected one of A, B"
    """
    names = list(valid)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(given.casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean '{folded[near[0]]}'? " if near else ""
    return InputError(f"unknown {kind} '{given}'; {hint}expected one of {', '.join(names)}")
