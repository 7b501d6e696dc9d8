"""Our verdicts beside published ones: what counts as agreeing, and that runs are put to the right pairs."""

import csv
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import study
import yaml

from tps_lab.results.groups import group_runs
from tps_lab.results.paired import compare_groups

literature = study.load("literature")
TABLES = yaml.safe_load((literature.HERE / "tables.yaml").read_text())


def found(difference, low, high, settled):
    return {"difference": difference, "low": low, "high": high, "settled": settled, "learnt": True}


@pytest.mark.parametrize(
    ("gap", "ours", "says"),
    [
        (5.0, found(3, 1, 5, True), "agree"),
        (5.0, found(-3, -5, -1, True), "disagree"),
        (5.0, found(3, -1, 7, False), "open"),
        (5.0, None, "open"),
        (0.4, found(0.1, -0.5, 0.7, False), "agree"),  # a tie, and we know it to be one
        (0.4, found(0.1, -4, 4.2, False), "open"),
        (0.4, found(4, 3, 5, True), "disagree"),
        (0.4, found(1.5, 1.1, 1.9, True), "open"),
    ],
)
def test_what_counts_as_agreeing(gap, ours, says):
    assert literature.verdict(gap, ours) == says


def test_tables_name_their_source_and_pairs_that_exist():
    assert len({table["id"] for table in TABLES}) == len(TABLES) >= 50
    for table in TABLES:
        assert all(table[key] for key in ("paper", "arxiv", "table"))
        assert {name for pair in table.get("pairs", ()) for name in pair} <= set(table["rows"])
        for ahead, behind in literature.pairs(table):
            assert table["rows"][ahead]["top1_pct"] >= table["rows"][behind]["top1_pct"]
    assert sum(len(literature.pairs(table)) for table in TABLES) > 60
    halves = [literature.half(table) for table in TABLES]
    assert 10 < halves.count("kept aside") < 40
    for _, of_paper in itertools.groupby(sorted(TABLES, key=lambda t: t["arxiv"]), key=lambda t: t["arxiv"]):
        assert len({literature.half(table) for table in of_paper}) == 1  # a paper is never in both


def run(attention, seed, right, steps=600, **more):
    rng = np.random.default_rng(seed)
    labels = np.arange(400) % 4
    answers = np.where(rng.random(400) < right, labels, (labels + 1) % 4)
    row = {
        "attention": attention, "label": attention, "variant": attention.partition("(")[0], "seed": seed,
        "steps": steps, "data": "opposites", "backbone": "vit_micro", "temporal_position": True, "status": "done",
        "top1_pct": 100 * float(np.mean(answers == labels)), "test_clips": 400, "twins": 1, "lr": 1e-3, **more,
    }  # fmt: skip
    return SimpleNamespace(row=row, predictions=(answers, labels), config={}, path=None)


def test_runs_are_put_to_the_pairs_that_they_answer():
    runs = [run("spatial", seed, 0.4) for seed in range(4)] + [run("joint", seed, 0.8) for seed in range(4)]
    runs += [run("joint", seed, 0.3, steps=150) for seed in range(4)]  # a smaller budget decides nothing
    runs += [
        run(n, seed, 0.3, steps=900, temporal_position="sines") for n in ("spatial", "joint") for seed in range(4)
    ]  # papers start at zero: another setting
    runs += [run("divided", seed, 0.9, temporal_position=False) for seed in range(4)]  # another setting, for most
    runs += [run("joint", seed, 0.9, top1_pct=None) for seed in range(1000, 1004)]  # trials of a tuning
    rows = literature.asked(runs)
    timesformer = {row["embedding"]: row for row in rows if row["table"] == "timesformer_t1_ssv2"}
    assert {(row["ahead"], row["behind"], row["gap"]) for row in timesformer.values()} == {
        ("Joint Space-Time", "Space", 21.9)
    }
    assert {name: row["steps"] for name, row in timesformer.items()} == {"with": 600, "with, from sines": 900}
    row = timesformer["with"]
    assert row["steps"] == 600
    assert row["difference"] == pytest.approx(40, abs=5)
    assert row["verdict"] == "agree"
    assert {row["table"] for row in rows} > {"vivit_t2_k400", "tps_t2e_ssv1"}


