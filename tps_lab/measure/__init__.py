"""The shared harness: from a model to figures, each with its unit and where it comes from.

`Step` says how a model is run, and `step.run` runs it. What it does is written down by `trace.Recorder` (kernels) and
`memory.LiveBytes` (storages). From these come multiply-adds, memory, timings, and all of them together: `cost`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tps_lab.lazy import torch

if TYPE_CHECKING:
    from tps_lab.measure.cost_figures import cost as cost
    from tps_lab.measure.cost_figures import costs as costs
    from tps_lab.measure.step import Step as Step
    from tps_lab.measure.timing import compare_latency as compare_latency

_LAZY = {"Step": "step", "compare_latency": "timing", "cost": "cost_figures", "costs": "cost_figures"}
__all__ = ["Step", "best_device", "compare_latency", "cost", "costs"]


def best_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tps_lab.measure' has no attribute '{name}'")
    return getattr(importlib.import_module(f"tps_lab.measure.{_LAZY[name]}"), name)
