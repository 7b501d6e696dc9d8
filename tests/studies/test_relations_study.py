"""`reports/relations/make.py`: its page is that of its results, and what it counted is what is counted today."""

import json

from study import load

relations = load("relations")
RESULTS = json.loads((relations.HERE / "results.json").read_text())


def test_the_page_is_that_of_the_results(tmp_path):
    page = relations.publish(RESULTS, tmp_path)
    assert page.read_text() == (relations.HERE / "report.md").read_text()


def test_pairs_of_eight_frames_are_counted_the_same_today():
    from tps_lab.attention import Grid, parse

    rows = [row for row in RESULTS["rows"] if row["frames"] == 8]
    assert {row["attention"] for row in rows} == set(relations.NAMES)
    for row in rows:
        variant = parse(row["attention"])
        found = variant.pairs(Grid(8, *relations.PATCHES, 1, variant.prefix_of), relations.DEPTH)
        assert found == {"allowed": row["allowed"], "executed": row["executed"]}


def test_who_cannot_be_timed_leaves_the_others_their_times(monkeypatch):
    from tps_lab import create_model

    monkeypatch.setattr(relations, "NAMES", ("spatial", "natten", "joint"))

    def model(name, frames):
        if name == "natten":
            raise RuntimeError("no kernel\nand more")
        return create_model("vit_micro", name, frames=frames)

    monkeypatch.setattr(relations, "model", model)
    times, failed = relations.timed(4, "cpu")
    assert list(times) == ["spatial", "joint"]
    assert failed == ["natten, 4 frames: RuntimeError: no kernel"]
    monkeypatch.setattr(relations, "NAMES", ("natten",))
    assert relations.timed(4, "cpu") == ({}, failed)
