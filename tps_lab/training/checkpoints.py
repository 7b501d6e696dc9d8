"""The state of a training, so that it goes on from there bit for bit.

checkpoint-<step>/
    model.safetensors   the weights
    state.pt            optimizer, schedule, random numbers, order of clips, sums not logged yet

A checkpoint is written beside its name and renamed when it is whole and on the disk, so that a
process killed at any moment leaves the one before. Nothing in it is executed when it is read.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import files
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

_NAME = "checkpoint-"


@dataclass
class Checkpoints:
    """The checkpoints of one run, of which the newest is kept.

    Args:
        folder: the run's folder.
        seconds: between checkpoints; how often they are written changes nothing in the results.
        steps: write every so many steps instead.
        problem: why the last one could not be written (a full disk), else empty. Training goes on.
        stopping: set from outside to write one after the step under way, and stop there.
    """

    folder: Path
    seconds: float = 60.0
    steps: int | None = None
    problem: str = ""
    stopping: bool = False
    _last: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Whether a checkpoint should be written after this step."""
        if self.stopping:
            return True
        if self.steps is not None:
            return step % self.steps == 0
        return time.monotonic() - self._last >= self.seconds

    def save(self, step: int, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write a checkpoint and remove those before it; a full disk is noted in `problem`."""
        from safetensors.torch import save_file

        self._last = time.monotonic()
        half, whole = self.folder / f".{_NAME}{step}.{secrets.token_hex(8)}.part", self.folder / f"{_NAME}{step:09d}"
        try:
            half.mkdir()
            save_file({name: value.contiguous() for name, value in weights.items()}, half / "model.safetensors")
            torch.save(state, half / "state.pt")
            for file in [*half.iterdir(), half]:
                files.synced(file)
            half.rename(whole)
            self.problem = ""
        except Exception as error:  # safetensors and torch each have their own for "no space left"
            shutil.rmtree(half, ignore_errors=True)
            self.problem = f"no checkpoint at step {step}: {type(error).__name__}: {error}".splitlines()[0]
            return
        for older in self._all():
            if older != whole:
                shutil.rmtree(older, ignore_errors=True)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and state of the newest checkpoint that can be read, on the CPU; None if there is none."""
        from safetensors.torch import load_file

        for folder in reversed(self._all()):
            try:
                weights = load_file(folder / "model.safetensors")
                return weights, torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
            except Exception:  # a damaged one is as good as none; the reader's errors are many
                continue
        return None

    def newest_step(self) -> int | None:
        """After which step the newest checkpoint was written."""
        found = self._all()
        return int(found[-1].name.removeprefix(_NAME)) if found else None

    def clear(self) -> None:
        """Remove all of them: the run is done."""
        for folder in [*self._all(), *self.folder.glob(f".{_NAME}*.part")]:
            shutil.rmtree(folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        """The newest last; links do not count, nor what others gave such a name."""
        found = self.folder.glob(f"{_NAME}*")
        return sorted(one for one in found if one.name.removeprefix(_NAME).isdigit() and not one.is_symlink())


@contextmanager
def stopped_by_signals(checkpoints: Checkpoints) -> Iterator[None]:
    """Inside it, Ctrl-C, a request to end or a closed terminal lets the step under way end and be kept; a second one
    stops at once. Under nohup a closed terminal means nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def stop(number: int, frame: Any) -> None:
        if checkpoints.stopping:
            raise KeyboardInterrupt
        checkpoints.stopping = True
        with suppress(OSError):  # a terminal that is gone
            print("stopping after this step (Ctrl-C again stops at once)", file=sys.stderr, flush=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def random_state() -> dict[str, Any]:
    """The state of torch's random number generators."""
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": on_gpus}


def set_random_state(state: dict[str, Any]) -> None:
    """Put torch's random number generators back to where they were."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
