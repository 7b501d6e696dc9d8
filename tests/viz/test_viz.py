"""Pictures: what they show, that nothing overlaps, and that they leave no traces."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from tps_lab import data, viz
from tps_lab.attention import Look, variants
from tps_lab.attention.patch_shift import PatchShift
from tps_lab.attention.spatial import Spatial
from tps_lab.errors import InputError
from tps_lab.patterns import ShiftPattern, gallery
from tps_lab.results import groups
from tps_lab.results.groups import by_data, group_runs, student, wilson
from tps_lab.results.metrics import unit_for
from tps_lab.viz import style
from tps_lab.viz.labels import place_labels, spread
from tps_lab.viz.on_clips import mix
from tps_lab.viz.plots import pareto
from tps_lab.viz.style import marker_path, new_axes

MIB = 2**20


@dataclass
class Fake:
    row: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    path: Path = Path("runs/fake")


def fake(attention: str = "tps", seed: int = 0, top1: float | None = 80.0, **row: Any) -> Fake:
    basis = {
        "id": f"{attention}-{seed}", "status": "done", "attention": attention, "label": attention, "seed": seed,
        "frames": 8, "data": "opposites", "top1_pct": top1, "test_clips": 1000, "ceiling_pct": 50.0,
        "macs": 28_000_000, "per_pair_pct": {"left / right": top1, "up / down": top1},
    }  # fmt: skip
    metrics = [{"step": 100 * i, "split": "val", "top1_pct": 10.0 * i + seed} for i in range(5)]
    return Fake(basis | row, metrics)


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


# ---------------------------------------------------------------------- style


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("spatial", "Spatial"),
        ("tps(pattern=A)", "TPS-A"),
        ("tps", "TPS-C"),
        ("tps(every=1)", "TPS-C (every=1)"),
        ("tps+tcs", "TPS+TCS-C"),
        ("divided", "Divided (T+S)"),
        ("axial", "Axial (T+W+H)"),
        *((name, cls.title) for name, cls in variants().items() if name not in ("tps", "tps+tcs")),
        ("factorised-self(order=time-space)", "Factorised self-attention (order=time-space)"),
        ("xvit(channels=all)", "X-ViT (channels=all)"),
        ("tps(every=1, pattern=0 1 2 / -1 0 3, border=zero)", "TPS-[0 1 2 / -1 0 3] (border=zero, every=1)"),
        ("tcs(stages=[1,2], fraction=4)", "TCS (fraction=4, stages=[1,2])"),
    ],
)
def test_text_form_and_label_look_the_same(text: str, label: str) -> None:
    assert viz.look(text) == viz.look(label)
    assert viz.colour(text) == viz.look(label).colour


def test_known_variants_differ_in_colour_and_marker() -> None:
    names = ["spatial", *(f"tps(pattern={p})" for p in "ABCD"), "tps(every=1)", "tps+tcs", "tcs", "tsm", "joint"]
    found = [viz.look(name) for name in [*names, "divided", "axial"]]
    assert len({look.colour for look in found}) == len({look.marker for look in found}) == len(found)
    everyone = [viz.look(name) for name in variants()]
    assert len({look.colour for look in everyone}) == len(everyone)
    assert len({(look.marker, look.line) for look in everyone}) == len(everyone)


def test_unknown_variants_get_looks_of_their_own_that_do_not_depend_on_the_order() -> None:
    names = [f"plugin(n={n})" for n in range(8)]
    forward, backward = viz.looks(["joint", *names]), viz.looks([*names[::-1], "joint"])
    assert forward == backward[::-1]
    assert len({look.colour for look in forward}) == 9
    assert forward[0] == viz.look("joint")


def test_known_looks_survive_in_company() -> None:
    first, second, third = viz.looks(["tps", "tps(border=zero)", "tps"])
    assert first == viz.look("TPS-C")
    assert second == viz.look("tps(border=zero)")  # what enters at the ends is no other colour
    fused, unfused = viz.looks(["Joint", "Joint (unfused)"])
    assert fused.colour == unfused.colour
    assert fused.marker != unfused.marker
    dots = viz.dots({"patch only": [99.0, 98.0], "all": 97.0}, "top-1", variants={"patch only": "tps", "all": "joint"})
    assert {line.get_color() for line in dots.lines} == {viz.colour("tps"), viz.colour("joint")}
    assert first.colour == second.colour == third.colour
    assert len({look.marker for look in (first, second, third)}) == 3
    assert third.marker != first.marker
    assert third.line != first.line


def test_markers_become_closed_paths_inside_their_square() -> None:
    for letter in "osD^vPX*ph<>d8H":
        path = marker_path(letter, size=12)
        numbers = [float(word) for word in path.replace("Z", " ").translate(str.maketrans("MLQC", "    ")).split()]
        assert path.startswith("M")
        assert min(numbers) >= 0
        assert max(numbers) <= 12


def test_settings_of_matplotlib_are_left_alone_and_pyplot_is_not_loaded() -> None:
    before = dict(matplotlib.rcParams)
    viz.mosaic("C")
    viz.learning_curves([fake()])
    assert dict(matplotlib.rcParams) == before
    code = "import sys, tps_lab.viz as v; assert 'matplotlib' not in sys.modules; v.mosaic('A'); " + (
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------- figures as text


def test_units_fit_a_whole_column() -> None:
    assert unit_for("count", [28.1e6, 39.3e6]).text(28.1e6) == "28.1 M"
    assert unit_for("count", [2.5e9, 5e6]).text(2.5e9) == "2.50 G"
    assert unit_for("bytes", [128 * MIB, 3000 * MIB, None]).text(128 * MIB) == "0.12 GiB"
    assert unit_for("seconds", [20.0, 30.0]).text(30.0) == "30.0 s"
    assert unit_for("ms", [None]).text(None) == "–"


def test_intervals_are_those_of_the_textbook() -> None:
    # t(0.975, 2 degrees of freedom) = 4.302653; deviation of 1, 2, 3 is 1
    found = student([51.0, 52.0, 53.0])
    assert found.high - found.mean == pytest.approx(4.302653 / 3**0.5, abs=1e-5)
    low_high = wilson(20.0, 50)
    assert (low_high.low, low_high.high) == pytest.approx((11.24, 33.04), abs=0.01)
    assert wilson(100.0, 20).high == pytest.approx(100)


# ---------------------------------------------------------------------- groups


def test_seeds_are_one_group_and_settings_are_not() -> None:
    groups = group_runs([fake(seed=0), fake(seed=1), fake(seed=0, frames=16), fake("spatial")])
    found = [(group.label, len(group.runs)) for group in groups]
    assert found == [("spatial", 1), ("tps · 8 frames", 2), ("tps · 16 frames", 1)]
    assert groups[0].top1 is not None
    assert groups[0].top1.over == "test clips"
    assert groups[1].top1 is not None
    assert groups[1].top1.over == "seeds"


def test_a_failed_run_joins_the_finished_ones_and_counts_for_nothing() -> None:
    failed = Fake({"id": "x", "status": "failed", "attention": "tps", "seed": 2, "reason": "no memory"})
    (group,) = group_runs([failed, fake(seed=0, top1=70.0), fake(seed=1, top1=72.0)])
    assert group.status == "partly done"
    assert group.top1 is not None
    assert group.top1.mean == 71.0


def test_an_interrupted_run_with_a_figure_still_does_not_count() -> None:
    (group,) = group_runs([fake(status="interrupted", top1=99.0)])
    assert group.top1 is None
    assert group.why_missing("top1_pct") == "the run is interrupted"


def test_data_sets_are_kept_apart() -> None:
    groups = by_data(group_runs([fake(), fake(data="other")]))
    assert list(groups) == ["opposites", "other"]


# ---------------------------------------------------------------------- labels


def test_labels_cover_neither_each_other_nor_points() -> None:
    ax = new_axes()
    ax.set_xlim(20, 40)
    ax.set_ylim(40, 100)
    points = [(28.0, y) for y in (49, 66, 75, 78, 79, 90, 91)] + [(35.0, 93.0), (36.0, 93.2)]
    notes = place_labels(ax, points, [f"a variant, number {i}" for i in range(len(points))])
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    boxes = [note.get_window_extent() for note in notes]
    frame = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert not any(box.contains(*ax.transData.transform(point)) for point in points)


def test_spread_keeps_gaps_order_and_borders() -> None:
    wanted = [5.0, 5.1, 5.2, 9.9, 0.0]
    found = spread(wanted, 1.0, 0.0, 10.0)
    ordered = sorted(found)
    assert np.diff(ordered).min() >= 1 - 1e-6
    assert ordered[0] >= 0.5
    assert ordered[-1] <= 9.5
    assert np.argsort(found).tolist() == np.argsort(wanted).tolist()


# ---------------------------------------------------------------------- plots


def test_pareto_front_by_hand() -> None:
    points = [(3.0, 5.0), (1.0, 1.0), (2.0, 5.0), (2.0, 4.0), (4.0, 6.0), (5.0, 2.0)]
    assert [points[i] for i in pareto(points)] == [(1.0, 1.0), (2.0, 5.0), (4.0, 6.0)]


def test_plots_draw_where_they_are_told() -> None:
    ax = Figure().subplots()
    runs = [fake(seed=0), fake(seed=1)]
    assert viz.mosaic("A", ax=ax) is ax
    assert viz.learning_curves(runs, ax=Figure().subplots()).lines
    assert viz.pair_accuracy(runs, ax=Figure().subplots()).lines


def test_learning_curve_is_the_mean_over_seeds() -> None:
    ax = viz.learning_curves([fake(seed=0), fake(seed=2)])
    thick = max(ax.lines, key=lambda line: line.get_linewidth())
    assert list(np.asarray(thick.get_ydata())) == [1.0, 11.0, 21.0, 31.0, 41.0]


def test_an_unfinished_curve_says_so() -> None:
    ax = viz.learning_curves([fake(), fake("joint", status="interrupted")])
    assert "joint\n(interrupted)" in texts(ax)


def test_empty_plots_say_why() -> None:
    empty = Fake({"id": "x", "status": "done", "attention": "tps"})
    assert texts(viz.learning_curves([empty])) == ["no run recorded its validation accuracy"]
    assert texts(viz.pair_accuracy([empty])) == ["no run recorded its accuracy by pair"]


def test_wrong_names_are_input_errors() -> None:
    with pytest.raises(InputError, match="unknown cost 'mac'; did you mean 'macs'"):
        viz.tradeoff(None, x="mac")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown grouping"):
        viz.pair_accuracy([], by="seed")


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: viz.mosaic("C", grid="7x7"), r"grid must be \(rows, columns\), got '7x7'"),
        (lambda: viz.mosaic("C", grid=(-1, 2)), "rows must be 1 or more, got -1"),
        (lambda: viz.provenance("A", grid=(4, 4)), r"grid must be \(frames, rows, columns\), got \(4, 4\)"),
        (lambda: viz.provenance("A", back="no"), "back must be True or False, got 'no'"),
        (lambda: viz.who_sees_whom("tps", (9, 3)), r"grid must be \(frames, rows, columns\)"),
        (lambda: viz.attended_sets(["tps"], (9, 3)), r"grid must be \(frames, rows, columns\)"),
        (lambda: viz.receptive_field("tps", (9, 3)), r"grid must be \(frames, rows, columns\)"),
        (lambda: viz.receptive_field("tps", (9, 3, 3), token=(1, 1)), r"token must be \(frame, row, column\)"),
        (lambda: viz.receptive_field("tps", (9, 3, 3), token=(1, 1, 0.5)), "column must be a whole number, got 0.5"),
        (lambda: viz.receptive_field("tps", depth=-1), "depth must be 0 or more, got -1"),
        (lambda: viz.coverage(["tps"], (9, 3, 3), depth=0), "depth must be 1 or more, got 0"),
        (lambda: viz.complexity(["spatial"], grid=(14,)), r"grid must be \(rows, columns\), got \(14,\)"),
        (lambda: viz.complexity(["spatial"], frames=[]), "frames must name a clip's length or several, got none"),
        (lambda: viz.mixed_frames(np.zeros((4, 8, 8)), ["A"], patch=0), "patch must be 1 or more, got 0"),
        (lambda: viz.mixed_frames(np.zeros((4, 8, 8)), ["A"], patch=2, frame=1.5), "frame must be a whole number"),
        (lambda: viz.exploded_cube(np.zeros((4, 8, 8)), "A", patch=2.5), "patch must be a whole number, got 2.5"),
    ],
)
def test_wrong_sizes_are_input_errors(draw: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw()


# ---------------------------------------------------------------------- mosaics


def test_mosaic_numbers_every_cell() -> None:
    assert sorted(set(texts(viz.mosaic("A")))) == sorted(["0", "+1", "−1"])
    assert len(viz.mosaic("A").texts) == 49
    assert texts(viz.mosaic("0 1 / -1 2", grid=(2, 3))) == ["0", "+1", "0", "−1", "+2", "−1"]


@pytest.mark.parametrize("name", ["A", "C", "uneven"])
@pytest.mark.parametrize("border", ["circular", "zero", "edge"])
def test_mixed_frame_is_what_a_double_loop_makes(name: str, border: Any) -> None:
    frames, height, width, patch = 7, 11, 13, 3  # no side divides another
    clip = np.random.default_rng(0).random((frames, height, width, 3))
    tile = gallery[name].tile
    for frame in (0, 3, 6):
        expected = np.zeros((height, width, 3))
        for y in range(height):
            for x in range(width):
                row = tile[(y // patch) % len(tile)]
                source = frame - row[(x // patch) % len(row)]
                if border == "circular":
                    source %= frames
                elif border == "edge":
                    source = min(max(source, 0), frames - 1)
                if 0 <= source < frames:
                    expected[y, x] = clip[source, y, x]
        np.testing.assert_array_equal(mix(clip, gallery[name], patch, frame, border), expected)


@pytest.mark.parametrize("shape", [(8, 20, 33, 3), (8, 33, 20, 1), (8, 16, 16)])
def test_mixed_frames_keep_the_shape_of_pixels(shape: tuple[int, ...]) -> None:
    clip = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    figure = viz.mixed_frames(clip, ["A", ShiftPattern.parse("0 2 / 1 0")], patch=7)
    images = [ax for ax in figure.get_axes() if ax.images]
    assert [ax.get_title("left") for ax in images[-2:]] == ["A", "0 2 / 1 0"]
    assert all(ax.get_aspect() == 1 for ax in images)
    assert all(ax.images[0].get_array().shape == (*shape[1:3], 3) for ax in images)  # type: ignore[union-attr]


def test_clips_that_cannot_be_mixed() -> None:
    clip = np.zeros((4, 8, 8, 3))
    with pytest.raises(InputError, match="a clip of 4 frames cannot hold"):
        viz.mixed_frames(clip, ["C"], patch=4)
    with pytest.raises(InputError, match="got \\(4, 8, 8, 2\\)"):
        viz.mixed_frames(clip[..., :2], ["A"], patch=4)
    with pytest.raises(InputError, match="frame must be 0 to 3"):
        viz.mixed_frames(clip, ["A"], patch=4, frame=4)


# ---------------------------------------------------------------------- who sees whom


def filled(ax: Any) -> list[tuple[float, float, float]]:
    """Cells that are filled: x, y and how strongly, 1 being as much as any is."""
    shades = [(image.get_extent(), 1 - np.asarray(image.get_array()).min(-1)) for image in ax.images]
    full = max(shade.max() for _, shade in shades)
    return [
        (left + column, top + row, round(float(shade / full), 6))
        for (left, _, _, top), frame in shades
        for (row, column), shade in np.ndenumerate(frame)
        if shade
    ]


@pytest.mark.parametrize("name", variants())
def test_everyone_has_a_picture_of_who_sees_whom(name: str) -> None:
    ax = viz.who_sees_whom(name)
    assert ax.get_title("left") == variants()[name]().label
    assert ax.get_yticklabels()[-1].get_text() == "after 2 blocks"
    assert filled(ax)


def test_who_sees_whom_by_hand() -> None:
    # three frames of 1×2 patches, each frame 3 wide with its gap: time first, then space, then both
    ax = viz.who_sees_whom("divided", grid=(3, 1, 2), token=(1, 0, 1), depth=1)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "block 1, step 1",
        "block 1, step 2",
        "after 1 block",
    ]
    rows = {y: [(x, shade) for x, at, shade in filled(ax) if at == y] for y in (0, 2, 4)}
    assert rows[0] == [(1, 1.0), (4, 1.0), (7, 1.0)]
    assert rows[2] == [(3, 1.0), (4, 1.0)]
    assert rows[4] == [(0, 0.45), (1, 1.0), (3, 1.0), (4, 1.0), (6, 0.45), (7, 1.0)]


def test_a_patch_outside_the_grid_cannot_look() -> None:
    with pytest.raises(InputError, match="token \\(3, 0, 0\\) is not in a grid"):
        viz.who_sees_whom("joint", grid=(3, 1, 2), token=(3, 0, 0))


# ---------------------------------------------------------------------- reach, cubes, attention


def test_coverage_ends_where_the_influence_does() -> None:
    ax = viz.coverage(["spatial", "tps(pattern=A)", "joint"], grid=(8, 3, 3), depth=4)
    spatial, tps, joint = (line.get_ydata() for line in ax.lines[:3])
    assert joint[1:].tolist() == [100] * 4
    assert spatial[-1] == pytest.approx(100 / 8)
    assert np.all(np.diff(tps) >= 0)
    assert tps[-1] > spatial[-1]


def test_the_receptive_field_says_its_share_and_gradients_agree() -> None:
    stated = viz.receptive_field("tps(pattern=A)", grid=(6, 2, 3), depth=2)
    measured = viz.receptive_field("tps(pattern=A)", grid=(6, 2, 3), depth=2, measured=True)
    assert stated.get_title(loc="left") == measured.get_title(loc="left")
    assert "after 2 of 2 blocks" in stated.get_title(loc="left")
    for image, other in zip(stated.images, measured.images, strict=True):
        assert np.array_equal(image.get_array(), other.get_array())
    with pytest.raises(InputError, match="after must be 0 to 2"):
        viz.receptive_field("tps(pattern=A)", grid=(6, 2, 3), depth=2, after=3)
    with pytest.raises(InputError, match="is not in a grid"):
        viz.receptive_field("spatial", grid=(6, 2, 3), token=(6, 0, 0))


def test_an_animation_has_a_picture_per_block() -> None:
    page = viz.player(viz.reach_animation("spatial", (4, 2, 2), depth=2)).page
    assert page.count("data:image/png") == 3
    assert "http" not in page
    assert 'class="fa' not in page


def test_a_cube_shows_the_frames_that_a_mixed_frame_takes_from() -> None:
    ax = viz.exploded_cube(np.random.default_rng(0).random((8, 16, 24, 3)), "A", patch=8, frame=0)
    assert [word for word in texts(ax) if word.isdigit()] == ["0", "1", "7"]
    assert "mixed frame 0" in texts(ax)
    zero = viz.exploded_cube(np.zeros((8, 16, 24, 3)), "A", patch=8, frame=0, border="zero")
    assert [word for word in texts(zero) if word.isdigit()] == ["0", "1"]
    with pytest.raises(InputError, match="frame must be 0 to 7"):
        viz.exploded_cube(np.zeros((8, 16, 24, 3)), "A", patch=8, frame=8)


def test_film_strips_show_scenes_whole_and_every_class_before_a_second_of_any() -> None:
    clips = data.parse("order(noise=0, test=40)").opened()
    figure = viz.film_strips(clips, rows=4, most=16)
    assert [ax.get_ylabel() for ax in figure.axes] == ["above first", "below first"] * 2
    one, other = (np.asarray(ax.images[0].get_array()) for ax in figure.axes[:2])
    frames = [strip[:, 25 * t : 25 * t + 24].sum() for strip in (one, other) for t in range(16)]
    assert sorted(frames[:16]) == pytest.approx(sorted(frames[16:]))
    assert frames[:16] != pytest.approx(frames[16:])
    ten = viz.film_strips(data.parse("digit(val=40)").opened(), "val", rows=10, most=4)
    assert [ax.get_ylabel() for ax in ten.axes] == [str(digit) for digit in range(10)]
    assert [tick.get_text() for tick in ten.axes[0].get_xticklabels()] == ["0", "5", "10", "15"]


class OtherClips(data.Clips):
    """A plugin's: noise of any shape, whose classes take turns."""

    def __init__(self, shape: tuple[int, int, int, int] = (1, 4, 8, 8), **other: Any) -> None:
        self.clip_shape = shape
        self.clips, self.off, self.empty = other.get("clips", 12), other.get("off", 0), other.get("empty", False)
        self.classes = other.get("classes", ("one", "other", "third"))
        self.clips_per_scene = other.get("scene", 1)
        self.asked: list[int] = []

    def size(self, split: str) -> int:
        return self.clips

    def batch(self, split: str, index: Any, device: Any = "cpu") -> tuple[Any, Any]:
        self.asked.append(len(index))
        x = torch.rand(len(index), *self.clip_shape, generator=torch.Generator().manual_seed(0))
        if self.empty:
            x[:, :, 0] = float("nan")
        return x, index % len(self.classes) + self.off


