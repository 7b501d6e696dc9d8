"""Data sets of short clips. One file each; the directory is the registry, as in `attention`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tps_lab import specs
from tps_lab.data._base import SPLITS, Clips, Data, DrawnData, Split, batch_of, ready
from tps_lab.data._simulated import Simulated

__all__ = [
    "SPLITS",
    "Clips",
    "Data",
    "DrawnData",
    "Simulated",
    "Split",
    "batch_of",
    "data_sets",
    "opened",
    "parse",
    "ready",
]


def data_sets() -> dict[str, type[Data]]:
    """All data sets by name."""
    specs.import_all(__name__)
    return dict(sorted(specs.subclasses(Data).items()))


def parse(given: Data | str, **overrides: Any) -> Data:
    """A data set from its text form, such as "opposites(frames=16)", and fields to override.

    Raises:
        InputError: unknown data set, unknown field or a value that the field cannot take.
    """
    return specs.parse("data set", given, data_sets(), **overrides)


@lru_cache(maxsize=4)
def opened(spec: Data | str) -> Clips:
    """An opened data set, kept for whatever in this process asks for the same next.

    Raises:
        InputError: as `parse`, or the data cannot be used.
    """
    return ready(parse(spec))
