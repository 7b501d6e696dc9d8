"""The training loop, from the first step or a checkpoint to the last; AdamW's groups of parameters, and its rate."""

from __future__ import annotations

import math
import re
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tps_lab.data.transforms import mix
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.measure.accuracy import accuracy
from tps_lab.training.checkpoints import Checkpoints, random_state, set_random_state
from tps_lab.training.feed import ClipOrder, Feed, how_many_workers
from tps_lab.training.model import freeze
from tps_lab.training.processes import NoWriter, Team, track

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tps_lab.data import Clips
    from tps_lab.progress import Progress
    from tps_lab.results import runs
    from tps_lab.training.config import Recipe, Regularise, RunConfig

Saved = tuple[dict[str, "Tensor"], dict[str, Any]]  # weights and the rest, as `Checkpoints.newest` gives them


@dataclass
class Loop:
    """All that takes part in a training.

    Args:
        model: on its device; it is trained in place.
        config: with its steps resolved.
        averaged: set by `fit`: the weights' moving average, if the recipe asks for one.
        seconds: set by `fit`: how long it has trained, before interruptions too.
    """

    model: nn.Module
    clips: Clips
    config: RunConfig
    team: Team
    writer: runs.RunWriter | NoWriter
    progress: Progress
    checkpoints: Checkpoints | None = None
    averaged: Any = None
    seconds: float = field(default=0.0, init=False)

    @property
    def result(self) -> nn.Module:
        """The model that is validated, tested and kept."""
        return self.model if self.averaged is None else self.averaged.module

    def fit(self, saved: Saved | None) -> None:
        """Train from the first step, or from where a checkpoint was written.

        Raises:
            KeyboardInterrupt: stopped by hand, and after which step.
            FloatingPointError: the loss is no number.
        """
        recipe, team, device = self.config.recipe, self.team, self.team.device
        freeze(self.model, recipe)
        optimizer = torch.optim.AdamW(parameter_groups(self.model, recipe), lr=recipe.lr, betas=(0.9, recipe.beta2))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, recipe))
        self._prepare_model()
        trained, optimizer = team.accelerator.prepare(self.model, optimizer)
        order = ClipOrder(self.clips.size("train"), recipe.batch, self.config.seed)
        sums, classes = Sums(device), len(self.clips.classes)
        torch.manual_seed(self.config.seed + 1_000_003 * team.index)  # whatever was measured before
        first = 1
        if saved:
            first = 1 + self._restore(saved, optimizer, schedule, order, sums)
        workers = how_many_workers(self.config.workers, self.clips, team.count)
        feed = Feed(self.clips, order, device, team.index, team.count, workers)
        batches = iter(feed)
        started = time.perf_counter() - self.seconds
        trained.train()
        with self.progress.run(self.config.attention.label, recipe.steps) as advance:
            for step in range(first, recipe.steps + 1):
                try:
                    x, y = next(batches)
                    optimizer.zero_grad()
                    parts = recipe.compute.accumulate
                    for i, (x_part, y_part) in enumerate(zip(x.chunk(parts), y.chunk(parts), strict=True)):
                        # gradients of several processes are put together once, after the last part
                        with nullcontext() if i == parts - 1 else team.accelerator.no_sync(trained):
                            logits, loss = logits_and_loss(trained, x_part, y_part, recipe.regularise, classes)
                            team.accelerator.backward(loss if parts == 1 else loss * (len(y_part) / len(y)))
                        sums.add(logits, loss, y_part, len(y_part) / len(y))
                    team.accelerator.clip_grad_norm_(trained.parameters(), recipe.clip_norm)
                    optimizer.step()
                    lr = optimizer.param_groups[0]["lr"]  # of this step
                    schedule.step()
                    if self.averaged is not None:
                        self.averaged.update(self.model, step)
                    self.seconds = time.perf_counter() - started
                    if step % recipe.validate_every == 0 or step == recipe.steps:
                        n = recipe.validate_every if step % recipe.validate_every == 0 else step % recipe.validate_every
                        advance(step, self._report(step, n, sums, lr))
                    else:
                        advance(step, None)
                    self.seconds = time.perf_counter() - started
                    if self.checkpoints and team.agree(self.checkpoints.due(step)):
                        self._save(step, optimizer, schedule, feed, sums)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt(f"stopped by hand after {step - 1} of {recipe.steps} steps") from None
                if self.checkpoints and team.agree(self.checkpoints.stopping):
                    raise KeyboardInterrupt(f"stopped by hand after {step} of {recipe.steps} steps")

    def _prepare_model(self) -> None:
        """What the recipe does to the model before its first step."""
        recipe = self.config.recipe
        if recipe.ema:
            from timm.utils import ModelEmaV3

            self.averaged = ModelEmaV3(self.model, decay=recipe.ema, use_warmup=True)
        if recipe.compute.checkpointing:
            self.model.set_grad_checkpointing(True)  # type: ignore[operator]
        if recipe.compute.compile:
            self.model.compile()

    def _report(self, step: int, steps: int, sums: Sums, lr: float) -> dict[str, float]:
        """Validate and log; returns the figures."""
        mean, right, seen = sums.take(self.team, steps)
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} at step {step}")
        common = {"step": step, "seconds": round(self.seconds, 2)}
        self.writer.log(**common, split="train", loss=mean, top1_pct=round(100 * right / seen, 3), lr=lr)
        val = accuracy(*self.team.predict(self.result, self.clips, "val"), self.clips)
        self.writer.log(**common, split="val", loss=val.loss, top1_pct=val.top1_pct)
        figures = {"train_loss": mean, "val_loss": val.loss, "val_top1_pct": val.top1_pct, "lr": lr}
        track(self.team.accelerator, step, **figures)
        return figures

    # ------------------------------------------------------------------ where it stands

    def _save(self, step: int, optimizer: Any, schedule: Any, feed: Feed, sums: Sums) -> None:
        assert self.checkpoints is not None
        scaler = self.team.accelerator.scaler
        own = self.team.gather({"random": random_state(), "sums": sums.state()})
        state = {
            "step": step,
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "order": feed.state(),
            "processes": own,
            "averaged": {} if self.averaged is None else self.averaged.module.state_dict(),
            "seconds": self.seconds,
            "metrics_bytes": self.writer.metrics_bytes,
        }
        if self.team.is_first:
            self.checkpoints.save(step, self.model.state_dict(), state)

    def _restore(self, saved: Saved, optimizer: Any, schedule: Any, order: ClipOrder, sums: Sums) -> int:
        """Put everything back to where it was; returns the step that it was after."""
        weights, state = saved
        own = state["processes"]
        if len(own) != self.team.count:
            raise InputError(
                f"the checkpoint in {self.writer.folder} is that of {len(own)} processes, this is {self.team.count}: "
                f"continue with {len(own)} processes, or start again in another folder"
            )
        self.model.load_state_dict(weights)
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        if self.team.accelerator.scaler is not None:
            self.team.accelerator.scaler.load_state_dict(state["scaler"])
        if self.averaged is not None:
            self.averaged.module.load_state_dict(state["averaged"])
        order.set_state(state["order"])
        sums.set_state(own[self.team.index]["sums"])
        set_random_state(own[self.team.index]["random"])
        self.seconds = state["seconds"]
        return state["step"]


