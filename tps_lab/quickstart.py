"""The whole path in minutes: train a handful of variants alike, measure them, compare them in a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tps_lab import data, files, plugins, report, runs
from tps_lab.config import RunConfig, make
from tps_lab.errors import InputError
from tps_lab.progress import Progress

VARIANTS = ("spatial", "tps(pattern=A)", "tps(pattern=C)", "tps+tcs", "joint", "divided")
MORE = ("tps(every=1)", "tps(pattern=B)", "tps(pattern=D)", "tcs", "tsm", "axial")
DATA = "opposites"


class Outcome(NamedTuple):
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
    progress: Progress | None = None,
    timing_seconds: float = 10.0,
    **settings: Any,
) -> Outcome:
    """Train and measure every variant with every seed, then write the report.

    Finished runs in `out/runs` are kept and not run again.

    Args:
        out: folder of the report; the runs go into `out/runs`.
        seeds: runs per variant, with seeds 0, 1, …
        full: twice the steps, and more variants and patterns.
        again: run finished runs again.
        jobs: runs at a time; None takes one per core, or one on a GPU.
        timing_seconds: about how long each of the three timings of all variants may take.
        **settings: keys of `RunConfig` that differ from the defaults ("recipe.steps": 500).

    Returns:
        The runs, the report's page, and whether Ctrl-C ended it early (what ran is kept and reported).

    Raises:
        InputError: a setting cannot work, or the folder cannot be written.
        KeyboardInterrupt: stopped before there was anything to report.
    """
    progress = progress or Progress()
    if seeds < 1:
        raise InputError(f"seeds must be 1 or more, got {seeds}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be 1 or more, got {jobs}")
    if full:
        settings = {"recipe.steps": 2 * RunConfig().recipe.steps} | settings
    settings = {"data": DATA} | settings
    wanted = [
        make(settings | {"attention": variant, "seed": seed})
        for seed in range(seeds)
        for variant in VARIANTS + (MORE if full else ())
    ]
    try:
        files.folder(out / "runs")
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    stopped = False
    done = {c: runs.Run(out / "runs" / c.folder) for c in wanted if not again and runs.is_done(out / "runs" / c.folder)}
    if done:
        progress.say(f"{len(done)} of {len(wanted)} runs are already there and kept (--again runs them again)")
    missing = [config for config in wanted if config not in done]
    try:
        _run_all(missing, out / "runs", done, progress, jobs, timing_seconds)
    except KeyboardInterrupt:
        stopped = True
    finished = [done[config] for config in wanted if config in done]
    if not finished:
        progress.say("stopped before any run ended; nothing to report")
        raise KeyboardInterrupt
    progress.say("writing the report …")
    page = report.build(
        finished,
        out,
        title="What does a way of mixing space and time buy, and what does it cost?",
        command=runs.environment()["command"],
        extra_figures=mixed_clip(finished),
    )
    if stopped:
        progress.say(f"stopped; {len(finished)} of {len(wanted)} runs are kept; the same command goes on from here")
    return Outcome(finished, page, stopped)


def _run_all(
    configs: Sequence[RunConfig],
    folder: Path,
    done: dict[RunConfig, runs.Run],
    progress: Progress,
    jobs: int | None,
    timing_seconds: float,
) -> None:
    if not configs:
        return
    from tps_lab import measure, workers
    from tps_lab.train import build, train

    clips = data.parse(configs[0].data).opened()
    models = {c.attention: build(c, clips).to(measure.best_device()) for c in configs}
    progress.say(f"measuring what {len(models)} variants cost, in turn …")
    costs = measure.costs(models, clips.clip_shape, configs[0].recipe.batch, timing_seconds)
    del models

    def finished(config: RunConfig, run: runs.Run) -> None:
        done[config] = run
        row = run.row
        result = f"{row['top1_pct']:.1f} % on test" if row["status"] == "done" else f"{row['status']}: {row['reason']}"
        progress.say(f"{config.variant.label}, seed {config.seed}: {result} ({len(done)} runs)")

    if not all(plugins.can_travel(type(config.variant)) for config in configs):
        jobs = 1
    jobs = jobs or workers.how_many(len(configs))
    if jobs > 1:
        # the longest first, so that no worker is left alone with it at the end
        slow_first = sorted(configs, key=lambda c: -costs[c.attention]["train_step_ms"]["median"])
        workers.train_all(slow_first, folder, costs, finished, progress, jobs)
        return
    for config in configs:
        finished(config, run := train(config, folder, clips, costs[config.attention], progress))
        if run.row["status"] == "interrupted":
            raise KeyboardInterrupt


def mixed_clip(finished: Sequence[runs.Run]) -> list[tuple[str, Any]]:
    """A real clip mixed by each pattern, if the package that brings clips is installed."""
    from tps_lab import viz
    from tps_lab.data._sample_clips import SAMPLE_CLIPS, sample_clips
    from tps_lab.data._video import read_frames
    from tps_lab.patterns import ShiftPattern, gallery

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
