"""Before a long run: what it will take, and whether it can work at all.

Reads clips of every split, builds the model with its weights, predicts memory without using any, tries one
real part of a step, and adds up time and disk. What cannot work is a problem, by name; nothing is trained.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tps_lab import data, measure
from tps_lab.errors import InputError
from tps_lab.training.config import RunConfig

_TRAINING = 3  # a training step does the multiply-adds of the forward pass and twice that backwards
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
            f"clips          {f['clips']['train']:,} train, {f['clips']['val']:,} val, {f['clips']['test']:,} test"
        ]
        if "steps" in f:
            lines += [
                f"steps          {f['steps']:,} of {f['batch']} clips: {f['processes']} processes × {f['accumulate']} "
                f"parts × {f['clips_per_part']} clips",
                f"learning rate  {f['lr']:g} at the peak, {f['backbone_lr']:g} for the backbone; "
                f"{f['warmup_steps']:,} steps of warm-up",
            ]
        if f.get("memory_bytes"):
            have = f"of {f['device_bytes'] / 2**30:.1f} GiB" if f.get("device_bytes") else ""
            lines.append(f"memory         {f['memory_bytes'] / 2**30:.2f} GiB predicted {have} ({f['device']})")
        if f.get("step_seconds"):
            lines.append(
                f"one step       {f['step_seconds']:.2f} s, {f['reading_seconds']:.2f} s of it reading clips "
                f"({f['step_how']})"
            )
            lines.append(f"time           {_duration(f['seconds'])}")
        if f.get("disk_bytes"):
            lines.append(f"disk           {f['disk_bytes'] / 1e9:.2f} GB of {f['disk_free_bytes'] / 1e9:.1f} GB free")
        lines += [f"warning        {warning}" for warning in self.warnings]
        lines += [f"problem        {problem}" for problem in self.problems] or ["ready"]
        return "\n".join(lines)


def preflight(config: RunConfig, out: Path, clips: Any = None, processes: int = 1) -> Preflight:
    """Look at everything that a run needs, on this machine.

    Args:
        out: where the run's folder will go.
        clips: the opened data, if it is at hand.
        processes: that will train together.

    Raises:
        InputError: the data cannot be opened or the model not built.
    """
    import torch

    from tps_lab.training.model import build

    found = Preflight()
    clips = clips or data.parse(config.data).opened()
    found.facts["clips"] = {split: clips.size(split) for split in data.SPLITS}
    config = config.resolved(clips.size("train"))
    recipe = config.recipe
    accumulate = recipe.compute.accumulate
    part = math.ceil(recipe.batch / processes / accumulate)
    device = measure.best_device()
    found.facts |= {
        "steps": recipe.steps,
        "batch": recipe.batch,
        "processes": processes,
        "accumulate": accumulate,
        "clips_per_part": part,
        "lr": recipe.lr,
        "backbone_lr": recipe.lr * recipe.rates.backbone,
        "warmup_steps": round(recipe.warmup * recipe.steps),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
    }
    if recipe.batch > clips.size("train"):
        found.warnings.append(f"a step takes {recipe.batch} clips, and there are {clips.size('train')} to train on")
    if device.type == "cpu" and recipe.precision == "fp16":
        found.problems.append("recipe.precision = fp16 needs a GPU: give bf16 or no")
    _data(found, clips)
    model = build(config, clips)
    macs = sum(model.closed_form_macs().values()) if hasattr(model, "closed_form_macs") else 0  # type: ignore[operator]
    found.facts["training_macs"] = _TRAINING * macs * recipe.batch * recipe.steps
    _memory(found, config, clips, part, device)
    if not found.problems:
        _step(found, config, clips, model, part, device)
    _disk(found, model, bool(recipe.ema), out)
    return found


def is_long(config: RunConfig, clips: Any) -> bool:
    """Whether a run is worth a preflight that nobody asked for, from its multiply-adds."""
    from tps_lab.measure.fake import fake_mode, weightless
    from tps_lab.training.model import build

    recipe = config.resolved(clips.size("train")).recipe
    model = weightless(lambda: build(config.model_copy(update={"weights": ""}), clips), fake_mode())
    macs = sum(model.closed_form_macs().values()) if hasattr(model, "closed_form_macs") else 0  # type: ignore[operator]
    return _TRAINING * macs * recipe.batch * recipe.steps > LONG_MACS


def _data(found: Preflight, clips: Any) -> None:
    """Read the first and last clip of every split."""
    import torch

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


def _memory(found: Preflight, config: RunConfig, clips: Any, part: int, device: Any) -> None:
    from tps_lab.measure.predict import Setting, predict
    from tps_lab.training.model import build

    recipe = config.recipe
    target: Any = "cuda" if device.type == "cuda" else "cpu"
    precision = {"no": "fp32"}.get(recipe.precision, recipe.precision)
    setting = Setting(part, precision, "adamw", recipe.compute.checkpointing, True, target)
    bare = config.model_copy(update={"weights": ""})
    needed = predict(lambda: build(bare, clips), setting).training
    have = _device_bytes(device)
    found.facts |= {"memory_bytes": needed, "device_bytes": have}
    if needed > 0.95 * have:
        found.problems.append(
            f"a part of {part} clips needs {needed / 2**30:.1f} GiB, there are {have / 2**30:.1f}: raise "
            "recipe.compute.accumulate, or set recipe.compute.checkpointing=true"
        )


def _step(found: Preflight, config: RunConfig, clips: Any, model: Any, part: int, device: Any) -> None:
    """One real part of a step, or if that would take too long here a part of one clip, twice: the first warms up."""
    import torch

    recipe = config.recipe
    macs = _TRAINING * sum(model.closed_form_macs().values())
    tried = part if device.type == "cuda" or macs * part < 2e11 else 1
    model = model.to(device).train()
    precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.precision)
    if recipe.compute.checkpointing:
        model.set_grad_checkpointing(True)
    reading = computing = 0.0
    for _ in range(2):
        started = time.perf_counter()
        x, y = clips.batch("train", torch.arange(tried) % clips.size("train"), device)
        reading, started = time.perf_counter() - started, time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision is not None):
            loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        computing = time.perf_counter() - started
    if not math.isfinite(loss.item()):
        found.problems.append(f"the loss of the first step is {loss.item()}")
    scale = part / tried * recipe.compute.accumulate
    step = (reading + computing) * scale
    val, test = found.facts["clips"]["val"], found.facts["clips"]["test"]
    validations = -(-recipe.steps // recipe.validate_every) + 1
    per_clip = (reading + computing / _TRAINING) / tried
    found.facts |= {
        "step_seconds": step,
        "reading_seconds": reading * scale,
        "step_how": f"{tried} clips tried, reading and computing one after the other",
        "seconds": recipe.steps * step + (validations * val + test) * per_clip,
        "first_loss": round(loss.item(), 4),
    }
    model.zero_grad()


def _disk(found: Preflight, model: Any, averaged: bool, out: Path) -> None:
    """Weights and predictions at the end; on the way two checkpoints, the new one beside the old."""
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
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


def _device_bytes(device: Any) -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def refuse(found: Preflight) -> None:
    """Raise what cannot work.

    Raises:
        InputError: all problems in one line.
    """
    if found.problems:
        raise InputError("this run cannot work: " + "; ".join(found.problems))
