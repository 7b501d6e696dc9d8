"""Commands that train: quickstart, train, ablate."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_lab import files
from tps_lab.cli._shared import (
    Json,
    Quiet,
    Set,
    Timing,
    amount,
    app,
    count,
    exit_by_status,
    finish,
    pairs,
    print_json,
    print_table,
    run_values,
    say,
    settings,
)
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern, gallery

if TYPE_CHECKING:
    from tps_lab.data import Clips
    from tps_lab.progress import Progress
    from tps_lab.results.runs import Run
    from tps_lab.training.config import RunConfig


# of the quickstart's cases; the others only with --full
_FEW = ("Spatial", "TPS-A", "TPS-C", "TPS+TCS", "Joint", "Divided (T+S)")


@app.command(epilog="tps-lab quickstart --seeds 3 --out reports/mine")
def quickstart(
    seeds: Annotated[int, count("Runs per variant; 3 or more give intervals over seeds.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the report and its runs.")] = Path("reports/quickstart"),
    full: Annotated[bool, typer.Option("--full", help="1,000 steps, more variants and patterns.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run finished runs again.")] = False,
    jobs: Annotated[int | None, count("Runs at a time. [default: one per core, or one on a GPU]", high=256)] = None,
    timing_seconds: Timing = 3.0,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a few attention variants on moving digits, in minutes.

    Trains and measures each, and writes a report.
    """
    from tps_lab import ablate as ablations
    from tps_lab import report
    from tps_lab.report import render
    from tps_lab.results import runs

    longer = {"recipe.steps": 1000, "recipe.validate_every": 200} if full else {}
    asked = ablations.Asked(
        Path(ablations.__file__).with_name("quickstart.yaml"),
        out=out / "runs",
        only=() if full else _FEW,
        jobs=jobs,
        settings={"seeds": seeds} | longer | settings(set_),
        quiet=quiet or json_,
        timing_seconds=timing_seconds,
    )
    _, cells = asked.grid()
    render.check(out)
    with files.writing(out, within=True):
        files.folder(asked.folder)
    for cell in cells if again else ():
        shutil.rmtree(asked.folder / cell.id, ignore_errors=True)
    stopped = False
    try:
        ablations.run(asked)
    except KeyboardInterrupt:  # what ran is kept and reported
        stopped = True
    finished = [runs.Run(asked.folder / cell.id) for cell in cells if runs.is_done(asked.folder / cell.id)]
    if not finished:
        raise KeyboardInterrupt
    if not asked.quiet:
        print("writing the report …", file=sys.stderr)
    title = "What does each way of mixing space and time buy, and what does it cost?"
    page = report.build(finished, out, title=title, command=runs.command(), extra_figures=_mixed_clip(finished))
    finish(finished, page, json_)
    if stopped:
        raise typer.Exit(130)


def _mixed_clip(finished: Sequence[Run]) -> list[tuple[str, Any]]:
    """A real clip mixed by each pattern, if the package that brings clips is installed."""
    from tps_lab import viz
    from tps_lab.data._sample_clips import SAMPLE_CLIPS, sample_clips
    from tps_lab.data._video import read_frames

    used = dict.fromkeys(run.row["pattern"] for run in finished if run.row.get("pattern"))
    names = dict.fromkeys([*(name for name in gallery if name not in ("none", "C-without-4")), *used])
    try:
        path = sample_clips()["bikes.mp4"]
    except InputError:  # the extra [clips] is not installed; the report does without
        return []
    clip = read_frames(path, indices=range(40, 104, 4), size=196)
    patterns = [ShiftPattern.parse(name) for name in names]
    about = SAMPLE_CLIPS[path.name]
    caption = (
        "Real video frames, and what a frame becomes under each pattern before attention sees it: every patch "
        "keeps its place and brings the content of another moment. "
        f"The clip: {about.description} ({about.source}, {about.licence})."
    )
    return [(caption, viz.mixed_frames(clip, patterns, patch=28))]


