"""Attention variants: how tokens meet across space and time. One file per idea.

The directory is the registry: a module here that defines a `Variant` with a name is found by
scanning, and so is any subclass defined elsewhere (a notebook, a module given with `--plugin`).
A file that fails to import stops the program with its own error.
"""

from __future__ import annotations

from typing import Any

from tps_lab import specs
from tps_lab.attention._core import Mixer, ScheduledVariant, Variant
from tps_lab.attention._grid import Grid, Routes, partition
from tps_lab.attention._look import Look
from tps_lab.attention._receptive_field import receptive_field
from tps_lab.attention.relations import Place, Relation

__all__ = [
    "Grid", "Look", "Mixer", "Place", "Relation", "Routes", "ScheduledVariant", "Variant", "parse", "partition",
    "receptive_field", "variants",
]  # fmt: skip


def variants() -> dict[str, type[Variant]]:
    """All attention variants by name, those that cost no more than spatial attention first."""
    specs.import_all(__name__)
    found = specs.subclasses(Variant)
    first = [name for name in ("spatial", "tps", "tcs", "tps+tcs") if name in found]
    return {name: found[name] for name in [*first, *sorted(found.keys() - set(first))]}


def around_any_attention() -> list[str]:
    """Variants that only regroup tokens around a backbone's own attention, whatever that is: no kernel, no layers."""
    every = {name: cls() for name, cls in variants().items()}
    return [name for name, one in every.items() if all(type(m) is Mixer for i in range(4) for m in one.block(i, 4))]


def parse(given: Variant | str, **overrides: Any) -> Variant:
    """A variant from its text form, such as "tps(pattern=C, every=2)", and fields to override.

    Raises:
        InputError: unknown variant, unknown field or a value that the field cannot take.

    >>> parse("tps", pattern="A") == parse("tps(pattern=0 1 / -1 0)")
    True
    """
    return specs.parse("attention variant", given, variants(), **overrides)
