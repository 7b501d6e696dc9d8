"""Reports: complete, self-contained, honest about what is missing or can't be told apart."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import VARIANTS, MadeUp, made_up, study, undone

from tps_lab import report, viz
from tps_lab.attention import variants
from tps_lab.data import DrawnData, data_sets, parse
from tps_lab.errors import InputError
from tps_lab.report import answer as words
from tps_lab.report import equal, facts, render, tables
from tps_lab.report.comparisons import Ranking, compared
from tps_lab.report.pictures import of_tasks
from tps_lab.report.results_table import results
from tps_lab.results.groups import group_runs

EVIL = "A <script>alert(1)</script> | & *plugin*"
LONG = "TPS-[0 1 2 / -1 0 3] (every=1, border=zero, shift_back=False)"


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside style sheets and scripts."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u2060", "").split())


def built(runs: list[MadeUp], folder: Path, **options: object) -> Page:
    return Page(report.build(runs, folder, **options).read_text(encoding="utf-8"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A report with everything in it: seeds, failures, disputes, gaps, user text, an extra figure."""
    runs = [run for run in study(2) if run.row["variant"] in ("spatial", "joint", "tps+tcs", "divided")]
    runs += [
        made_up(
            "tps(every=1, pattern=0 1 2 / -1 0 3, border=zero, shift_back=False)", LONG, "tps", "", 71.5, 28.1, 131,
            32, 23.0, seed=seed, macs_status="disputed", peak_memory_bytes=None,
            macs_by_counter={"fvcore": 28_100_000, "torch": 30_100_000},
            missing={"peak_memory_bytes": "a kernel that the tracker does not know"},
        )
        for seed in range(2)
    ]  # fmt: skip
    runs.append(made_up("windowed(window=7)", EVIL, "windowed", "", 88.2, 30.1, 151, 32, 29.0))
    runs.append(undone("failed", "out of memory <b>"))
    runs.append(undone("interrupted", "stopped at step 500", "tsm", "TSM"))
    folder = tmp_path_factory.mktemp("report")
    clip = np.random.default_rng(0).random((4, 8, 12, 3))
    extra = [("A clip & its mosaic", viz.mixed_frames(clip, ["A"], patch=4))]
    return folder, built(runs, folder, title="Which <one>?", command="tps-lab report", extra_figures=extra)


def test_page_is_one_file_that_needs_nothing_else(whole: tuple[Path, Page]) -> None:
    folder, page = whole
    markup = (folder / "index.html").read_text(encoding="utf-8")
    assert len(markup) < 5_000_000
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")) or value in ("results.csv", "results.tex", "report.md")
    assert set(re.findall(r"https?://[^\s\"'<]+", markup)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_ids_are_unique_and_every_reference_resolves(whole: tuple[Path, Page]) -> None:
    folder, page = whole
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    markup = (folder / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", markup))
    assert {a or b for a, b in used} <= set(ids)


def test_user_text_is_escaped(whole: tuple[Path, Page]) -> None:
    folder, page = whole
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "b" not in {tag for tag, attributes in page.tags if attributes}
    assert EVIL in page.text
    assert "Which <one>?" in page.text
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|") and "plugin" in line]
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (12, 9, 6) for line in lines)


def test_what_went_wrong_is_said(whole: tuple[Path, Page]) -> None:
    _, page = whole
    for said in (
        "failed: out of memory <b>",
        "interrupted: stopped at step 500",
        "a kernel that the tracker does not know",
        "the counters of multiply-adds disagree (fvcore 28,100,000, torch 30,100,000)",
        "Some runs did not finish and count for nothing here",
        "This installation does not know the variant",
    ):
        assert said in page.text


def test_page_has_all_its_parts(whole: tuple[Path, Page]) -> None:
    folder, page = whole
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"results", "costs", "learning", "patterns", "more", "variants", "measured", "runs"} <= ids
    plots = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]
    assert len(plots) == 1 + 4 + 2 + 2 + 1  # the task, costs, learning, mosaics of C and the custom tile, the extra one
    assert "A clip & its mosaic" in page.text
    assert "After 6 blocks a token is influenced from" in page.text
    assert "1.26 × the multiply-adds" in page.text.replace("\u00a0", " ")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown)
    assert len(pictures) == len(plots)
    assert all((folder / file).stat().st_size > 1000 for file in pictures)


