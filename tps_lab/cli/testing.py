"""Commands that test trained models again: probe, evaluate."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_lab.cli._shared import Json, app, check_picture, count, exit_if, print_json, save_picture, say, writing
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from tps_lab.results.runs import LeftOut, Run

Runs = Annotated[list[Path], typer.Argument(metavar="RUNS…", help="Run folders, or folders that hold them.")]


@app.command(epilog="Example: tps-lab probe reports/quickstart/runs --save time.png")
def probe(
    folders: Runs,
    save: Annotated[Path | None, typer.Option(help="Save the picture (.png, .svg, .pdf).")] = None,
    batch: Annotated[int, count("Clips at a time.")] = 64,
    json_: Json = False,
) -> None:
    """Does a trained model use time at all? Its test clips shuffled, reversed, frozen and thinned out.

    Leaves time_use.json in each run's folder; reports of these runs show it.
    """
    from tps_lab import files
    from tps_lab.measure import time_use
    from tps_lab.report.time_use import FILE
    from tps_lab.results import runs

    if save is not None:
        check_picture(save)
    left_out: list[runs.LeftOut] = []
    found: dict[str, dict[str, Any]] = {}
    for run, model, clips in _restored(folders, left_out):
        facts = {"run": str(run.path), **time_use.facts(time_use.time_probes(model, clips, batch=batch), clips)}
        with writing(run.path / FILE):
            files.write_whole(run.path / FILE, json.dumps(facts, indent=2))
        found[f"{run.row['label']}, seed {run.row['seed']}"] = facts
    if save is not None:
        from tps_lab import viz

        save_picture(viz.time_use(found).figure, save)
    if json_:
        print_json(list(found.values()))
        exit_if(left_out)
        return
    for label, facts in found.items():
        say(f"{label} ({facts['run']})")
        say(f"  {'probe':<12}{'top-1 %':>9}{'fall':>8}{'same answer %':>16}{'opposite %':>13}")
        for row in facts["probes"]:
            opposite = "–" if row["opposite_answer_pct"] is None else f"{row['opposite_answer_pct']:.1f}"
            figures = f"{row['top1_pct']:>9.1f}{row['fall']:>z8.1f}{row['same_answer_pct']:>16.1f}{opposite:>13}"
            say(f"  {row['probe']:<12}{figures}")
        say(f"  {facts['answer']}\n")
    if save is not None:
        say(f"saved {save}")
    exit_if(left_out)


@app.command(epilog="Example: tps-lab evaluate runs/TPS-C-seed0-1a2b3c4d --clips 4 --crops 3")
def evaluate(
    folders: Runs,
    clips: Annotated[int, count("Places in time.", high=1_000)] = 1,
    crops: Annotated[int, count("1 (the centre) or 3.", high=3)] = 1,
    batch: Annotated[int, count("Videos at a time.")] = 8,
    json_: Json = False,
) -> None:
    """Test trained models over several views of each video, as papers do.

    Leaves views-KxC.json in each run's folder.
    """
    from tps_lab import files
    from tps_lab.measure.accuracy import evaluate_views
    from tps_lab.results import runs

    left_out: list[runs.LeftOut] = []
    rows = []
    for run, model, opened in _restored(folders, left_out):
        row = {"run": str(run.path), "label": run.row["label"], "seed": run.row["seed"]}
        row |= evaluate_views(model, opened, "test", clips, crops, batch).row() | {"data_notes": list(opened.notes)}
        file = run.path / f"views-{clips}x{crops}.json"
        with writing(file):
            files.write_whole(file, json.dumps(row, indent=2))
        rows.append(row)
    if json_:
        print_json(rows)
        exit_if(left_out)
        return
    for row in rows:
        each = ", ".join(f"{value:.1f}" for value in row["per_view_top1_pct"])
        macs = row["macs_per_view"]
        cost = (
            "multiply-adds disputed"
            if macs is None
            else f"{macs / 1e9:.4g} G multiply-adds a view, {row['macs_total'] / 1e9:.4g} G in all"
        )
        say(f"{row['label']}, seed {row['seed']}: top-1 {row['top1_pct']:.1f} % over {row['views']} views ({cost})")
        say(f"  each view alone: {each} %")
    exit_if(left_out)


def _restored(folders: list[Path], left_out: list[LeftOut]) -> Iterator[tuple[Run, Any, Any]]:
    """Runs that kept their weights, each with its model on the best device and its opened data.

    A run whose files are damaged, or whose configuration or weights say nothing to this version, is left out; if
    none is left, that is an error.
    """
    from tps_lab import data
    from tps_lab.measure import best_device
    from tps_lab.results import runs
    from tps_lab.training.train import restore

    opened: dict[str, Any] = {}
    found = runs.find(*folders, tell=left_out.append)
    kept = [run for run in found if os.path.lexists(run.path / "model.safetensors")]
    if not kept:
        raise InputError(f"no run in {', '.join(map(str, folders))} kept its weights")
    tested = 0
    for run in kept:
        try:
            wanted = run.config.get("data")
            if not isinstance(wanted, str):
                raise InputError("config.yaml is missing, or names no data")
            if wanted not in opened:
                opened[wanted] = data.parse(wanted).opened()
            model = restore(run, opened[wanted]).to(best_device())
        except InputError as error:
            if len(kept) == 1:
                raise InputError(f"{run.path}: {error}") from error
            left_out.append(runs.LeftOut(run.path, str(error)))
            continue
        tested += 1
        yield run, model, opened[wanted]
    if not tested:
        raise InputError(f"no run can be tested: {left_out[-1]}")