def test_film_strips_look_at_classes_that_take_turns() -> None:
    """Looks at every tenth clip once met one class of ten."""
    clips = OtherClips(clips=231, classes=tuple("0123456789"))
    assert len({ax.get_ylabel() for ax in viz.film_strips(clips, rows=6).axes}) == 6


def test_film_strips_show_a_scene_that_is_not_whole() -> None:
    assert len(viz.film_strips(OtherClips(clips=1, scene=3)).axes) == 1
    assert [ax.get_ylabel() for ax in viz.film_strips(OtherClips(clips=5, scene=3)).axes][3:] == ["one", "other"]
    assert len(viz.film_strips(OtherClips(clips=6, scene=3), rows=2).axes) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clips": 0}, "this data set has no val clips"),
        ({"shape": (2, 4, 8, 8)}, "clips of 1 or 3 channels can be drawn; these have 2"),
        ({"off": 1}, "OtherClips.batch must give labels from 0 to 2, got 3"),
        ({"off": -1}, "OtherClips.batch must give labels from 0 to 2, got -1"),
    ],
)
def test_film_strips_of_what_cannot_be_drawn_say_so(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        viz.film_strips(OtherClips(**given), "val")


def test_film_strips_leave_pixels_empty_that_are_no_numbers() -> None:
    figure = viz.film_strips(OtherClips(empty=True), rows=1)
    strip = np.asarray(figure.axes[0].images[0].get_array())
    assert not strip[:, :8, 3].any()
    assert strip[:, 9:17, 3].all()
    assert strip[:, 9:17, :3].std() > 0.1


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 1, 8, 8), (1, 120, 8, 8), (1, 4, 8, 64), (1, 4, 64, 8)])
@pytest.mark.parametrize("name", ["W" * 20, "putting something onto something so that it falls, again and again"])
def test_names_beside_film_strips_touch_nothing(shape: tuple[int, int, int, int], name: str) -> None:
    clips = OtherClips(shape, classes=tuple(f"{name} {i}" for i in range(3)))
    figure = viz.film_strips(clips, rows=3, most=50, title="data(path=" + "long/" * 12 + " 0)")
    figure.draw_without_rendering()
    names = [ax.yaxis.label.get_window_extent() for ax in figure.axes]
    numbers = [tick.get_window_extent() for tick in figure.axes[0].get_xticklabels()]
    title = figure.texts[0].get_window_extent()
    for box in (*names, *numbers, title):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert all(one.y0 >= other.y1 for one, other in itertools.pairwise(names))
    assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(numbers))
    assert title.y0 >= max(numbers[0].y1, names[0].y1)
    assert figure.get_figheight() < 12


