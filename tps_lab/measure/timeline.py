"""Memory over a training step on a GPU, predicted: what is there after every allocation and every free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from tps_lab.errors import InputError
from tps_lab.measure.fake import fake_mode
from tps_lab.measure.live_parts import PARTS
from tps_lab.measure.predict import Setting, modelled, training_step
from tps_lab.measure.replay import matmul_workspace, play


@dataclass(frozen=True)
class Timeline:
    """Of E moments of a step, in their order; time is not modelled. What is freed at once is one moment.

    Attributes:
        parts: part → bytes (E,), as in `predict.Prediction`.
        reserved: bytes (E,) that the allocator has taken from the GPU.
        backward_at, optimizer_at: the moments with which these begin.
    """

    parts: dict[str, np.ndarray]
    reserved: np.ndarray
    backward_at: int
    optimizer_at: int

    @property
    def allocated(self) -> np.ndarray:
        """Bytes (E,) of all parts together."""
        return np.sum(list(self.parts.values()), axis=0)


def timeline(make: Callable[[], nn.Module], setting: Setting) -> Timeline:
    """The second or any later training step of the model that `make` makes (called on torch's meta device).

    Raises:
        InputError: the setting's target is no GPU.

    >>> timeline(lambda: create_model("vit_base_patch16_224", "joint"), Setting(8)).allocated.max()  # doctest: +SKIP
    """
    if setting.target != "cuda":
        raise InputError("memory over a step is predicted for target cuda only")
    mode = fake_mode()
    step = training_step(modelled(make, setting, mode).train(), setting, mode)
    played = play(step.recording, matmul_workspace())
    # of several frees in a row only what is there after the last: before, the two lists differ in their order
    is_free = np.array([size is None for _, size in step.recording.events])
    ends = np.append(~(is_free[:-1] & is_free[1:]), [True] * 4)
    allocated, reserved = np.array(played.course)[ends].T
    parts = dict(zip(PARTS, np.array(step.course)[ends].T, strict=True))
    parts["overhead"] = allocated - np.sum(list(parts.values()), axis=0)
    begin = step.recording.backward_at
    assert begin is not None
    return Timeline(parts, reserved, int(ends[:begin].sum()), int(ends.sum()) - 3)