def logits_and_loss(model: Any, x: Tensor, y: Tensor, how: Regularise, classes: int) -> tuple[Tensor, Tensor]:
    """Clips (B, C, T, H, W) and labels (B,) → logits (B, classes) and mean cross-entropy, as a recipe wants it."""
    from torch.nn.functional import cross_entropy

    if not (how.mixup or how.cutmix):
        logits = model(x)
        return logits, cross_entropy(logits, y, label_smoothing=how.label_smoothing)
    x, target = mix(x, y, classes, how.mixup, how.cutmix, how.label_smoothing)
    logits = model(x)
    return logits, cross_entropy(logits, target)


class Sums:
    """Loss and right answers since the last report, on the device: reading them would make it wait."""

    def __init__(self, device: Any) -> None:
        self.right = torch.zeros((), dtype=torch.long, device=device)
        self.loss = torch.zeros((), device=device)
        self.seen = 0

    def add(self, logits: Tensor, loss: Tensor, y: Tensor, share: float) -> None:
        self.loss += loss.detach() * share if share != 1 else loss.detach()
        self.right += (logits.detach().argmax(1) == y).sum()
        self.seen += len(y)

    def take(self, team: Team, steps: int) -> tuple[float, int, int]:
        """Mean loss of so many steps, right answers and clips, over all processes; begins again at 0."""
        mean = (team.sum(self.loss) / (steps * team.count)).item()
        found = mean, int(team.sum(self.right)), self.seen * team.count
        self.loss.zero_()
        self.right.zero_()
        self.seen = 0
        return found

    def state(self) -> dict[str, Any]:
        return {"right": self.right.cpu(), "loss": self.loss.cpu(), "seen": self.seen}

    def set_state(self, state: dict[str, Any]) -> None:
        self.right.copy_(state["right"])
        self.loss.copy_(state["loss"])
        self.seen = state["seen"]