def test_film_strips_of_large_clips_read_a_few_at_a_time_and_draw_what_can_be_seen(monkeypatch) -> None:
    monkeypatch.setattr("tps_lab.viz.on_clips._AT_ONCE", 3 * 4 * 3 * 8 * 320**2)
    clips = OtherClips((3, 8, 320, 320))
    figure = viz.film_strips(clips, rows=2, most=8)
    assert clips.asked == [3, 3, 2, 2]
    assert np.asarray(figure.axes[0].images[0].get_array()).shape[0] == 190


def test_attention_maps_say_how_much_each_frame_gets() -> None:
    weights = np.zeros((3, 2, 2))
    weights[1], weights[2, 0, 0] = 0.15, 0.4
    figure = viz.attention_maps(np.ones((3, 8, 8, 3)), weights, (1, 0, 1), "head 2")
    assert [ax.get_xlabel() for ax in figure.axes] == ["0: 0 %", "1: 60 %", "2: 40 %"]
    with pytest.raises(InputError, match="3 frames"):
        viz.attention_maps(np.ones((3, 8, 8, 3)), weights[:2], (1, 0, 1))


def test_complexity_shows_the_closed_form() -> None:
    from tps_lab.attention import Grid, parse

    ax = viz.complexity(["spatial", "joint"], frames=(4, 8), grid=(3, 3), depth=2, channels=8)
    joint = ax.lines[1].get_ydata()
    assert 1e9 * 10 ** joint[1] == pytest.approx(parse("joint").macs(Grid(8, 3, 3), 2, 8))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "8"]


