"""Train one model on one data set and write down everything.

`train` goes from configuration to row; the loop is in `training.loop`. Device, precision and
several processes are Accelerate's; what is random follows from the seed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab import data, files, measure, plugins
from tps_lab.errors import InputError
from tps_lab.measure.accuracy import accuracy
from tps_lab.progress import Progress
from tps_lab.results import runs
from tps_lab.training import model_cards, processes
from tps_lab.training.checkpoints import Checkpoints
from tps_lab.training.config import RunConfig
from tps_lab.training.loop import Loop, learning_rate
from tps_lab.training.model import build, describe, freeze, restore

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build", "describe", "learning_rate", "restore", "train"]


def train(
    config: RunConfig,
    out: Path,
    clips: data.Clips | None = None,
    cost: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    test: bool = True,
    **more: Any,
) -> runs.Run:
    """One run from start to row.

    Ctrl-C ends the training early and still measures and saves what there is: the row's status is
    then "interrupted". An error or a loss that is not a number gives a row with status "failed".
    With checkpoints, training goes on from the newest one, and Ctrl-C comes out as it is: a run that
    can be continued leaves no row before its end.

    Under `accelerate launch` or `torchrun` several processes train one model together; the first of
    them writes.

    Args:
        out: the folder that the run's own folder goes into.
        clips: the opened data, if several runs share it.
        cost: the figures of `measure.costs`, if they were taken before, in turn with others.
        progress: where to show how far it is.
        checkpoints: where and how often to write them; their folder is the run's folder then.
        test: False reads no test clip and keeps no weights: a trial of a tuning, judged by validation.
        **more: what else the row says.

    Raises:
        InputError: the configuration cannot work; nothing is written then. Or its folder was taken away meanwhile.
        OSError: the row cannot be written.
    """
    from tps_lab.training.forecast import check_memory  # it brings torch

    clips = clips or data.ready(config.data)
    folder = checkpoints.folder if checkpoints else out / config.folder
    content = config.model_dump(mode="json") | {"recipe": config.recipe.content()}
    config = config.resolved(clips.size("train"))
    processes.check_trackers(config.trackers)
    accelerator = processes.accelerator_for(
        mixed_precision={"fp32": "no"}.get(config.recipe.precision, config.recipe.precision),
        log_with=list(config.trackers) or None,
        project_dir=folder,
    )
    team = processes.Team(accelerator)
    team.check(config.recipe)
    check_memory(config, clips, team.count)
    model = build(config, clips).to(accelerator.device)
    facts = describe(config, clips, model)
    saved = checkpoints.newest() if checkpoints else None
    accelerator.wait_for_everyone()  # until all have read what the first is about to change
    writer: runs.RunWriter | processes.NoWriter = processes.NoWriter(folder)
    if team.is_first:
        writer = runs.RunWriter(folder, keep_bytes=saved[1]["metrics_bytes"] if saved else None)
    if config.trackers:
        try:  # in the run's folder, once it is there
            processes.begin_trackers(accelerator, {"run": folder.name, **runs.flat(content)})
        except InputError:
            writer.discard()
            raise
    writer.start(content)
    started = time.perf_counter()
    row: dict[str, Any] = facts | {"status": "done", "reason": "", "missing": {}, **more, "id": folder.name}
    row |= {"processes": team.count} if team.count > 1 else {}
    loop = Loop(model, clips, config, team, writer, progress or Progress(), checkpoints)
    try:
        row |= cost if cost is not None else _cost(model, clips, config, team)
        started = time.perf_counter()
        try:
            loop.fit(saved)
        except KeyboardInterrupt as stop:
            if checkpoints or team.count > 1:
                raise
            loop.seconds = time.perf_counter() - started
            row |= {"status": "interrupted", "reason": str(stop) or "stopped by hand"}
        row["train_seconds"] = round(loop.seconds, 2)
        row |= (_tested(loop) if test else _validated(loop)) | {
            "data_notes": list(clips.notes)
        }  # files may have turned out broken
    except Exception as error:
        if team.count > 1 and not team.is_first:
            raise
        row |= {"status": "failed", "reason": plugins.told(error)}
        row["train_seconds"] = round(time.perf_counter() - started, 2)
    finally:
        if config.trackers:
            processes.end_trackers(accelerator)
    if checkpoints and checkpoints.problem:
        row["checkpoint_problem"] = checkpoints.problem
    if not isinstance(writer, runs.RunWriter):
        accelerator.wait_for_everyone()
        return runs.Run(folder)
    if (folder / "model.safetensors").exists():
        model_cards.write(folder, row, content, config.data.licence, is_video=hasattr(config.data, "path"))
    done = writer.finish(row)
    ended = done.row  # a row that could not be read again was mended
    if checkpoints and ended["status"] == "done":
        checkpoints.clear()
    if team.count > 1 and ended["status"] == "failed":
        raise RuntimeError(ended["reason"])  # the others wait for this process: let the launcher end them
    accelerator.wait_for_everyone()
    return done


def _cost(model: nn.Module, clips: data.Clips, config: RunConfig, team: processes.Team) -> dict[str, Any]:
    """The cost columns, of the recipe's step, measured by the first process while the others wait."""
    from tps_lab.training.forecast import step_of

    freeze(model, config.recipe)
    step = step_of(config, config.recipe.batch)
    found = measure.cost(model, clips.clip_shape, step, measured=True) if team.is_first else {}
    team.accelerator.wait_for_everyone()
    return found


def _validated(loop: Loop) -> dict[str, Any]:
    val = accuracy(*loop.team.predict(loop.result, loop.clips, "val"), loop.clips)
    return {"val_top1_pct": val.top1_pct, "val_loss": val.loss}


def _tested(loop: Loop) -> dict[str, Any]:
    """The accuracy columns; predictions and weights go into the run's folder."""
    from safetensors.torch import save_file

    model, clips, folder = loop.result, loop.clips, loop.writer.folder
    found = _validated(loop)
    logits, labels = loop.team.predict(model, clips, "test")
    test = accuracy(logits, labels, clips).row()
    if loop.team.is_first:
        scores = logits.softmax(1).numpy()
        runs.write_predictions(folder, logits.argmax(1).numpy(), labels.numpy(), scores, clips.names("test"))
        with files.whole(folder / "model.safetensors") as half:
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, half)
    return found | test
