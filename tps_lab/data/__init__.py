"""Data sets of short clips. One file each; the directory is the registry, as in `attention`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from tps_lab import specs
from tps_lab.data._base import SPLITS, Clips, Data, Split
from tps_lab.errors import InputError

__all__ = ["SPLITS", "Clips", "Data", "Split", "data_sets", "parse"]

_LARGEST_CLIP = 4 << 30  # bytes, as 32-bit numbers of three channels


def data_sets() -> dict[str, type[Data]]:
    """All data sets by name."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(specs.subclasses(Data).items()))


def parse(given: Data | str, **overrides: Any) -> Data:
    """A data set from its text form, such as "opposites(frames=16)", and fields to override.

    Raises:
        InputError: unknown data set, unknown field or a value that the field cannot take.
    """
    found = specs.parse("data set", given, data_sets(), **overrides)
    frames, size = getattr(found, "frames", 1), getattr(found, "size", 1)
    if (bytes_each := 12 * frames * size**2) > _LARGEST_CLIP:
        raise InputError(
            f"a clip of {frames} frames of {size}×{size} pixels takes {bytes_each / 2**30:.1f} GiB, "
            f"at most {_LARGEST_CLIP >> 30} are meant: fewer frames or a smaller size"
        )
    return found
