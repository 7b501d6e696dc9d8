"""Commands that use a trained model: predict, export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tps_lab import files
from tps_lab.cli._shared import Json, amount, app, count, print_json, say
from tps_lab.errors import InputError, unknown

Checkpoint = Annotated[Path, typer.Option("--checkpoint", "-c", metavar="RUN", help="A run's folder.")]


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
        from tps_lab.viz.overlay import FORMATS

        if overlay.suffix.lower() not in FORMATS:
            raise unknown("video format", overlay.suffix or str(overlay), FORMATS)
        if os.path.lexists(overlay):
            raise InputError(f"{overlay} already exists: remove it, or give another --overlay")
        files.check_file(overlay)
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