def test_a_page_shows_what_was_asked_where_that_needs_no_files(tmp_path: Path) -> None:
    (shown,) = of_tasks(["order"], 1, tmp_path)
    assert shown.caption.endswith("they show the same frames in another order.")
    assert "above first" in shown.markup
    assert (tmp_path / "task-1.png").is_file()
    (one,) = of_tasks(["digit(noise=0.3)"], 2, tmp_path)
    assert one.caption == "What is asked: test clips of digit(noise=0.3), and their classes."
    lengths = of_tasks(["order", *(f"order(frames={t})" for t in (8, 8, 12, 24))], 4, tmp_path)
    assert [task.caption.split(",")[0].rpartition(" of ")[2] for task in lengths] == [
        *("order", "order(frames=8)", "order(frames=12)"),
    ]
    assert [task.file for task in lengths] == [f"{tmp_path.name}/task-4{end}.png" for end in ("", "-1", "-2")]
    for unknown in ("video-folder(path=nowhere)", "mine(frames=8)", "None"):
        assert of_tasks([unknown], 3, tmp_path) == []


def test_a_page_is_made_without_a_picture_of_what_cannot_be_drawn(tmp_path: Path, monkeypatch) -> None:
    clips = type(parse("digit").opened())

    def two_channels(self, *asked):  # a plugin's
        x, y = given(self, *asked)
        return x[:, :2], y

    given = clips.batch
    monkeypatch.setattr(clips, "batch", two_channels)
    assert of_tasks(["digit"], 1, tmp_path) == []
    monkeypatch.setattr(type(parse("digit")), "opened", lambda self: None)
    assert of_tasks(["digit"], 1, tmp_path) == []


DRAWN = [name for name, kind in data_sets().items() if issubclass(kind, DrawnData) and name != "actions"]


@pytest.mark.parametrize("name", ["opposites(hidden=0.5)", *DRAWN])
def test_test_clips_are_the_same_however_many_others_are_drawn(name: str) -> None:
    spec = parse(name, test=48)
    few = replace(spec, train=spec.clips_per_scene, val=spec.clips_per_scene)
    (one, kinds), (other, same) = (given.opened().batch("test", torch.arange(8)) for given in (spec, few))
    assert torch.equal(one, other)
    assert torch.equal(kinds, same)


def test_contents_and_chips_reach_what_they_name(whole: tuple[Path, Page]) -> None:
    _, page = whole
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [f"#{name}" for name in sections] == links[: len(sections)]
    chips = [attributes["data-chip"] for _, attributes in page.tags if "data-chip" in attributes]
    assert len(chips) == len(set(chips)) == 8
    marked = [[tag for tag, attributes in page.tags if attributes.get("data-of") == chip] for chip in chips]
    assert all(tags.count("tr") >= 2 for tags in marked)  # a row of the results, one of the runs
    assert sum(tags.count("g") >= 4 for tags in marked) == 6  # what finished stands in several pictures


def test_the_way_back_leads_to_an_overview_that_is_there(tmp_path: Path) -> None:
    page = built(study(3)[:6], tmp_path / "alone")
    assert "All questions" not in page.text
    (tmp_path / "index.html").write_text(render.HTML)
    page = built(study(3)[:6], tmp_path / "alone")
    assert "← All questions" in page.text


def test_csv_has_a_line_per_run(whole: tuple[Path, Page]) -> None:
    folder, _ = whole
    lines = list(csv.DictReader((folder / "results.csv").open(encoding="utf-8")))
    assert len(lines) == 8 + 2 + 1 + 1 + 1
    assert float(lines[0]["latency_ms.median"]) > 0
    assert lines[0]["environment.commit"] == "d232423"
    assert {line["status"] for line in lines} == {"done", "failed", "interrupted"}


