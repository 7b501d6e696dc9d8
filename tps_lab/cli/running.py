"""Commands that train: quickstart, train, ablate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tps_lab.cli._shared import (
    Json,
    Quiet,
    Set,
    Timing,
    app,
    exit_by_status,
    finish,
    pairs,
    print_json,
    print_rich,
    print_table,
    run_values,
)


@app.command(epilog="Example: tps-lab quickstart --seeds 3 --out reports/mine")
def quickstart(
    seeds: Annotated[int, typer.Option(help="Runs per variant; 3 or more give intervals over seeds.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the report and its runs.")] = Path("reports/quickstart"),
    full: Annotated[bool, typer.Option("--full", help="Twice the steps, more variants and patterns.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run finished runs again.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time. [default: one per core, or one on a GPU]")] = None,
    timing_seconds: Timing = 10.0,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure attention variants on moving digits, and compare them in a report."""
    from tps_lab import progress
    from tps_lab.quickstart import quickstart as run

    shown = progress.for_this_terminal(quiet or json_)
    outcome = run(out, seeds, full, again, jobs, shown, timing_seconds, **pairs(set_))
    finish(outcome.runs, outcome.page, json_)
    if outcome.stopped:
        raise typer.Exit(130)


@app.command(epilog="Example: tps-lab train --attention tps --pattern A --data opposites --seed 1 --out runs")
def train(
    backbone: Annotated[str | None, typer.Option(help="See: tps-lab list backbones.")] = None,
    attention: Annotated[str | None, typer.Option(help="See: tps-lab list attention.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Of a patch-shift variant.")] = None,
    data: Annotated[str | None, typer.Option(help="See: tps-lab list data.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and of the order of clips.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with any of the keys.")] = None,
    set_: Set = None,
    out: Annotated[Path, typer.Option(help="Where the run's folder goes.")] = Path("runs"),
    again: Annotated[bool, typer.Option("--again", help="Run again even if it is done.")] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure one model; leaves a run folder."""
    from tps_lab import progress, runs
    from tps_lab.config import make

    values = run_values(config, backbone, attention, pattern, data, None, set_)
    wanted = make(values | ({} if seed is None else {"seed": seed}))
    if runs.is_done(out / wanted.folder) and not again:
        print(f"already done (--again runs it again): {out / wanted.folder}", file=sys.stderr)
        run = runs.Run(out / wanted.folder)
    else:
        from tps_lab.train import train as run_training

        run = run_training(wanted, out, progress=progress.for_this_terminal(quiet or json_))
    if json_:
        print_json(run.row)
    else:
        print_table([run])
        print(run.path)
    exit_by_status([run])


@app.command(epilog="Example: tps-lab ablate ablations/patterns.yaml --dry-run")
def ablate(
    file: Annotated[Path, typer.Argument(metavar="GRID", help="A grid file; see: tps-lab list ablations.")],
    scale: Annotated[str, typer.Option(help="small (minutes on two cores) or paper (GPUs).")] = "small",
    out: Annotated[Path | None, typer.Option(help="Results folder. [default: runs/ablations/GRID-SCALE]")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List cells and what they will cost; run nothing.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these cases: names, CASE/SEED, or patterns with *.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many cells.")] = None,
    executor: Annotated[str, typer.Option(help="inline, local, ray or slurm.")] = "local",
    executor_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the executor, e.g. partition=gpu.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Cells at a time. [default: one per core, or one per GPU]")] = None,
    deterministic: Annotated[bool, typer.Option(help="One thread a cell, the same bits every time.")] = True,
    checkpoint_seconds: Annotated[float, typer.Option(help="Between checkpoints.")] = 60.0,
    timing_seconds: Timing = 10.0,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a grid of runs that answers one question; run again, it goes on from where it was."""
    from tps_lab import ablate as ablations

    asked = ablations.Asked(
        file=file,
        scale=scale,
        out=out,
        only=tuple(only or ()),
        limit=limit,
        executor=executor,
        executor_options=pairs(executor_set),
        jobs=jobs,
        deterministic=deterministic,
        checkpoint_seconds=checkpoint_seconds,
        timing_seconds=timing_seconds,
        settings=pairs(set_),
        quiet=quiet or json_,
    )
    if dry_run:
        plan = ablations.plan(asked)
        print_json(plan.plain()) if json_ else print_rich(plan.table())
        return
    outcome = ablations.run(asked)
    if json_:
        print_json(outcome.plain())
    else:
        print_rich(outcome.table())
        for state in outcome.states:
            if state.status == "failed":
                print(f"failed: {state.cell.case}, seed {state.cell.seed}: {state.reason}")
        print(outcome.out)
    if any(state.status == "failed" for state in outcome.states):
        raise typer.Exit(1)