def test_ones_own_variant_says_how_it_is_drawn_and_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Spatial):
        __module__ = "gone"  # no other test finds it
        name, title, rank, looks = "mine", "My-own", 5, {"": Look("#123456", "|", "long")}

    class Plain(PatchShift):
        __module__ = "gone"
        name, title = "plain", "Plain"

    known = variants()
    for module in (style, groups):
        monkeypatch.setattr(module, "variants", lambda: known | {"mine": Mine, "plain": Plain})
    assert viz.look("mine") == viz.look("My-own") == Look("#123456", "|", "long")
    first, second = viz.looks(["mine", "mine"])
    assert (first.colour, second.colour, first.line != second.line) == ("#123456", "#123456", True)
    assert viz.look("plain").colour not in {viz.look(name).colour for name in known}
    rows = [fake(name, variant=name) for name in ("unheard-of", "joint", "mine", "tps", "spatial")]
    assert [group.attention for group in group_runs(rows)] == ["spatial", "mine", "tps", "joint", "unheard-of"]


def test_signs_that_the_font_lacks_come_from_another_that_is_installed(tmp_path, monkeypatch, recwarn, caplog):
    private = chr(0xE000)  # of Matplotlib's own fonts, this one alone has it
    monkeypatch.setattr(style, "OTHER_SCRIPTS", ("No Such Font", "STIXNonUnicode"))
    style._families.cache_clear()
    ax = style.styled(style.nothing)(style.new_axes(), f"walking {private}")
    style._families.cache_clear()
    ax.figure.savefig(tmp_path / "picture.png")
    assert not [str(said.message) for said in recwarn if "missing from" in str(said.message)]
    assert not caplog.records  # such as findfont's
    assert ax.texts[0].get_fontfamily() == ["DejaVu Sans", "STIXNonUnicode"]


def test_sliders_hold_every_picture_and_show_the_first():
    drawn = []

    def draw(frames, pattern):
        drawn.append((frames, pattern))
        if frames == 3:
            raise InputError("3 <frames> & no more")
        return viz.mosaic(pattern)

    page = viz.sliders(draw, frames=([2, 3], 3), pattern=["A", "B", "C"])._repr_html_()
    assert drawn == [(frames, pattern) for frames in (2, 3) for pattern in "ABC"]
    assert page.count("data:image/png;base64,") == page.count("&lt;frames&gt; &amp; no more") == 3
    places = re.findall(r'data-at="(\d \d)"( hidden)?', page)
    assert [place for place, hidden in places if not hidden] == ["1 0"]
    assert 'data-values="A|B|C"' in page
    with pytest.raises(InputError, match="100 are asked for, at most 64"):
        viz.sliders(draw, frames=range(10), pattern=range(10))


def test_frames_without_a_pattern_are_spread_over_the_clip():
    figure = viz.mixed_frames(np.zeros((16, 8, 8, 3)), [], patch=4)
    assert [ax.get_title() for ax in figure.axes] == [f"frame {t}" for t in (0, 4, 8, 11, 15)]