def test_same_runs_make_the_same_page(tmp_path: Path) -> None:
    bare = made_up(*VARIANTS[3], train_seconds=None, peak_memory_bytes=None, per_pair_pct=None, per_class_pct=None)
    bare.metrics.clear()  # fewer figures, less to wait for
    first, second = (report.build([bare], tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_nothing_known_still_makes_a_page(tmp_path: Path) -> None:
    runs = [MadeUp({}), MadeUp({"id": "x", "status": "done", "attention": "tps"})]
    page = built(runs, tmp_path)
    assert "No run has finished with a test accuracy: 2 tried" in page.text
    assert "not recorded" in page.text


def test_a_figure_that_a_data_set_cannot_have_says_so(tmp_path: Path) -> None:
    runs = [made_up(*variant, ceiling_pct=None, top5_pct=None) for variant in VARIANTS[:2]]
    text = built(runs, tmp_path).text
    assert "Blind to order: nothing caps a model blind to the order of frames here." in text
    assert "Top-5: with so few classes it says nothing." in text


def test_no_runs_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runs"):
        report.build([], tmp_path)


# ---------------------------------------------------------------------- what is said


def said_of(runs: list[MadeUp]) -> words.Answer:
    return words.answer(Ranking(group_runs(runs)))


def test_overlapping_intervals_are_not_ranked() -> None:
    tied = [made_up(*VARIANTS[i], seed=s) for i in (5, 6) for s in range(3)]
    assert "is open" in said_of(tied).text
    apart = said_of([made_up(*VARIANTS[i], seed=s) for i in (1, 3) for s in range(3)])
    assert apart.text == "TPS-C is the most accurate, settled against the other."
    assert apart.choose.startswith("TPS-C: the highest mean accuracy")


def test_fewer_than_three_seeds_rank_nothing() -> None:
    for seeds, words_ in ((1, "One seed settles nothing"), (2, "Two seeds settle nothing")):
        said = said_of([made_up(*VARIANTS[i], seed=s) for i in (1, 3) for s in range(seeds)])
        assert said.text.startswith(words_)
        assert not said.choose


def test_without_an_interval_nothing_is_ranked() -> None:
    assert "nothing" in said_of([made_up(*VARIANTS[i], test_clips=None) for i in (1, 3)]).text


def test_where_nobody_learnt_the_task_nothing_is_ranked() -> None:
    """Spatial attention at 50 % of two classes is at chance, and has not "the highest accuracy"."""
    runs = [
        made_up(*VARIANTS[i], seed=s, top1_pct=top1, chance_pct=50.0, test_clips=480)
        for i, top1 in ((0, 50.0), (3, 49.2)) for s in range(5)
    ]  # fmt: skip
    said = said_of(runs)
    assert said.text == "No variant has learnt this task within 2,000 steps; nothing is ranked."
    assert not said.choose
    runs += [made_up(*VARIANTS[5], seed=s, top1_pct=90.0 + s, chance_pct=50.0, test_clips=480) for s in range(5)]
    assert "TPS+TCS-C" in said_of(runs).choose


def test_what_is_dominated_is_not_recommended() -> None:
    """At equal cost the more accurate one is taken, though the other is not settled behind it."""
    tops = {3: (60.0, 90.0, 99.0), 5: (97.0, 98.0, 98.5)}
    said = said_of([made_up(*VARIANTS[i], seed=s, top1_pct=top) for i, t in tops.items() for s, top in enumerate(t)])
    assert said.choose.startswith("TPS+TCS-C")
    assert "TPS-C needs" not in said.if_costs


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "names", [("a",), ("a b c d e f g h", "x"), tuple("a long name for a variant " * 2 + c for c in "pqr")]
)
@pytest.mark.parametrize("baseline", [False, True])
def test_every_answer_has_at_most_twenty_words(seeds: int, names: tuple[str, ...], baseline: bool) -> None:
    for spread in (0, 1, 20):
        runs = [
            made_up(*VARIANTS[i], seed=s, case=name, place=i, top1_pct=60.0 + spread * i)
            for i, name in enumerate(names) for s in range(seeds)
        ]  # fmt: skip
        ranking = Ranking(group_runs(runs))
        asked = compared(ranking, names[0] if baseline else None)
        for budget in ("", "the order depends on the budget"):
            assert len(words.answer(ranking, asked, budget).text.split()) <= words.MOST_WORDS


def test_settings_that_are_not_equal_are_said_and_decide_nothing() -> None:
    """Joint attention has an embedding of time here, the others have none; borders and parameters differ too."""
    runs = [made_up(*VARIANTS[i], seed=s) for i in (3, 6) for s in range(3)]
    groups = group_runs(runs)
    assert equal.unequal(groups) == ["Embedding of time: without (TPS-C); with one (Joint)."]
    assert equal.beyond(*groups, groups) == ["embedding of time"]
    asked = [
        made_up(*VARIANTS[6], case=case, temporal_position=start) for case, start in (("a", "sines"), ("b", "zeros"))
    ]
    assert equal.unequal(group_runs(asked)) == ["What the embedding of time starts as: sines (a); zeros (b)."]
    usual = [made_up(*VARIANTS[6], case=case, weights=begin) for case, begin in (("a", ""), ("b", "zoo:still/spatial"))]
    assert "What the embedding of time starts as: sines (a); zeros (b)." in equal.unequal(group_runs(usual))
    runs += [made_up(*VARIANTS[0], seed=s, params=1_400_000) for s in range(3)]
    assert any(line.startswith("Parameters: Spatial +16 %") for line in equal.unequal(group_runs(runs)))
    around = [made_up(*VARIANTS[i], params=count) for i, count in ((0, 955_000), (1, 1_000_000), (3, 1_045_000))]
    (line,) = (line for line in equal.unequal(group_runs(around)) if line.startswith("Parameters"))
    assert line == "Parameters: Spatial −4 % and TPS-C +4 % against the others’ 1,000,000."
    shifted = [made_up("tps", "TPS-C", "tps", "C", 90, 28, 131, 32, 22, seed=s) for s in range(3)]
    shifted += [made_up("tcs", "TCS", "tcs", "", 95, 28, 131, 32, 22, seed=s) for s in range(3)]
    assert any("ends of the clip" in line for line in equal.unequal(group_runs(shifted)))
    said = words.answer(Ranking(groups), compared(Ranking(groups), "TPS-C"))
    assert "is more accurate" not in said.text
    # beside what is settled at equal settings it is named, with its place
    runs, labels = [], np.arange(2000) % 12
    for i, top1 in ((3, 90), (1, 60), (6, 99)):
        for seed in range(5):
            right = np.random.default_rng((i, seed)).random(2000) < top1 / 100
            runs.append(made_up(*VARIANTS[i], seed=seed, top1_pct=100 * right.mean()))
            runs[-1].predictions = np.where(right, labels, labels + 1), labels
    ranking = Ranking(group_runs(runs))
    said = words.answer(ranking, compared(ranking, "TPS-C"))
    assert said.text == "TPS-A is less accurate than TPS-C; Joint is ahead at unequal settings."


def test_runs_that_succeed_all_or_nothing_are_counted() -> None:
    runs = [made_up(*VARIANTS[3], seed=s, top1_pct=top) for s, top in enumerate((50.0, 100.0, 50.0, 99.0, 100.0))]
    (group,) = group_runs(runs)
    assert "3 of 5 seeds reach 99 % or more, the others 50 % (share of seeds: 23 to 88 %)" in words.all_or_nothing(
        group
    )
    assert not words.all_or_nothing(group_runs([made_up(*VARIANTS[3], seed=s) for s in range(5)])[0])


def test_ceiling_is_beaten_only_by_a_whole_interval() -> None:
    groups = group_runs([made_up(*VARIANTS[i], seed=s) for i in (0, 3) for s in range(3)])
    assert any("(interval not above that): Spatial." in line for line in words.remarks(Ranking(groups)))


def test_a_task_that_several_have_solved_says_so() -> None:
    runs = []
    for i, top1 in ((0, 60.0), (3, 98.0), (5, 99.5)):
        runs += [made_up(*VARIANTS[i], seed=seed) for seed in range(3)]
        for run in runs[-3:]:
            run.row["top1_pct"] = top1 + 0.1 * run.row["seed"]
    easy = "The task is nearly solved by those whose intervals lie above 95 %"
    assert any(
        said.startswith(easy) and said.endswith(": TPS+TCS-C and TPS-C.")
        for said in words.remarks(Ranking(group_runs(runs)))
    )
    assert not [said for said in words.remarks(Ranking(group_runs(runs[:6]))) if "nearly solved" in said]


def test_a_column_without_a_figure_is_a_sentence_instead(tmp_path: Path) -> None:
    why = {"latency_ms": "withdrawn", "clips_per_second": "withdrawn"}
    runs = [made_up(*VARIANTS[i], latency_ms=None, clips_per_second=None, missing=why) for i in (0, 3)]
    found = results(group_runs(runs))
    assert found.unshown == ["Latency and throughput: withdrawn."]
    assert not {"Latency", "Throughput"} & {column.head for column in found.columns}
    assert all(len(row.cells) == len(found.columns) for row in found.rows)
    page = report.build(runs, tmp_path)
    for text in (page.read_text(), (tmp_path / "report.md").read_text()):
        assert "Not shown: Latency and throughput: withdrawn." in text
    runs[0].row["latency_ms"] = {"median": 2.0, "iqr": 0.1, "how": "timed"}
    found = results(group_runs(runs))
    assert "Latency" in {column.head for column in found.columns}
    assert found.unshown == ["Throughput: withdrawn."]


def test_a_single_run_above_an_exact_ceiling_is_named() -> None:
    """Counterparts are in the test set too, so the ceiling holds for every run, not only for their mean."""
    runs = [made_up(*VARIANTS[0], seed=s) for s in range(3)]
    for run, top1 in zip(runs, (48.0, 49.0, 51.7), strict=True):
        run.row |= {"top1_pct": top1, "twins": 2}
    said = " ".join(words.remarks(Ranking(group_runs(runs))))
    assert "no model blind to the order can be: Spatial (1 of 3, the best 51.7 %)." in said
    for run in runs:
        run.row["twins"] = 1
    assert "Single runs" not in " ".join(words.remarks(Ranking(group_runs(runs))))


def test_a_rounded_figure_does_not_beat_its_ceiling() -> None:
    """One sixth of the test clips is 16.667 % in a row, and the ceiling is 100 / 6."""
    runs = [made_up(*VARIANTS[0], seed=s) for s in range(3)]
    for run in runs:
        run.row |= {"top1_pct": 16.667, "ceiling_pct": 100 / 6}
    said = words.remarks(Ranking(group_runs(runs)))
    assert any("Not shown to use it" in line for line in said)
    assert not any("Above that" in line for line in said)
    above = [made_up(*VARIANTS[3], seed=s, top1_pct=90.0 + s, ceiling_pct=100 / 6) for s in range(3)]
    said = words.remarks(Ranking(group_runs(runs + above)))
    assert any("so they use the order: TPS-C. Not shown to use it" in line and "Spatial." in line for line in said)


def test_grid_comes_from_the_backbone() -> None:
    def grid(**changes: object) -> tuple[int, int, int] | None:
        found = facts.grid_of(group_runs([made_up(*VARIANTS[3], **changes)])[0])  # type: ignore[arg-type]
        return found and (found.frames, found.height, found.width)

    assert grid() == (8, 8, 8)  # vit_mini: patches of 4 pixels
    assert grid(backbone="vit_tiny_patch16_224", size=224, tubelet=2) == (4, 14, 14)
    assert grid(backbone="anything", grid=[4, 5, 6]) == (4, 5, 6)
    assert grid(backbone="anything") is None


# ---------------------------------------------------------------------- tables


def test_table_is_numeric_and_takes_seeds_together() -> None:
    frame = tables.table([*study(3), undone("failed", "no memory")])
    assert list(frame["label"][:3]) == ["Spatial", "TPS-A", "TPS-B"]
    assert len(frame) == len(VARIANTS) + 1
    row = frame[frame["label"] == "TPS-C"].iloc[0]
    accuracies = [made_up(*VARIANTS[3], seed=seed).row["top1_pct"] for seed in range(3)]
    assert row["top1_pct"] == pytest.approx(sum(accuracies) / 3)
    assert row["top1_low_pct"] < row["top1_pct"] < row["top1_high_pct"]
    assert row["macs"] == 28_100_000
    assert row["interval"] == "seeds"
    failed = frame[frame["status"] == "failed"].iloc[0]
    assert math.isnan(failed["top1_pct"])
    assert all(frame[name].dtype == float for name in tables.figures())


def test_text_table_fits_a_terminal() -> None:
    odd = [made_up("windowed", LONG + " [red]", "windowed", "", 88.2, 30.1, 151, 32, 29.0, macs_status="disputed")]
    shown = [*study(2), *odd, undone("failed", "no memory")]
    for width in (80, 140):
        assert max(map(len, tables.text_table(shown, width).splitlines())) <= width
        assert set(tables.text_table(shown, width).split()) == set(tables.text_table(shown, 10**4).split())
    printed = tables.text_table(shown, 10**4)
    assert "[red]" in printed
    assert "28.1" in printed
    assert "30.1*" in printed
    assert "failed" in printed
    assert re.search(r"\d\d\.\d \(\d\d\.\d–\d\d\.\d\)\s+2 seeds", printed)


def test_importing_reports_loads_no_torch() -> None:
    code = "import sys, tps_lab.report; assert not {'torch', 'matplotlib', 'pandas', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", variants())
