"""Every picture of `tps_lab.viz` beside a small stored one, seen and found good.

Both are drawn small and blurred before they are compared, so that another version of FreeType or
Matplotlib, which moves edges by a fraction of a pixel, does not matter, and a missing or moved thing does.
After a wanted change: TPS_LAB_DRAW=1 python -m pytest tests/viz/test_pictures.py, and look at what `git diff` shows.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import study  # of reports/
from matplotlib.figure import Figure
from matplotlib.testing.compare import calculate_rms
from PIL import Image, ImageFilter

from tps_lab import data, viz
from tps_lab.measure.trace import Part
from tps_lab.report.budgets import tuned
from tps_lab.report.tables import table
from tps_lab.results.aggregate import aggregates
from tps_lab.viz.style import new_axes

BASELINE = Path(__file__).parent / "baseline"
DPI, BLUR = 50, 1.5
MOST_RMS = 2.5  # of 255; the tests below show what that lets through and what not


def clip(frames: int = 8, height: int = 32, width: int = 48) -> np.ndarray:
    """A bright disc that crosses a grey ramp."""
    t, y, x = np.indices((frames, height, width))
    disc = (x - 5 * t - 6) ** 2 + (y - height / 2) ** 2 < 60
    pixels = np.stack([0.3 + 0.4 * x / width, 0.35 + 0.3 * y / height, 0.5 + 0 * x], -1)
    return np.where(disc[..., None], (1.0, 0.85, 0.3), pixels)


def run(attention: str, label: str, macs: int, top1: float, seed: int) -> Any:
    rng = np.random.default_rng([seed, macs])
    classes = ["left", "right", "up", "down"]
    labels = np.arange(80) % 4
    said = np.where(rng.random(80) < top1 / 100, labels, labels ^ 1)  # else taken for its opposite
    pairs = {"left / right": top1 + seed, "up / down": top1 - 8.0}
    row = {
        "id": f"{attention}-{seed}", "status": "done", "attention": attention, "label": label, "seed": seed,
        "variant": attention.partition("(")[0], "frames": 8, "data": "opposites", "top1_pct": top1 + 1.5 * seed,
        "test_clips": 80, "ceiling_pct": 50.0, "macs": macs, "per_pair_pct": pairs, "classes": classes,
    }  # fmt: skip
    metrics = [{"step": 50 * i, "split": "val", "top1_pct": top1 * i / 5 + seed} for i in range(1, 6)]
    return SimpleNamespace(
        row=row, metrics=metrics, predictions=(said, labels), environment={}, config={}, path=Path("x")
    )


RUNS = [
    run(*which, seed)
    for which in [
        ("spatial", "Spatial", 21_000_000, 46.0),
        ("tps", "TPS-C", 21_000_000, 82.0),
        ("divided", "Divided (T+S)", 34_000_000, 93.0),
        ("joint", "Joint", 31_000_000, 88.0),
    ]
    for seed in (0, 1)
]


def crossed(name: str, macs: int, frames: int, seed: int) -> Any:
    label = f"{name}, frames={frames}"
    made = run(name, label, macs, 40 + 2.0 * frames + macs / 1e6, seed)
    varied = {"attention": name, "data.frames": frames}
    made.row |= {"frames": frames, "case": label, "place": frames, "varied": varied}
    return made


CROSSED = [
    crossed(name, macs, frames, seed)
    for name, macs in (("spatial", 2_000_000), ("joint", 20_000_000))
    for frames in (4, 8, 16)
    for seed in (0, 1)
]


def on_task(name: str, attention: str, task: str, top1: float, seed: int) -> Any:
    made = run(attention, name, 20_000_000, top1, seed)
    made.row |= {"data": task, "case": f"{name}, {task}", "varied": {"attention": name, "data": task}}
    return made


TASKS = [
    on_task(name, attention, task, top1 - 20 * (task == "order"), seed)
    for name, attention, top1 in (("spatial", "spatial", 46.0), ("TPS-C", "tps", 82.0), ("joint", "joint", 88.0))
    for task in ("opposites", "order")
    for seed in (0, 1)
]


def trial(attention: str, rate: float, steps: int, top1: float) -> Any:
    made = run(attention, attention, 20_000_000, top1, 0)
    made.row |= {"case": attention, "steps": steps, "tuned": {"recipe.lr": rate}, "val_top1_pct": top1}
    return made


TRIALS = tuned(
    trial(attention, rate, steps, top1 - abs(place - best) * 15 + steps / 20)
    for attention, top1, best in (("spatial", 60.0, 2), ("tps", 75.0, 1))
    for steps in (100, 200)
    for place, rate in enumerate((3e-4, 1e-3, 3e-3, 1e-2))
)
WEIGHTS = np.zeros((8, 2, 3))
WEIGHTS[3], WEIGHTS[4, 0, 2], WEIGHTS[6, 1, 1] = 0.05, 0.5, 0.2
EFFECTS = [
    SimpleNamespace(name="attention.pattern", levels={"A": 60.0, "B": 66.0, "C": 78.0}, share=0.61),
    SimpleNamespace(name="data.frames", levels={"8": 64.0, "16": 72.0}, share=0.2),
    SimpleNamespace(name="attention.pattern × data.frames", levels={}, share=0.02),
]
MEMORY = {"TPS-C": {"parameters": 5e8, "optimizer": 1e9, "activations": 4e9}, "Joint": {"activations": 9e9}}

PARTS = [
    Part(stage, operation, macs, 2 * macs, 3 * macs, 5 * macs, macs // 2)
    for stage, scale in (("block 1", 1), ("block 2", 2))
    for operation, macs in (("qkv", 4_000_000 * scale), ("attention products", 1_000_000), ("mlp", 9_000_000))
]
TIMES = [
    {"attention": name, "work": work, "estimated_ms": 2.0 * step, "measured_ms": 3.0 * step + 1}
    for step, name in enumerate(("spatial", "tps", "joint"), 1)
    for work in ("inference", "training")
]
TIME_USE = {
    label: {
        "probes": [
            {"probe": probe, "top1_pct": top1} for probe, top1 in zip(("as it is", "reversed"), tops, strict=True)
        ],
        "chance_pct": 8.3,
        "ceiling_pct": 50.0,
    }
    for label, tops in {"TPS-C": (88.0, 5.0), "Spatial": (48.0, 48.0)}.items()
}


def over_step(scale: int) -> Any:
    from tps_lab.measure.predicted_memory import Timeline

    rising = np.concatenate([np.arange(9), np.arange(9, -1, -1), [0, 0, 0]])
    parts = {
        "parameters": np.full(22, 1 << 28),
        "gradients": np.concatenate([np.zeros(9), np.arange(10), [9, 9, 0]]) * (1 << 25),
        "optimizer": np.full(22, 1 << 29),
        "activations": scale * rising * (1 << 28),
        "temporary": np.array([0] * 10 + [1, 0] * 4 + [0, 2, 0, 0]) * (1 << 28),
        "overhead": np.full(22, 1 << 26),
    }
    reserved = np.maximum.accumulate(np.sum(list(parts.values()), axis=0)) * 1.05
    return Timeline(parts, reserved, 9, 19)


def pairs() -> list[Any]:
    from tps_lab.results.paired import paired

    return paired(viz.group_runs(RUNS))


PICTURES: dict[str, Any] = {
    "accuracy_map": lambda ax: viz.accuracy_map(RUNS, ax=ax),
    "attended_sets": lambda ax: viz.attended_sets(["spatial", "divided", "tps(pattern=A)"], (4, 2, 2), ax=ax),
    "attention_maps": lambda _: viz.attention_maps(clip(), WEIGHTS, (4, 1, 1), "block 1"),
    "breakdown": lambda _: viz.breakdown(PARTS, "ViT"),
    "complexity": lambda ax: viz.complexity(["spatial", "divided", "joint"], (8, 16, 32), ax=ax),
    "confusion": lambda _: viz.confusion(viz.group_runs(RUNS)[:2]),
    "coverage": lambda ax: viz.coverage(["spatial", "tps(pattern=A)", "joint"], (8, 3, 3), 5, ax=ax),
    "differences": lambda ax: viz.differences(pairs(), {"Joint": 10.9}, ax=ax),
    "dots": lambda ax: viz.dots({"as it is": [91.0, 88.0], "reversed": 4.7}, "test top-1", ax=ax),
    "exploded_cube": lambda ax: viz.exploded_cube(clip(), "A", 16, ax=ax),
    "film_strips": lambda _: viz.film_strips(data.parse("order").opened(), rows=4, title="order"),
    "interaction": lambda ax: viz.interaction(viz.group_runs(CROSSED), "data.frames", ax=ax),
    "learning_curves": lambda ax: viz.learning_curves(RUNS, ax=ax),
    "main_effects": lambda ax: viz.main_effects(EFFECTS, ax=ax),
    "memory_over_step": lambda _: viz.memory_over_step({"TPS-C": over_step(1), "Joint": over_step(2)}),
    "mixed_frames": lambda _: viz.mixed_frames(clip(), ["A", "B"], 16),
    "mosaic": lambda ax: viz.mosaic("C", ax=ax),
    "aggregate": lambda _: viz.aggregate(aggregates(viz.group_runs(TASKS))),
    "best_of_trials": lambda _: viz.best_of_trials(TRIALS),
    "pair_accuracy": lambda ax: viz.pair_accuracy(RUNS, ax=ax),
    "provenance": lambda ax: viz.provenance("A", (5, 2, 3), "zero", ax=ax),
    "reach_animation": lambda ax: last_frame(viz.reach_animation("tps(pattern=A)", (6, 3, 3), 3, ax=ax)),
    "receptive_field": lambda ax: viz.receptive_field("tps(pattern=A)", (8, 3, 3), 4, ax=ax),
    "roofline": lambda ax: study.load("roofline").picture(TIMES, ax=ax),
    "stacked": lambda ax: viz.stacked(MEMORY, "peak memory, training", ax=ax),
    "time_use": lambda ax: viz.time_use(TIME_USE, ax=ax),
    "tuning": lambda _: viz.tuning(TRIALS, "learning rate"),
    "tradeoff": lambda ax: viz.tradeoff(table(RUNS), ax=ax),
    "who_sees_whom": lambda ax: viz.who_sees_whom("divided", (4, 3, 3), ax=ax),
}
OF_STUDIES = {"roofline"}  # drawn beside their pages, in reports/
# of several panels, on a figure of their own
PANELS = {
    "aggregate",
    "attention_maps",
    "best_of_trials",
    "breakdown",
    "confusion",
    "film_strips",
    "memory_over_step",
    "mixed_frames",
    "tuning",
}
# a badge is an SVG, and a certificate is drawn in tests/explain/test_certify.py
NO_PICTURES = {
    "Look",
    "badge",
    "certificate",
    "colour",
    "group_runs",
    "look",
    "looks",
    "player",
    "sliders",
    "studio",
}


def last_frame(animation: Any) -> Any:
    animation._draw_was_started = True  # it is drawn here, not played
    animation._func(3)
    return animation._fig


def seen(figure: Any) -> Image.Image:
    """What a figure looks like: small, and in colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    assert pixels[..., 3].min() == 255, "a dark notebook would show through"
    return Image.fromarray(pixels[..., :3].copy())


