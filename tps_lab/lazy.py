"""torch and timm, which take seconds to import, for modules that are also looked at without them: lists, help, grids;
and what makes such waits shorter.

`from tps_lab.lazy import torch` imports torch when something of it is first used; all else is as with `import torch`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _WhenUsed(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if self.__name__ not in sys.modules:  # only the first use waits, and is worth hurrying
            with uncollected():
                importlib.import_module(self.__name__)
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import timm as timm
    import torch as torch
else:
    timm, torch = _WhenUsed("timm"), _WhenUsed("torch")


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's collector, which looks for cycles that imports and steps on fake tensors do not make: the steps
    are a quarter faster."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@cache
def end_quickly() -> None:
    """Let this process end without looking for cycles among the half million objects of torch and timm, none of which
    need any: that takes longer than a second."""
    atexit.register(gc.freeze)
