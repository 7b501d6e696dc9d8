"""Peak memory measured in a fresh process, so that nothing leaks from one cell to the next.

The caching allocator of a process that has run other models holds their blocks, and what it reserves
tells of them too. A fresh process holds nothing but this model. It also survives running out of memory::

    here                                          python -m tps_lab.measure.fresh FOLDER
      model.pt, job.json in a folder of its own → reads them, measures
      peaks, or why there are none              ← one line of JSON on stdout
"""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch import nn

from tps_lab import children
from tps_lab.measure.memory import PeakMemory, is_out_of_memory, peak_memory

_KILLED = -9  # how Linux ends a process that asks for more memory than the machine has


class OutOfMemory(RuntimeError):
    """The device's memory does not suffice; the text says for what."""


def peak_memory_fresh(model: nn.Module, clip_shape: Iterable[int], batch: int) -> PeakMemory:
    """`memory.peak_memory` in a process of its own, on the model's device.

    A model that cannot be sent to another process (one that holds an open file) is measured in this one,
    and `how` says so.

    Raises:
        OutOfMemory: the model needs more than there is.
        RuntimeError: the process failed otherwise; its last line.
    """
    device, shape = next(model.parameters()).device, list(clip_shape)
    with tempfile.TemporaryDirectory(prefix="tps-lab-") as folder:
        try:
            # by value, what lambdas and classes of a notebook need
            torch.save(copy.deepcopy(model).cpu(), Path(folder, "model.pt"), pickle_module=cloudpickle)
        except (AttributeError, TypeError, ValueError, pickle.PicklingError) as error:
            return _here(model, shape, batch, error)
        job = {"device": str(device), "clip_shape": shape, "batch": batch}
        Path(folder, "job.json").write_text(json.dumps(job))
        run = children.python("-W", "ignore", "-m", "tps_lab.measure.fresh", folder)
        done = subprocess.run(run, capture_output=True, text=True, env=children.environment())
    if done.returncode == _KILLED:
        raise OutOfMemory("out of memory: the machine ended the process")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if "No module named" in last:  # a file that was loaded by its path
            return _here(model, shape, batch, last)
        raise RuntimeError(last)
    answer = json.loads(done.stdout.splitlines()[-1])
    if "out_of_memory" in answer:
        raise OutOfMemory(answer["out_of_memory"])
    return PeakMemory(**answer)


def _here(model: nn.Module, shape: list[int], batch: int, why: Any) -> PeakMemory:
    first = str(why).splitlines()[0]
    try:
        found = peak_memory(model, shape, batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory: {error}".splitlines()[0]) from error
    return dataclasses.replace(found, how=f"{found.how}, not in a fresh process ({first})")


def measure(folder: Path) -> dict[str, Any]:
    """What the fresh process answers: the fields of `PeakMemory`, or out_of_memory with a line."""
    job = json.loads((folder / "job.json").read_text())
    try:
        # our own file, written a moment ago by the process that waits for us: not a checkpoint
        model = torch.load(folder / "model.pt", weights_only=False).to(job["device"])
        found = peak_memory(model, job["clip_shape"], job["batch"])
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {"out_of_memory": f"out of memory: {error}".splitlines()[0]}
    return dataclasses.asdict(dataclasses.replace(found, how=f"{found.how}, in a fresh process"))


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