@app.command(epilog="tps-lab train --attention tps --pattern A, tps-lab train --config pst_tiny_ssv2 --preflight")
def train(
    backbone: Annotated[str | None, typer.Option(help="See: tps-lab list backbones.")] = None,
    attention: Annotated[str | None, typer.Option(help="See: tps-lab list attention.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Shift pattern, for a patch-shift variant.")] = None,
    data: Annotated[str | None, typer.Option(help="See: tps-lab list data.")] = None,
    seed: Annotated[int | None, count("Seed of the weights and of the order of clips.", 0, 2**32 - 1)] = None,
    config: Annotated[
        str | None, typer.Option(help="A YAML file with any of the keys, or a recipe (tps-lab list recipes).")
    ] = None,
    set_: Set = None,
    out: Annotated[Path, typer.Option(help="Where the run's folder goes.")] = Path("runs"),
    again: Annotated[bool, typer.Option("--again", help="Run again even if it is done.")] = False,
    preflight: Annotated[
        bool,
        typer.Option("--preflight", help="Only check data, memory, time, disk and one step; long runs do so anyway."),
    ] = False,
    throughput: Annotated[
        bool, typer.Option("--throughput", help="Only measure which is slower: the model, or reading clips.")
    ] = False,
    try_workers: Annotated[
        list[int] | None, count("With --throughput: numbers of reading processes to try; may be repeated.", 0, 512)
    ] = None,
    model_speed: Annotated[
        float, amount("With --throughput: clips per second of the model where it will be trained; 0 measures it here.")
    ] = 0.0,
    seconds: Annotated[
        float | None, amount("With --throughput: about how long each measurement takes. [default: 10]")
    ] = None,
    checkpoint_seconds: Annotated[float, amount("Seconds between checkpoints.")] = 60.0,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one model and measure what it costs.

    Writes a run folder. Stop it with Ctrl-C; the same command continues from the last checkpoint. With several
    processes: accelerate launch -m tps_lab.cli train …
    """
    from tps_lab import progress
    from tps_lab.results import runs
    from tps_lab.training.checkpoints import Checkpoints, stopped_by_signals
    from tps_lab.training.config import make

    values = run_values(config, backbone, attention, pattern, data, None, set_)
    wanted = make(values | ({} if seed is None else {"seed": seed}))
    folder = out / wanted.folder
    is_first = os.environ.get("RANK", "0") == "0"
    if preflight and throughput:
        raise InputError("--preflight and --throughput are two commands; give one of them")
    for option, given in (("--try-workers", try_workers), ("--model-speed", model_speed), ("--seconds", seconds)):
        if given and not throughput:
            raise InputError(f"{option} says how --throughput measures; give both")
    if preflight:
        _preflight(wanted, out, json_)
        return
    if throughput:
        from tps_lab.data import ready
        from tps_lab.training.throughput import throughput as measured

        found = measured(wanted, ready(wanted.data), seconds or 10.0, tuple(try_workers or ()), model_speed)
        print_json(found.plain()) if json_ else say(found.text())
        return
    if runs.is_done(folder) and not again:
        if is_first:
            say(f"already done (--again runs it again): {folder}", err=True)
        run = runs.Run(folder)
    else:
        from tps_lab.training.train import train as run_training

        files.check_folder(out)  # before anything is loaded
        shown = progress.for_this_terminal(quiet or json_) if is_first else progress.Progress()
        clips = _looked_at(wanted, out, shown)
        checkpoints = Checkpoints(folder, checkpoint_seconds)
        with _claimed(out, wanted.folder, is_first), stopped_by_signals(checkpoints):
            try:
                run = run_training(wanted, out, clips, progress=shown, checkpoints=checkpoints)
            except KeyboardInterrupt as stop:
                kept = checkpoints.newest_step()
                goes_on = f"; the same command goes on after step {kept}" if kept else ""
                say(f"tps-lab: {stop or 'stopped'}{goes_on}", err=True)
                raise typer.Exit(130) from None
    if not is_first:
        return
    if json_:
        print_json(run.row)
    else:
        print_table([run])
        say(run.path)
    exit_by_status([run])


@contextmanager
def _claimed(out: Path, folder: str, is_first: bool) -> Iterator[None]:
    """Keep others off a run's folder: two trainings of one configuration would write into each other."""
    from tps_lab.ablate import claims

    if not is_first:  # of several processes the first one speaks for all
        yield
        return
    with files.writing(out, within=True):
        claim = claims.claim(out, folder)
    if claim is None:
        raise InputError(f"{out / folder} is being trained by another process; choose another --seed or --out")
    try:
        yield
    finally:
        claim.release()


def _preflight(config: RunConfig, out: Path, as_json: bool) -> None:
    from tps_lab.training.preflight import preflight

    found = preflight(config, out, processes=int(os.environ.get("WORLD_SIZE", "1")))
    print_json(found.plain()) if as_json else say(found.text())
    if found.problems:
        raise typer.Exit(2)


def _looked_at(config: RunConfig, out: Path, shown: Progress) -> Clips:
    """The opened data; before a long run everything else has been looked at too."""
    from tps_lab.data import ready
    from tps_lab.training import preflight

    clips = ready(config.data)
    if os.environ.get("RANK", "0") == "0" and preflight.is_long(config, clips):
        found = preflight.preflight(config, out, clips, int(os.environ.get("WORLD_SIZE", "1")))
        for line in found.text().splitlines():
            shown.say(line)
        preflight.refuse(found)
    return clips


@app.command(epilog="tps-lab ablate ablations/patterns.yaml --dry-run")
def ablate(
    file: Annotated[Path, typer.Argument(metavar="GRID", help="A grid file; see: tps-lab list ablations.")],
    scale: Annotated[str, typer.Option(help="small (minutes on two cores) or paper (GPUs).")] = "small",
    out: Annotated[Path | None, typer.Option(help="Results folder. [default: runs/ablations/GRID-SCALE]")] = None,
    take_from: Annotated[
        list[Path] | None, typer.Option(help="Copy finished cells from this results folder or published page.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List cells and what they will cost; run nothing.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these cases: names, CASE/SEED, or patterns with *.")
    ] = None,
    limit: Annotated[int | None, count("Only the first N cells.", high=1_000_000)] = None,
    executor: Annotated[str, typer.Option(help="inline, local, ray or slurm.")] = "local",
    executor_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the executor; all: tps-lab list executors.")
    ] = None,
    jobs: Annotated[int | None, count("Cells at a time. [default: one per core, or one per GPU]")] = None,
    deterministic: Annotated[bool, typer.Option(help="One thread per cell; results are the same to the bit.")] = True,
    checkpoint_seconds: Annotated[float, amount("Seconds between checkpoints.")] = 60.0,
    timing_seconds: Timing = 10.0,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a grid file: all the trainings that answer one question.

    Stop it at any time; the same command continues where it stopped.
    """
    from tps_lab import ablate as ablations

    asked = ablations.Asked(
        file=file,
        scale=scale,
        out=out,
        take_from=tuple(take_from or ()),
        only=tuple(only or ()),
        limit=limit,
        executor=executor,
        executor_options=pairs(executor_set, "--executor-set"),
        jobs=jobs,
        deterministic=deterministic,
        checkpoint_seconds=checkpoint_seconds,
        timing_seconds=timing_seconds,
        settings=settings(set_),
        quiet=quiet or json_,
    )
    if dry_run:
        plan = ablations.plan(asked)
        print_json(plan.plain()) if json_ else say(plan.table())
        return
    outcome = ablations.run(asked)
    if json_:
        print_json(outcome.plain())
    else:
        say(outcome.table())
        for state in outcome.states:
            if state.status == "failed":
                say(f"failed: {state.cell.title}: {state.reason}")
        say(outcome.out)
    if any(state.status == "failed" for state in outcome.states):
        raise typer.Exit(1)
