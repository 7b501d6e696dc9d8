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
from tps_lab.checkpoints import Checkpoints, random_state, set_random_state
from tps_lab.config import Recipe, RunConfig, make
from tps_lab.errors import InputError, unknown
from tps_lab.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(config: RunConfig, clips: data.Clips) -> nn.Module:
    """The model of a run, with the weights that its seed gives it."""
    import torch

    from tps_lab.backbones import create_model

    torch.manual_seed(config.seed)
    channels, frames, height, _ = clips.clip_shape
    name, options = config.model
    return create_model(
        name,
        config.attention,
        frames=frames,
        tubelet=config.tubelet,
        num_classes=len(clips.classes),
        size=height,
        temporal_position=config.temporal_position,
        in_chans=channels,
        **options,
    )


def train(
    config: RunConfig,
    out: Path,
    clips: data.Clips | None = None,
    cost: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    **more: Any,
) -> runs.Run:
    """One run from start to row.

    Ctrl-C ends the training early and still measures and saves what there is: the row's status is
    then "interrupted". An error or a loss that is not a number gives a row with status "failed".
    With checkpoints, training goes on from the newest one, and Ctrl-C comes out as it is: a run that
    can be continued leaves no row before its end.

    Args:
        out: the folder that the run's own folder goes into.
        clips: the opened data, if several runs share it.
        cost: the figures of `measure.costs`, if they were taken before, in turn with others.
        progress: where to show how far it is.
        checkpoints: where and how often to write them; their folder is the run's folder then.
        **more: what else the row says.

    Raises:
        InputError: the configuration cannot work; nothing is written then.
        OSError: the row cannot be written.
    """
    from accelerate import Accelerator
    from safetensors.torch import save_file

    from tps_lab import measure
    from tps_lab.measure.accuracy import accuracy, evaluate, predict

    clips = clips or data.parse(config.data).opened()
    folder = checkpoints.folder if checkpoints else out / config.folder
    check_trackers(config.trackers)
    accelerator = Accelerator(
        mixed_precision=config.recipe.precision, log_with=list(config.trackers) or None, project_dir=folder
    )
    model = build(config, clips).to(accelerator.device)
    facts = describe(config, clips, model)
    stood = checkpoints.newest() if checkpoints else None
    writer = runs.RunWriter(folder, keep_bytes=stood[1]["metrics_bytes"] if stood else None)
    writer.start(config.model_dump(mode="json"))
    if config.trackers:
        settings = {"run": folder.name, **runs.flat(config.model_dump(mode="json"))}
        accelerator.init_trackers(
            "tps_lab", {key: v if isinstance(v, int | float) else str(v) for key, v in settings.items()}
        )
    started = time.perf_counter()
    row: dict[str, Any] = facts | {"status": "done", "reason": "", "missing": {}, **more, "id": folder.name}
    try:
        row |= cost or measure.cost(model, clips.clip_shape, config.recipe.batch)
        started = time.perf_counter()
        try:
            row["train_seconds"] = _fit(
                model, clips, config, accelerator, writer, progress or Progress(), checkpoints, stood
            )
        except KeyboardInterrupt as stop:
            if checkpoints:
                raise
            row["train_seconds"] = round(time.perf_counter() - started, 2)
            row |= {"status": "interrupted", "reason": str(stop) or "stopped by hand"}
        row["val_top1_pct"] = evaluate(model, clips, "val").top1_pct
        logits, labels = predict(model, clips, "test")
        test = dataclasses.asdict(accuracy(logits, labels, clips))
        row["data_notes"] = list(clips.notes)  # files may have turned out broken on the way
        runs.write_predictions(writer.folder, logits.argmax(1).numpy(), labels.numpy())
        row |= {"test_clips": test.pop("clips"), "test_loss": test.pop("loss")} | test
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, writer.folder / "model.safetensors")
    except Exception as error:
        row |= {"status": "failed", "reason": f"{type(error).__name__}: {error}".splitlines()[0]}
        row["train_seconds"] = round(time.perf_counter() - started, 2)
    finally:
        if config.trackers:
            accelerator.end_training()
    if checkpoints and checkpoints.problem:
        row["checkpoint_problem"] = checkpoints.problem
    done = writer.finish(row)
    if checkpoints and row["status"] == "done":
        checkpoints.clear()
    return done