def differ(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    blurred = (image.convert("RGB").filter(ImageFilter.GaussianBlur(BLUR)) for image in (one, other))
    return float(calculate_rms(*(np.asarray(image, np.int16) for image in blurred)))


def drawn(name: str) -> Image.Image:
    from matplotlib.axes import Axes

    ax = new_axes(7, 3.2)
    made = PICTURES[name](ax)
    assert isinstance(made, (Axes, Figure))
    figure = made.get_figure(root=True)
    assert (figure is ax.figure) == (name not in PANELS), "it is drawn where it was told to"
    return seen(figure)


def test_every_picture_is_here() -> None:
    assert (set(PICTURES) - OF_STUDIES) | NO_PICTURES == set(viz.__all__)
    assert {file.stem for file in BASELINE.glob("*.png")} == set(PICTURES)
    assert sum(file.stat().st_size for file in BASELINE.glob("*.png")) < 1_500_000
    for name in set(PICTURES) - OF_STUDIES:
        assert f"{name}(" in (getattr(viz, name).__doc__ or "").partition(">>>")[2], f"{name} shows no example"


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_picture_is_as_it_was(name: str) -> None:
    found, file = drawn(name), BASELINE / f"{name}.png"
    if os.environ.get("TPS_LAB_DRAW"):
        found.save(file, optimize=True)
    assert differ(found, Image.open(file)) < MOST_RMS


def test_what_counts_as_another_picture() -> None:
    """Text drawn by other rules passes; other offsets, a variant less or a moved point do not."""
    import matplotlib

    whole = drawn("mosaic")
    with matplotlib.rc_context({"text.hinting": "none", "text.hinting_factor": 1}):
        assert 0 < differ(whole, drawn("mosaic")) < MOST_RMS

    def in_its_place(draw: Any) -> Image.Image:
        ax = new_axes(7, 3.2)
        draw(ax)
        return seen(ax.figure)

    assert differ(whole, in_its_place(lambda ax: viz.mosaic("C-without-4", ax=ax))) > MOST_RMS
    without = in_its_place(lambda ax: viz.coverage(["spatial", "tps(pattern=A)"], (8, 3, 3), 5, ax=ax))
    assert differ(drawn("coverage"), without) > MOST_RMS
    other = in_its_place(lambda ax: viz.dots({"as it is": [91.0, 88.0], "reversed": 44.7}, "test top-1", ax=ax))
    assert differ(drawn("dots"), other) > MOST_RMS


@pytest.mark.parametrize("name", ["stacked", "dots", "main_effects", "tradeoff", "mosaic"])
def test_grey_print_keeps_apart_what_colour_does(name: str) -> None:
    """In grey, different fills differ in lightness or hatch: enough distinct greys are left."""
    grey = np.asarray(drawn(name).convert("L"))
    levels = [int((np.abs(grey.astype(int) - level) <= 8).sum()) for level in range(16, 250, 24)]
    assert sum(count > 12 for count in levels) >= 3


def test_a_legend_of_many_long_names_has_room_below_the_panels() -> None:
    """It once covered them, and ended above and below the picture."""
    names = [f"{name}, {how} an embedding of time" for name in "abcdefghijkl" for how in ("with", "without")]
    trials = [trial(name, rate, 100, 60.0) for name in names for rate in (1e-3, 3e-3)]
    for one in trials:
        one.row["attention"] = "tps"
    ax = viz.tuning(tuned(trials), "learning rate")
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    legend, panel = figure.legends[0].get_window_extent(), ax.get_tightbbox()
    assert panel is not None
    assert figure.bbox.y0 <= legend.y0 < legend.y1 <= panel.y0
