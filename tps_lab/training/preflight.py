"""Before a long run: what it will take, and whether it can work at all.

Reads clips of every split, builds the model with its weights, forecasts memory and time, trying a real step or a
part of one, and adds up disk. What cannot work is a problem, by name; nothing is trained.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tps_lab import data, measure
from tps_lab.errors import InputError
from tps_lab.text import duration
from tps_lab.training.config import RunConfig
from tps_lab.training.forecast import forecast, passes_of, weightless_macs

LONG_MACS = 1e15  # a training of more than this is looked at before it starts: an hour of a slow GPU


@dataclass
class Preflight:
    """What a run will take.

    Args:
        facts: figure → value, with its unit in the name.
        problems: why it cannot work; empty if it can.
        warnings: what may be meant, and is worth knowing.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return {**self.facts, "problems": self.problems, "warnings": self.warnings}

    def text(self) -> str:
        """For the terminal."""
        f = self.facts
        lines = [
            f"clips          {f['clips']['train']:,} train, {f['clips']['val']:,} val, {f['clips']['test']:,} test",
            f"steps          {f['steps']:,} of {f['batch']} clips: {f['processes']} processes × {f['accumulate']} "
            f"parts × {f['clips_per_part']} clips",
            f"learning rate  {f['lr']:g} at the peak, {f['backbone_lr']:g} for the backbone; "
            f"{f['warmup_steps']:,} steps of warm-up",
            f"memory         {f['memory_bytes'] / 2**30:.2f} GiB predicted of {f['device_bytes'] / 2**30:.1f} GiB "
            f"({f['device']})",
            f"one step       {f['step_seconds']:.2f} s, {f['reading_seconds']:.2f} s of it reading clips "
            f"({f['step_how']})",
            f"time           {duration(f['seconds'])}",
            f"disk           {f['disk_bytes'] / 1e9:.2f} GB of {f['disk_free_bytes'] / 1e9:.1f} GB free",
            *(f"warning        {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines + ([f"problem        {problem}" for problem in self.problems] or ["ready"]))


def preflight(config: RunConfig, out: Path, clips: Any = None, processes: int = 1) -> Preflight:
    """Look at everything that a run needs, on this machine.

    Args:
        out: where the run's folder will go.
        clips: the opened data, if it is at hand.
        processes: that will train together.

    Raises:
        InputError: the data cannot be opened or the model not built.
    """
    found = Preflight()
    clips = clips or data.ready(config.data)
    found.facts["clips"] = {split: clips.size(split) for split in data.SPLITS}
    config = config.resolved(clips.size("train"))
    recipe = config.recipe
    device = measure.best_device()
    if recipe.batch > clips.size("train"):
        found.warnings.append(f"a step takes {recipe.batch} clips, and there are {clips.size('train')} to train on")
    if device.type == "cpu" and recipe.precision == "fp16":
        found.problems.append("recipe.precision = fp16 needs a GPU: give bf16 or fp32")
    _data(found, clips)
    costs = forecast(config, clips, processes=processes, tries="nothing" if found.problems else "all")
    found.facts |= {
        "steps": recipe.steps,
        "batch": recipe.batch,
        "processes": processes,
        "accumulate": recipe.compute.accumulate,
        "clips_per_part": costs.part,
        "lr": recipe.lr,
        "backbone_lr": recipe.lr * recipe.rates.backbone,
        "warmup_steps": round(recipe.warmup * recipe.steps),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "training_macs": costs.training_macs,
        "memory_bytes": costs.memory,
        "device_bytes": costs.memory_here,
        "step_seconds": costs.step_seconds,
        "reading_seconds": costs.reading_seconds,
        "step_how": costs.how,
        "seconds": costs.seconds,
    }
    if not costs.fits:
        found.problems.append(
            f"a part of {costs.part} clips needs {costs.memory / 2**30:.1f} GiB, there are "
            f"{costs.memory_here / 2**30:.1f}: raise recipe.compute.accumulate, or set "
            "recipe.compute.checkpointing=true"
        )
    if costs.first_loss is not None:
        found.facts["first_loss"] = round(costs.first_loss, 4)
        if not math.isfinite(costs.first_loss):
            found.problems.append(f"the loss of the first step is {costs.first_loss}")
    _disk(found, costs.weight_bytes, bool(recipe.ema), out)
    return found


def is_long(config: RunConfig, clips: Any) -> bool:
    """Whether a run is worth a preflight that nobody asked for, from its multiply-adds."""
    recipe = config.resolved(clips.size("train")).recipe
    return passes_of(recipe) * weightless_macs(config, clips) * recipe.batch * recipe.steps > LONG_MACS


def _data(found: Preflight, clips: Any) -> None:
    """Read the first and last clip of every split."""
    for split in data.SPLITS:
        if not clips.size(split):
            found.problems.append(f"the data has no {split} clips")
            continue
        try:
            x, y = clips.batch(split, torch.tensor([0, clips.size(split) - 1]))
        except Exception as error:  # whatever the reader says is what is wrong
            found.problems.append(f"{split} clips cannot be read: {error}")
            continue
        if tuple(x.shape[1:]) != tuple(clips.clip_shape):
            found.problems.append(f"{split} clips have shape {tuple(x.shape[1:])}, not {tuple(clips.clip_shape)}")
        if not bool(torch.isfinite(x).all()):
            found.problems.append(f"{split} clips hold values that are no numbers")
        if not 0 <= int(y.min()) <= int(y.max()) < len(clips.classes):
            found.problems.append(f"{split} labels are not 0 to {len(clips.classes) - 1}: {y.tolist()}")
    found.warnings += [note for note in clips.notes if "could not be read" in note or "skipped" in note]


def _disk(found: Preflight, weights: int, averaged: bool, out: Path) -> None:
    """Weights and predictions at the end; on the way two checkpoints, the new one beside the old."""
    needed = weights + 2 * (4 if averaged else 3) * weights + 2**20
    place = next(folder for folder in [out.resolve(), *out.resolve().parents] if folder.exists())
    free = shutil.disk_usage(place).free
    found.facts |= {"disk_bytes": needed, "disk_free_bytes": free}
    if needed > free:
        found.problems.append(
            f"{out} needs {needed / 1e9:.2f} GB for weights and checkpoints, {free / 1e9:.2f} GB are free"
        )
    if not os.access(place, os.W_OK):
        found.problems.append(f"{place} cannot be written")


def refuse(found: Preflight) -> None:
    """Raise what cannot work.

    Raises:
        InputError: all problems in one line.
    """
    if found.problems:
        raise InputError("this run cannot work: " + "; ".join(found.problems))