def check_trackers(names: tuple[str, ...]) -> None:
    """Refuse names that Accelerate has no tracker for, and those whose package is not installed."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise unknown("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name not in {str(getattr(found, "value", found)) for found in get_available_trackers()}:
            raise InputError(f"tracker '{name}' is not installed: pip install {name}")


def restore(run: runs.Run, clips: data.Clips | None = None, **changed: Any) -> nn.Module:
    """The trained model of a run, in eval mode on the CPU; weights are read as tensors only.

    Args:
        clips: the opened data, if it is at hand.
        **changed: keys of the configuration to change, such as another attention variant that takes
            the same weights.

    Raises:
        InputError: the run kept no weights, or they do not fit the changed configuration.
    """
    from safetensors.torch import load_file

    file = run.path / "model.safetensors"
    if not file.exists():
        raise InputError(f"{run.path} holds no weights: the run is {run.row.get('status')}")
    config = make(run.config | changed)
    model = build(config, clips or data.parse(config.data).opened())
    try:
        model.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise InputError(f"the weights of {run.path} do not fit: {str(error).splitlines()[-1].strip()}") from None
    return model.eval()


def describe(config: RunConfig, clips: data.Clips, model: nn.Module) -> dict[str, Any]:
    """The part of the row that is known before training."""
    variant = config.variant
    _, frames, height, _ = clips.clip_shape
    image_model: Any = model.image_model
    grid: Any = getattr(model, "grid", None)  # one for the whole model, as a ViT has it
    patches = (grid.height, grid.width) if grid else getattr(image_model.patch_embed, "grid_size", None)
    stages: Any = getattr(image_model, "layers", None) or getattr(image_model, "stages", ())
    depth = len(getattr(image_model, "blocks", ())) or sum(len(stage.blocks) for stage in stages)
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
        "grid": [frames // config.tubelet, *patches] if patches else None,
        "channels": getattr(image_model, "embed_dim", image_model.num_features),
        "depth": depth,
        **config.recipe.model_dump(),
        "chance_pct": 100 / len(clips.classes),
        "ceiling_pct": None if clips.ceiling is None else 100 * clips.ceiling,
        "ceiling_reason": clips.ceiling_reason,
        "classes": list(clips.classes),
        "twins": clips.twins,
        "data_notes": list(clips.notes),
    }


def _fit(
    model: nn.Module,
    clips: data.Clips,
    config: RunConfig,
    accelerator: Any,
    writer: runs.RunWriter,
    progress: Progress,
    checkpoints: Checkpoints | None,
    stood: tuple[dict[str, Tensor], dict[str, Any]] | None,
) -> float:
    """Train, from where it stood if it did; returns seconds, those before an interruption included."""
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
    seen = 0
    right = torch.zeros((), dtype=torch.long, device=accelerator.device)
    total = torch.zeros((), device=accelerator.device)
    torch.manual_seed(config.seed)  # whatever was measured before
    first, earlier = 1, 0.0
    if stood:
        weights, state = stood
        model.load_state_dict(weights)
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
        order.set_state(state["order"])
        waiting, seen, first, earlier = state["waiting"], state["seen"], state["step"] + 1, state["seconds"]
        right, total = (state[name].to(accelerator.device) for name in ("right", "total"))
        set_random_state(state["random"])
    started = time.perf_counter() - earlier
    trained.train()
    with progress.run(config.variant.label, recipe.steps) as advance:
        for step in range(first, recipe.steps + 1):
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
                    accelerator.log({"train loss": mean, "val top-1 %": val.top1_pct, "lr": lr}, step=step)
                    total.zero_()
                    right.zero_()
                    seen = 0
                    advance(step, f"loss {mean:.3f}, validation {val.top1_pct:.1f} %")
                else:
                    advance(step, None)
                # several processes would each have their own random numbers to keep
                if checkpoints and checkpoints.due(step) and accelerator.num_processes == 1:
                    state = {
                        "step": step,
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else {},
                        "order": order.get_state(),
                        "waiting": waiting.clone(),
                        "seen": seen,
                        "right": right,
                        "total": total,
                        "random": random_state(),
                        "seconds": time.perf_counter() - started,
                        "metrics_bytes": writer.metrics_bytes,
                    }
                    checkpoints.save(step, model.state_dict(), state)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"stopped by hand after {step - 1} of {recipe.steps} steps") from None
    return round(time.perf_counter() - started, 2)


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