# ---------------------------------------------------------------------- what AdamW gets


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for AdamW: by factor on the learning rate, the largest first, with and without weight decay.

    Norms, biases and position embeddings have no weight decay. The factor of the classifier is 1.
    """
    factors = _factors(model, recipe)
    groups = []
    for factor in sorted(set(factors.values()), reverse=True) or [1.0]:
        decayed: list[Any] = []
        plain: list[Any] = []
        for name, p in model.named_parameters():
            if factors[name] == factor and p.requires_grad:
                (decayed if _decays(name, p, recipe) else plain).append(p)
        lr = recipe.lr * factor
        groups += [{"params": decayed, "weight_decay": recipe.weight_decay, "lr": lr}]
        groups += [{"params": plain, "weight_decay": 0.0, "lr": lr}]
    return groups


def learning_rate(step: int, recipe: Recipe) -> float:
    """Factor on the peak learning rate at a step: linear warm-up, then cosine to zero."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def _decays(name: str, parameter: Any, recipe: Recipe) -> bool:
    """Whether a parameter is pulled towards zero: a weight matrix is."""
    if parameter.ndim <= 1 or name.endswith(("_embed", "_token")):
        return False
    return recipe.rates.decay_bias_tables or not name.endswith("relative_position_bias_table")


def _factors(model: Any, recipe: Recipe) -> dict[str, float]:
    """Parameter → factor on the peak learning rate."""
    rates = recipe.rates
    names = [name for name, _ in model.named_parameters()]
    factors = dict.fromkeys(names, 1.0)
    if rates.backbone != 1 or rates.layer_decay != 1:
        head = {id(p) for p in model.get_classifier().parameters()}
        is_head = {name: id(p) in head for name, p in model.named_parameters()}
        layers = _layers(model) if rates.layer_decay != 1 else {}
        last = max(layers.values(), default=0) + 1
        for name in names:
            if not is_head[name]:
                factors[name] = rates.backbone * rates.layer_decay ** (last - layers.get(name, last))
    return factors


def _layers(model: Any) -> dict[str, int]:
    """Parameter → how deep it lies, by timm's own grouping of the image model; the classifier's is not asked."""
    from timm.models._manipulate import group_with_matcher

    named = ((name, p) for name, p in model.named_parameters() if not re.search(r"\bhead\b", name))
    return group_with_matcher(named, model.group_matcher(coarse=False), reverse=True)
