"""A page keeps its runs: they read back as they were, the page can be made again, a grid goes on from it."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from here import here
from run_folders import run_folder

from tps_lab import files
from tps_lab.ablate import Asked, run
from tps_lab.results import archive, runs

PARTS = ("metrics", "environment", "config", "views", "time_use")


def report(results: Path, page: Path) -> None:
    done = here("report", results, "--out", page, TPS_LAB_COMMAND="tps-lab report")  # which stands on the page
    assert done.returncode == 0, done.stderr


def packed(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / archive.FILE).write_bytes(content)
    return folder


def test_runs_read_back_as_they_were(tmp_path: Path) -> None:
    for seed in range(3):
        run_folder(tmp_path / "runs", seed=seed, right=10 + seed, reason="\u2028 \udcff é", copied_from="/home/me")
    before = runs.find(tmp_path / "runs")
    after = runs.find(packed(tmp_path / "page", archive.pack(before)))
    assert [one.path.name for one in after] == [one.path.name for one in before]
    for one, other in zip(before, after, strict=True):
        assert other.row == {key: value for key, value in one.row.items() if key != "copied_from"}
        assert [getattr(one, part) for part in PARTS] == [getattr(other, part) for part in PARTS]
        assert one.predictions is not None
        np.testing.assert_array_equal(one.predictions, other.predictions)
        other.write_into(files.folder(tmp_path / "again" / other.path.name))
        (tmp_path / "again" / other.path.name / "row.json").write_text(json.dumps(other.row))
    for one, other in zip(before, runs.find(tmp_path / "again"), strict=True):
        assert [getattr(one, part) for part in PARTS] == [getattr(other, part) for part in PARTS]
        np.testing.assert_array_equal(one.predictions, other.predictions)  # type: ignore[arg-type]


def test_an_archive_does_not_say_where_on_this_machine_runs_lay(tmp_path: Path) -> None:
    path = run_folder(tmp_path / "runs")
    probe = {"probe": "reversed", "top1_pct": 40.0, "fall": 10.0, "same_answer_pct": 60.0, "divergence_bits": 0.2}
    facts = {"run": str(path), "probes": [probe], "chance_pct": 50.0, "ceiling_pct": None, "answer": ""}
    (path / "time_use.json").write_text(json.dumps(facts))
    (one,) = runs.find(packed(tmp_path / "page", archive.pack(runs.find(tmp_path / "runs"))))
    assert one.time_use == [facts | {"run": path.name}]


def test_answers_of_hundreds_of_classes_are_kept(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 30_000, 24)
    classes = [str(i) for i in range(30_000)]
    path = run_folder(tmp_path / "runs", classes=classes)
    runs.write_predictions(path, labels[::-1], labels)
    (found,) = runs.find(packed(tmp_path / "page", archive.pack(runs.find(path))))
    np.testing.assert_array_equal(found.predictions, (labels[::-1], labels))  # type: ignore[arg-type]


def test_a_run_takes_about_a_kilobyte() -> None:
    """As trained on opposites: 1,200 answers of which one in ten is wrong, 24 lines of metrics, its own figures."""
    rng = np.random.default_rng(0)

    class Run:
        def __init__(self, seed: int) -> None:
            labels = np.arange(1200) % 12
            wrong = rng.random(1200) < 0.1
            self.path = Path(f"TPS-C-seed{seed}-{rng.integers(1 << 40):012x}")
            self.predictions = np.where(wrong, rng.integers(0, 12, 1200), labels), labels
            self.row = {"seed": seed, "top1_pct": float(rng.random()), "label": "TPS-C", "reason": "x" * 2000}
            self.metrics = [{"step": 50 * i, "loss": float(rng.random()), "split": "val"} for i in range(24)]

    assert len(archive.pack([Run(seed) for seed in range(40)])) < 40 * 1100


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"neither xz nor anything", "damaged"),
        (lzma.compress(b"{}\n"), "no archive"),
        (lzma.compress(b'{"archive":1,"grid":{}}\n'), "name: Field required"),
        (lzma.compress(b'{"archive":1,"grid":null}\n{"id":"../x","row":{}}\n'), "folder's name"),
        (lzma.compress(b'{"archive":1,"grid":null}\n{"id":"x","row":{"status":"done"}}\n'), "missing"),
        (lzma.compress(b'{"archive":1,"grid":null}\n{"id":"x","row":{"status":"failed"},"said":"1"}\n'), "one length"),
        (archive.pack([])[:-20], "cut"),
        (archive.pack([]) + b"garbage", "behind its end, by 7 bytes"),
        (archive.pack([]) + archive.pack([]), "behind its end"),
        (lzma.compress(b'{"archive":1,"grid":null}\n' + 2 * b'{"id":"x","row":{"status":"failed"}}\n'), "x stands"),
        *(
            (
                lzma.compress(b'{"archive":1,"grid":null}\n{"id":"%s","row":{"status":"failed"}}\n' % name),
                "folder's name",
            )
            for name in (b"", b".", b"..", b"a\\u0000b", b"a\\ud800", b"a\\nb", b"x" * 256)
        ),
        (
            lzma.compress(b'{"archive":1}\n{"id":"x","row":{"status":"failed"},"config":{"recipe":"pst"}}\n'),
            "recipe",
        ),
    ],
)
def test_a_damaged_archive_is_left_out_and_named(tmp_path: Path, content: bytes, why: str) -> None:
    run_folder(tmp_path / "page" / "runs")
    packed(tmp_path / "page", content)
    said: list[Any] = []
    assert len(runs.find(tmp_path / "page", on_damaged=said.append)) == 1
    (left_out,) = said
    assert left_out.path == tmp_path / "page" / archive.FILE
    assert why in left_out.reason


def test_an_archive_that_unpacks_to_too_much_is_left_out_and_named(tmp_path: Path) -> None:
    content = lzma.compress(bytes(1 << 28) + b"x", preset=0)  # takes a second: not while tests are collected
    test_a_damaged_archive_is_left_out_and_named(tmp_path, content, "more than 256 MiB")


def test_runs_that_are_there_twice_count_once(tmp_path: Path) -> None:
    run_folder(tmp_path / "page" / "runs")
    packed(tmp_path / "page", archive.pack(runs.find(tmp_path / "page")))
    (found,) = runs.find(tmp_path / "page")
    assert type(found) is runs.Run


def test_a_page_is_made_again_and_a_grid_goes_on_from_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = Path("tiny.yaml")
    content: dict[str, Any] = {
        "title": "Tiny",
        "question": "Does it go on?",
        "base": {
            "data": "opposites(train=48, val=12, test=24, frames=5, size=16)",
            "recipe.batch": 4,
            "recipe.validate_every": 2,
        },
        "vary": {"cases": {"one": {"attention": "spatial"}, "other": {"attention": "tps(pattern=A)"}}},
        "baseline": "one",
        "scales": {"small": {"tune": {"over": {"recipe.lr": [1e-3, 3e-3]}}, "budgets": [2, 4], "seeds": 1}},
    }
    grid.write_text(yaml.safe_dump(content))
    made = Asked(grid, out=tmp_path / "first", executor="inline", timing_seconds=0.01)
    assert len(run(made).states) == 4
    report(tmp_path / "first", tmp_path / "page")
    report(tmp_path / "page", tmp_path / "again")
    for name in ("index.html", "report.md", "results.csv", "results.tex", archive.FILE):
        assert (tmp_path / "page" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert str(tmp_path).encode() not in lzma.decompress((tmp_path / "page" / archive.FILE).read_bytes())

    # in a fresh clone: nothing is run again but what was added since
    content["scales"]["small"]["seeds"] = 2
    grid.write_text(yaml.safe_dump(content))
    capsys.readouterr()
    again = Asked(grid, out=tmp_path / "second", take_from=(tmp_path / "page",), executor="inline", timing_seconds=0.01)
    states = run(again).states
    said = capsys.readouterr().err
    assert "8 cells, 0 to run" in said
    assert "8 runs at the choices, 4 to run" in said
    assert {state.cell.seed for state in states if not state.kept} == {1}
    content["scales"]["small"]["seeds"] = 1
    (tmp_path / "second" / "grids" / "tiny-small.json").unlink()
    grid.write_text(yaml.safe_dump(content))
    run(again)
    report(tmp_path / "second", tmp_path / "third")
    assert (tmp_path / "page/index.html").read_bytes() == (tmp_path / "third/index.html").read_bytes()
    assert (tmp_path / "page" / archive.FILE).read_bytes() == (tmp_path / "third" / archive.FILE).read_bytes()
