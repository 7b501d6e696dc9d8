"""tps_lab: what does a way of mixing space and time buy, and what does it cost?

Importing the package is instant: torch and the model code are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from tps_lab import patterns
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern

__version__ = "0.1.0"

# name → module that holds it; a name equal to its module's last part is the module itself
_LAZY = {
    "attention": "tps_lab.attention",
    "create_model": "tps_lab.backbones",
    "videoize": "tps_lab.backbones",
    "VideoModel": "tps_lab.backbones._video_model",
    "load_official": "tps_lab.backbones",
    "certify": "tps_lab.explain",
    "data": "tps_lab.data",
    "measure": "tps_lab.measure",
    "predict": "tps_lab.training.inference",
    "runs": "tps_lab.results.runs",
    "shift_patches": "tps_lab.attention.patch_shift",
    "statistics": "tps_lab.results.statistics",
    "train": "tps_lab.training.train",
    "viz": "tps_lab.viz",
    "zoo": "tps_lab.zoo",
}
__all__ = ["InputError", "ShiftPattern", "patterns", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tps_lab' has no attribute '{name}'")
    module = importlib.import_module(_LAZY[name])
    return module if _LAZY[name].endswith("." + name) else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
