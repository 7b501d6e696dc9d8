"""Commands that take trained models: evaluate, predict, export."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_lab import files
from tps_lab.cli._shared import (
    Json,
    amount,
    app,
    check_picture,
    count,
    exit_if,
    print_json,
    save_picture,
    say,
)
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from tps_lab.results.runs import LeftOut, Run

Checkpoint = Annotated[Path, typer.Option("--checkpoint", "-c", metavar="RUN", help="A run's folder.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUNS", help="Run folders, or folders that hold them.")]


@app.command(
    epilog="tps-lab evaluate runs/TPS-C-seed0-1a2b3c4d --clips 4 --crops 3, "
    "tps-lab evaluate reports/quickstart/runs --rearranged --save time.png"
)
def evaluate(
    folders: Runs,
    clips: Annotated[int | None, count("Clips per video, spread over time. [default: 1]", high=1_000)] = None,
    crops: Annotated[int | None, count("1 (the centre) or 3. [default: 1]", high=3)] = None,
    rearranged: Annotated[
        bool, typer.Option("--rearranged", help="Frames shuffled, reversed, frozen and thinned out: is time used?")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="TIME_USE", help="Picture of --rearranged (.png, .svg, .pdf).")
    ] = None,
    batch: Annotated[int | None, count("Clips at a time. [default: 8 with views, 64 rearranged]")] = None,
    json_: Json = False,
) -> None:
    """Test trained models: on several views, or on rearranged frames.

    --clips and --crops test several views of each video, as papers do, and write views-KxC.json into each run's
    folder. --rearranged tests the same clips with their frames in other orders and writes time_use.json. Reports
    show both.
    """
    from tps_lab.results import runs

    if save is not None:
        if not rearranged:
            raise InputError("--save draws what --rearranged finds; give both")
        check_picture(save)
    with_views = not rearranged or clips is not None or crops is not None
    left_out: list[runs.LeftOut] = []
    rows: list[dict[str, Any]] = []
    drawn: dict[str, dict[str, Any]] = {}
    for run, model, opened in _restored(folders, left_out):
        row = {"run": str(run.path), "label": run.row["label"], "seed": run.row["seed"]}
        if with_views:
            row |= _views(run, model, opened, clips or 1, crops or 1, batch or 8)
        if rearranged:
            row["time_use"] = drawn[f"{row['label']}, seed {row['seed']}"] = _rearranged(
                run, model, opened, batch or 64
            )
        rows.append(row)
    if save is not None:
        from tps_lab import viz

        save_picture(viz.time_use(drawn).figure, save)
    if json_:
        print_json(rows)
        exit_if(left_out)
        return
    for row in rows:
        say(_text(row))
    if save is not None:
        say(f"saved {save}")
    exit_if(left_out)


def _views(run: Run, model: Any, opened: Any, clips: int, crops: int, batch: int) -> dict[str, Any]:
    from tps_lab.measure.accuracy import evaluate_views

    row = evaluate_views(model, opened, "test", clips, crops, batch).row() | {"data_notes": list(opened.notes)}
    who = {"run": str(run.path), "label": run.row["label"], "seed": run.row["seed"]}
    _leave(run, f"views-{clips}x{crops}.json", who | row)
    return row


def _rearranged(run: Run, model: Any, opened: Any, batch: int) -> dict[str, Any]:
    from tps_lab.measure import time_use
    from tps_lab.report.evaluations import TIME_USE

    facts = {"run": str(run.path), **time_use.facts(time_use.rearrangements(model, opened, batch=batch), opened)}
    _leave(run, TIME_USE, facts)
    return facts


def _leave(run: Run, name: str, facts: dict[str, Any]) -> None:
    try:
        text = json.dumps(facts, indent=2, allow_nan=False)
    except ValueError:
        raise InputError(f"{run.path}: the model's answers are not finite, so {name} was not written") from None
    with files.writing(run.path / name):
        files.write_whole(run.path / name, text)


def _text(row: dict[str, Any]) -> str:
    """What was found of one run, for a terminal of 80 columns."""
    lines = [f"{row['label']}, seed {row['seed']} ({row['run']})"]
    if "views" in row:
        macs = row["macs_per_view"]
        cost = "multiply-adds disputed"
        if macs is not None:
            cost = f"{macs / 1e9:.4g} G multiply-adds a view, {row['macs_total'] / 1e9:.4g} G in all"
        lines.append(f"  top-1 {row['top1_pct']:.1f} % over {row['views']} views ({cost})")
        each = ", ".join(f"{value:.1f}" for value in row["per_view_top1_pct"])
        lines.append(fill(f"each view alone: {each} %", 80, initial_indent="  ", subsequent_indent="    "))
    if "time_use" in row:
        facts = row["time_use"]
        lines.append(f"  {'frames':<12}{'top-1 %':>9}{'fall':>8}{'same answer %':>16}{'opposite %':>13}{'bits':>8}")
        for one in facts["probes"]:
            opposite = "–" if one["opposite_answer_pct"] is None else f"{one['opposite_answer_pct']:.1f}"
            lines.append(
                f"  {one['probe']:<12}{one['top1_pct']:>9.1f}{one['fall']:>z8.1f}{one['same_answer_pct']:>16.1f}"
                f"{opposite:>13}{one['divergence_bits']:>8.3f}"
            )
        lines.append(fill(facts["answer"], 80, initial_indent="  ", subsequent_indent="  "))
    return "\n".join(lines)


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
    found = runs.find(*folders, on_damaged=left_out.append)
    kept = [run for run in found if os.path.lexists(run.path / "model.safetensors")]
    if not kept:
        raise InputError(f"no run in {', '.join(map(str, folders))} kept its weights")
    for run in kept:
        files.check_folder(run.path)  # before anything is loaded
    tested = 0
    for run in kept:
        try:
            wanted = run.config.get("data")
            if not isinstance(wanted, str):
                raise InputError("config.yaml is missing, or names no data")
            if wanted not in opened:
                opened[wanted] = data.ready(data.parse(wanted))
            model = restore(run, opened[wanted]).to(best_device())
        except InputError as error:
            why = str(error).removeprefix(f"{run.path}: ")
            if len(kept) == 1:
                raise InputError(f"{run.path}: {why}") from error
            left_out.append(runs.LeftOut(run.path, why))
            continue
        tested += 1
        yield run, model, opened[wanted]
    if not tested:
        raise InputError(f"no run can be tested: {left_out[-1]}")


@app.command(epilog="tps-lab predict clip.mp4 --checkpoint runs/TPS-C-seed0-1a2b3c4d --overlay seen.mp4")
def predict(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    checkpoint: Checkpoint,
    top: Annotated[int, count("Classes shown.")] = 5,
    moment: Annotated[
        float | None, amount("Seconds that a long video is cut into. [default: 10, or as the run's clips]")
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Save the video with the answers on it (.mp4 or .gif).")] = None,
    json_: Json = False,
) -> None:
    """Classify a video, over time if it is long."""
    from tps_lab.training.inference import predict as predicted

    if overlay is not None:
        from tps_lab.viz.overlay import check

        check(overlay)
    found = predicted(video, checkpoint, moment)
    if overlay is not None:
        from tps_lab.viz.overlay import overlay as drawn

        drawn(found, overlay, min(top, 3))
    if json_:
        print_json(found.plain(top) | ({"overlay": str(overlay)} if overlay else {}))
        return
    say(video)
    for name, probability in found.top(top):
        say(f"  {100 * probability:5.1f} %  {name}")
    if len(found.moments) > 1:
        say("over time")
        for m in found.moments:
            name, probability = found.top(1, m)[0]
            say(f"  {m.start_s:7.2f} to {m.stop_s:7.2f} s  {100 * probability:5.1f} %  {name}")
    if overlay is not None:
        say(f"saved {overlay}")


@app.command(epilog="tps-lab export runs/TPS-C-seed0-1a2b3c4d --format onnx")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    format_: Annotated[str, typer.Option("--format", help="onnx or torch (torch.export).")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="The file. [default: model.onnx or model.pt2 in the run's folder]")
    ] = None,
    batch: Annotated[int, count("Clips per batch that the file takes.")] = 1,
    json_: Json = False,
) -> None:
    """Save a trained model as a file that runs without tps_lab.

    The file's answers are checked against the model's.
    """
    from tps_lab.results import runs
    from tps_lab.training.export import export as exported

    done = exported(runs.open_run(run), out, format_, batch)
    if json_:
        print_json(done.plain())
    else:
        shape = ", ".join(map(str, (done.batch, *done.clip_shape)))
        say(f"input    clip ({shape}) float32, (B, C, T, H, W)")
        off = f"differ from the model's by {done.largest_difference:.2g}, the largest is {done.largest_logit:.3g}"
        say(f"checked  logits {off}")
        say(done.path)