def test_every_variant_has_a_paragraph_that_says_what_is_stated(name: str) -> None:
    runs = [made_up(name, variants()[name].title, name, "", 80.0, 28.1, 100.0, 50.0, 20.0, seed=0)]
    (described,) = facts.described(group_runs(runs))
    (_, said), *_ = described.groups
    assert described.title == variants()[name].title
    assert any(line.startswith("After 6 blocks a token is influenced from") for line in said)
    assert (variants()[name].stated in said) == bool(variants()[name].stated)
    ((label, meaning),) = facts.meanings(group_runs(runs))
    assert label == variants()[name].title
    assert 20 < len(meaning) < 130
    assert meaning[-1] in ".?"


def test_with_tubelets_a_reach_is_told_in_time_steps() -> None:
    for tubelet, step in ((1, "frame"), (2, "time step")):
        begun = [(name, name, name, "", 80.0, 28.1, 100.0, 50.0, 20.0) for name in ("spatial", "tsm")]
        runs = [made_up(*one, seed=0, tubelet=tubelet) for one in begun]
        groups = [group for found in facts.described(group_runs(runs)) for group in found.groups]
        said = " ".join(line for _, lines in groups for line in lines)
        assert f"its own {step} only" in said
        assert f"{step}s away" in said


def test_names_mean_what_no_other_variant_is_called() -> None:
    def labels(*begins: str) -> set[frozenset[str]]:
        named = (("tsm", "TSM"), ("tcs", "channel only"), ("tps", "patch only (A, edge)"))
        runs = [
            made_up(name, f"{begin}{label}", name, "", 80.0, 28.1, 100.0, 50.0, 20.0, case=f"{begin}{label}")
            for begin in begins
            for name, label in named
        ]
        return {frozenset(label.split(", ")) for label, _ in facts.meanings(group_runs(runs))}

    wanted = {frozenset(("TSM", "channel only")), frozenset(("patch only (A", "edge)"))}
    for begins in (("",), ("from scratch, ",), ("from scratch, ", "from image weights, ")):
        assert labels(*begins) == wanted, begins


