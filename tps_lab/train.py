"""Train one model on one data set and write down everything: the loop, short enough to read.

Device, precision and several processes are Accelerate's; what is random follows from the seed.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import data, runs
from tps_lab.config import Recipe, RunConfig
from tps_lab.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(config: RunConfig, clips: data.Clips) -> nn.Module:
    """The model of a run, with the weights that its seed gives it."""
    import torch

    from tps_lab.backbones import create_model

    torch.manual_seed(config.seed)
    channels, frames, height, _ = clips.clip_shape
    return create_model(
        config.backbone,
        config.attention,
        frames=frames,
        tubelet=config.tubelet,
        num_classes=len(clips.classes),
        size=height,
        temporal_position=config.temporal_position,
        in_chans=channels,
    )


def train(
    config: RunConfig,
    out: Path,
    clips: data.Clips | None = None,
    cost: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> runs.Run:
    """One run from start to row.

    Ctrl-C ends the training early and still measures and saves what there is: the row's status is
    then "interrupted". An error or a loss that is not a number gives a row with status "failed".

    Args:
        out: the folder that the run's own folder goes into.
        clips: the opened data, if several runs share it.
        cost: the figures of `measure.costs`, if they were taken before, in turn with others.
        progress: where to show how far it is.

    Raises:
        InputError: the configuration cannot work; nothing is written then.
    """
    from accelerate import Accelerator
    from safetensors.torch import save_file

    from tps_lab import measure
    from tps_lab.measure.accuracy import accuracy, evaluate, predict

    clips = clips or data.parse(config.data).opened()
    accelerator = Accelerator(mixed_precision=config.recipe.precision)
    model = build(config, clips).to(accelerator.device)
    facts = describe(config, clips, model)
    writer = runs.RunWriter(out / config.folder)
    writer.start(config.model_dump(mode="json"))
    started = time.perf_counter()
    row: dict[str, Any] = facts | {"status": "done", "reason": "", "missing": {}}
    try:
        row |= cost or measure.cost(model, clips.clip_shape, config.recipe.batch)
        started = time.perf_counter()
        try:
            _fit(model, clips, config, accelerator, writer, progress or Progress())
        except KeyboardInterrupt as stop:
            row |= {"status": "interrupted", "reason": str(stop) or "stopped by hand"}
        row["train_seconds"] = round(time.perf_counter() - started, 2)
        row["val_top1_pct"] = evaluate(model, clips, "val").top1_pct
        logits, labels = predict(model, clips, "test")
        test = dataclasses.asdict(accuracy(logits, labels, clips))
        runs.write_predictions(writer.folder, logits.argmax(1).numpy(), labels.numpy())
        row |= {"test_clips": test.pop("clips"), "test_loss": test.pop("loss")} | test
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, writer.folder / "model.safetensors")
    except Exception as error:
        row |= {"status": "failed", "reason": f"{type(error).__name__}: {error}".splitlines()[0]}
        row["train_seconds"] = round(time.perf_counter() - started, 2)
    return writer.finish(row)


def describe(config: RunConfig, clips: data.Clips, model: nn.Module) -> dict[str, Any]:
    """The part of the row that is known before training."""
    variant = config.variant
    _, frames, height, _ = clips.clip_shape
    grid: Any = model.grid
    return {
        "id": config.folder,
        "name": config.name or variant.label,
        "attention": config.attention,
        "label": variant.label,
        "variant": variant.name,
        "pattern": str(getattr(variant, "pattern", "")),
        "backbone": config.backbone,
        "data": config.data,
        "seed": config.seed,
        "frames": frames,
        "size": height,
        "tubelet": config.tubelet,
        "temporal_position": getattr(model, "temporal_embed", None) is not None,
        "grid": [grid.frames, grid.height, grid.width],
        "channels": model.image_model.embed_dim,  # type: ignore[union-attr]
        "depth": len(model.image_model.blocks),  # type: ignore[union-attr, arg-type]
        **config.recipe.model_dump(),
        "chance_pct": 100 / len(clips.classes),
        "ceiling_pct": None if clips.ceiling is None else 100 * clips.ceiling,
        "ceiling_reason": clips.ceiling_reason,
        "classes": list(clips.classes),
        "twins": clips.twins,
        "data_notes": list(clips.notes),
    }


def _fit(
    model: nn.Module, clips: data.Clips, config: RunConfig, accelerator: Any, writer: runs.RunWriter, progress: Progress
) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    from tps_lab.measure.accuracy import evaluate

    recipe = config.recipe
    decayed, plain = _split_for_decay(model)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, recipe.beta2))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, recipe))
    trained, optimizer = accelerator.prepare(model, optimizer)
    order = torch.Generator().manual_seed(config.seed)
    waiting: Tensor = torch.empty(0, dtype=torch.long)
    seen = right = 0
    total = torch.zeros((), device=accelerator.device)
    started = time.perf_counter()
    trained.train()
    with progress.run(config.variant.label, recipe.steps) as advance:
        for step in range(1, recipe.steps + 1):
            try:
                while len(waiting) < recipe.batch:  # every clip once before any comes again
                    waiting = torch.cat([waiting, torch.randperm(clips.size("train"), generator=order)])
                index, waiting = waiting[: recipe.batch], waiting[recipe.batch :]
                index = index[accelerator.process_index :: accelerator.num_processes]
                x, y = clips.batch("train", index, accelerator.device)
                logits = trained(x)
                loss = cross_entropy(logits, y)
                optimizer.zero_grad()
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(trained.parameters(), recipe.clip_norm)
                optimizer.step()
                schedule.step()
                total += loss.detach()
                right += (logits.detach().argmax(1) == y).sum()
                seen += len(y)
                if step % recipe.validate_every == 0 or step == recipe.steps:
                    n = recipe.validate_every if step % recipe.validate_every == 0 else step % recipe.validate_every
                    mean = (total / n).item()
                    if not math.isfinite(mean):
                        raise FloatingPointError(f"the loss is {mean} at step {step}")
                    common = {"step": step, "seconds": round(time.perf_counter() - started, 2)}
                    lr = optimizer.param_groups[0]["lr"]
                    writer.log(**common, split="train", loss=mean, top1_pct=round(100 * int(right) / seen, 3), lr=lr)
                    val = evaluate(model, clips, "val")
                    writer.log(**common, split="val", loss=val.loss, top1_pct=val.top1_pct)
                    total.zero_()
                    seen = right = 0
                    advance(step, f"loss {mean:.3f}, validation {val.top1_pct:.1f} %")
                else:
                    advance(step, None)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"stopped by hand after {step - 1} of {recipe.steps} steps") from None


def learning_rate(step: int, recipe: Recipe) -> float:
    """Factor on the peak learning rate at a step: linear warm-up, then cosine to zero."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def _split_for_decay(model: nn.Module) -> tuple[list[Any], list[Any]]:
    """Weight matrices, and what weight decay leaves alone: norms, biases, position embeddings."""
    decayed: list[Any] = []
    plain: list[Any] = []
    for name, p in model.named_parameters():
        (plain if p.ndim <= 1 or name.endswith(("_embed", "_token")) else decayed).append(p)
    return decayed, plain