def test_as_printed_each_side_has_the_embedding_that_its_paper_gives_it():
    """TimeSformer's space-only model has no embedding of time, and joint attention beside it has one."""
    runs = [run("joint", seed, 0.8) for seed in range(4)]
    for embedded, right in ((True, 0.9), (False, 0.4)):
        runs += [run("spatial", seed, right, temporal_position=embedded) for seed in range(4)]
    rows = [row for row in literature.asked(runs) if row["table"] == "timesformer_t1_ssv2"]
    assert {row["embedding"]: row["verdict"] for row in rows} == {"with": "disagree", "as printed": "agree"}


def test_where_embeddings_start_as_sines_a_variant_without_one_is_still_what_was_printed():
    runs = [run("spatial", seed, 0.4, temporal_position=False) for seed in range(4)]
    runs += [run("joint", seed, 0.8, temporal_position="sines") for seed in range(4)]
    (row,) = [row for row in literature.asked(runs) if row["table"] == "timesformer_t1_ssv2"]
    assert (row["embedding"], row["verdict"]) == ("as printed, from sines", "agree")


def test_a_pair_of_which_neither_learnt_the_order_is_open():
    rights = {"spatial": 0.3, "joint": 0.45, "divided": 0.9}
    rows = literature.asked([run(n, seed, r, ceiling_pct=50.0) for n, r in rights.items() for seed in range(4)])
    said = {
        (row["ours_ahead"], row["ours_behind"]): (row["settled"], row["learnt"], row["verdict"])
        for row in rows
        if row["table"] == "timesformer_t1_ssv2"
    }
    assert said["joint", "spatial"] == (True, False, "open")
    assert said["divided", "spatial"] == (True, True, "agree")


def test_a_pair_is_compared_once_however_many_papers_print_it_and_either_way_round():
    rights = {"spatial": 0.6, "joint": 0.609, "divided": 0.606, "tcs": 0.7}
    rows = literature.asked([run(name, seed, right) for name, right in rights.items() for seed in range(4)])
    by_pair = {}
    for row in (row for row in rows if row["embedding"] == "with"):
        by_pair.setdefault(frozenset((row["ours_ahead"], row["ours_behind"])), []).append(row)
    assert max(map(len, by_pair.values())) > 1
    for printed in by_pair.values():
        assert len({row["settled"] for row in printed}) == 1
        first = printed[0]
        for row in printed[1:]:
            same = row["ours_ahead"] == first["ours_ahead"]
            assert row["difference"] == (first["difference"] if same else -first["difference"])
            assert (row["low"], row["high"]) == (
                (first["low"], first["high"]) if same else (-first["high"], -first["low"])
            )
    groups = {
        str(group.attention): group for group in group_runs(run(n, s, r) for n, r in rights.items() for s in range(4))
    }
    alone = sum(compare_groups([[groups[name] for name in sorted(pair)]])[0].found.settled for pair in by_pair)
    assert sum(printed[0]["settled"] for printed in by_pair.values()) < alone  # corrected for all of them


def test_tau_is_that_of_the_definition():
    rows = [
        {"table": f"t{i}", "gap": gap, "difference": d} for i, (gap, d) in enumerate([(5, 3), (2, -1), (3, 2), (8, 9)])
    ]
    tau, low, high = literature.tau(rows, {f"t{i}": f"p{i}" for i in range(4)})
    points = [(sign * row["gap"], sign * row["difference"]) for row in rows for sign in (1, -1)]
    signs = [np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in itertools.combinations(points, 2)]
    assert tau == pytest.approx(sum(signs) / len(signs))  # no ties here
    assert low <= tau <= high
    assert literature.tau(rows[:2], {"t0": "p", "t1": "q"}) is None


def test_the_page_is_written_again_from_what_was_found(tmp_path, monkeypatch):
    rows = literature.asked(
        [run(name, seed, right) for name, right in [("spatial", 0.4), ("joint", 0.8)] for seed in range(4)]
    )
    study.write_csv(tmp_path / "verdicts.csv", rows)
    assert literature.read(tmp_path / "verdicts.csv") == [dict(row) for row in rows]
    literature.main(out=tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "### Digits, from scratch" in page
    assert "`vit_micro` on `opposites`" in page
    assert "untuned" in page
    assert "agree" in page
    with (tmp_path / "verdicts.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