def test_what_no_case_varies_excuses_no_more_parameters() -> None:
    """A grid may say the data of every case, and they are the same: then they are no reason for a larger model."""
    given = {"attention": "spatial"}, {"attention": "joint"}
    one = [
        made_up(*VARIANTS[i], params=count, varied={"data": "opposites"} | varied)
        for i, count, varied in zip((0, 6), (100_000, 150_000), given, strict=True)
    ]
    assert any(line.startswith("Parameters:") for line in equal.unequal(group_runs(one)))
    assert "parameters" in equal.beyond(*group_runs(one), group_runs(one))
    one[1].row["varied"] = {"data": "opposites(train=9)", "attention": "joint"}
    assert not [line for line in equal.unequal(group_runs(one)) if line.startswith("Parameters:")]


def test_runs_that_begin_with_other_weights_are_no_seeds_of_each_other() -> None:
    begins = [made_up(*VARIANTS[0], seed=s) for s in range(3)]
    begins += [made_up(*VARIANTS[0], seed=s, weights="zoo:still/spatial") for s in range(3)]
    groups = group_runs(begins)
    assert [(group.label, len(group.runs)) for group in groups] == [
        ("Spatial", 3), ("Spatial · from zoo:still/spatial", 3),
    ]  # fmt: skip
    (said,) = equal.unequal(groups)
    assert said.startswith("Weights to begin with: none, from scratch (Spatial); zoo:still/spatial (")


def test_a_section_does_not_repeat_its_data_in_every_name(tmp_path: Path) -> None:
    """On a page of several data sets a heading says which: names below it say the rest; the list of runs says all."""
    runs = [
        made_up(
            *given, seed=seed, case=f"{speed}, {given[1]}", varied={"data": speed, "attention": given[0]}, data=data
        )
        for speed, data in (("slow", "direction(step=1)"), ("fast, far", "direction(step=4)"))
        for given in VARIANTS[:3]
        for seed in range(2)
    ]
    out = report.build(runs, tmp_path / "page").parent
    text, page = (out / "report.md").read_text(), (out / "index.html").read_text()
    tables, listed = text.split("## Runs")
    assert "| TPS-A |" in tables
    assert not re.search("(slow|far), TPS-A", tables)
    assert re.search(r"\| slow, TPS-A \|.*\| fast, far, TPS-A \|", listed, re.DOTALL)
    assert page.count("data-chip=") == 3
    assert set(re.findall('<tr data-of="([^"]+)"', page)) == set(re.findall('data-chip="(of-[^"]+)"', page))
