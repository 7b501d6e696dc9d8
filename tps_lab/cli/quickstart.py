"""The whole path in minutes: train a handful of variants alike, measure them, compare them in a report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tps_lab import ablate, files, report, viz
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern, gallery
from tps_lab.report import render
from tps_lab.results import runs

GRID = Path(__file__).parents[1] / "ablate" / "quickstart.yaml"
FEW = ("Spatial", "TPS-A", "TPS-C", "TPS+TCS", "Joint", "Divided (T+S)")  # the others only with `full`


class QuickstartResult(NamedTuple):
    """What a quickstart leaves."""

    runs: list[runs.Run]
    page: Path
    stopped: bool


def quickstart(
    out: Path,
    seeds: int = 1,
    full: bool = False,
    again: bool = False,
    jobs: int | None = None,
    quiet: bool = False,
    timing_seconds: float = 3.0,
    **settings: Any,
) -> QuickstartResult:
    """Run the grid `ablate/quickstart.yaml`, then write the report.

    Finished runs in `out/runs` are kept and not run again; what was stopped goes on from its checkpoint.

    Args:
        out: folder of the report; the runs go into `out/runs`.
        seeds: runs per variant, with seeds 0, 1, …
        full: 1,000 steps, and more variants and patterns.
        again: throw finished runs away and run them again.
        jobs: runs at a time; None takes one per core, or one on a GPU.
        timing_seconds: about how long each of the three timings of all variants may take.
        **settings: keys of `RunConfig` that differ from the grid's ("recipe.steps": 500).

    Returns:
        The runs, the report's page, and whether Ctrl-C ended it early (what ran is kept and reported).

    Raises:
        InputError: a setting cannot work, or the folder cannot be written.
        KeyboardInterrupt: stopped before there was anything to report.
    """
    if seeds < 1:
        raise InputError(f"seeds must be 1 or more, got {seeds}")
    steps = {"recipe.steps": 1000, "recipe.validate_every": 200} if full else {}
    asked = ablate.Asked(
        GRID,
        out=out / "runs",
        only=() if full else FEW,
        jobs=jobs,
        settings={"seeds": seeds} | steps | settings,
        quiet=quiet,
        timing_seconds=timing_seconds,
    )
    _, cells = asked.grid()
    render.check(out)
    try:
        files.folder(asked.folder)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    for cell in cells if again else ():
        shutil.rmtree(asked.folder / cell.id, ignore_errors=True)
    stopped = False
    try:
        ablate.run(asked)
    except KeyboardInterrupt:
        stopped = True
    finished = [runs.Run(asked.folder / cell.id) for cell in cells if runs.is_done(asked.folder / cell.id)]
    if not finished:
        raise KeyboardInterrupt
    if not quiet:
        print("writing the report …", file=sys.stderr)
    page = report.build(
        finished,
        out,
        title="What does a way of mixing space and time buy, and what does it cost?",
        command=runs.command(),
        extra_figures=mixed_clip(finished),
    )
    return QuickstartResult(finished, page, stopped)


def mixed_clip(finished: Sequence[runs.Run]) -> list[tuple[str, Any]]:
    """A real clip mixed by each pattern, if the package that brings clips is installed."""
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
