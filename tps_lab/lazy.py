"""torch and timm, which take seconds to import, for modules that are also looked at without them: lists, help, grids.

`from tps_lab.lazy import torch` imports torch when something of it is first used; all else is as with `import torch`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _WhenUsed(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import timm as timm
    import torch as torch
else:
    timm, torch = _WhenUsed("timm"), _WhenUsed("torch")
