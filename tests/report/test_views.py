"""What a report takes from files beside its runs: several views of each video, and probes of time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up import VARIANTS, made_up

from tps_lab.errors import InputError
from tps_lab.report import build
from tps_lab.report.views import viewed
from tps_lab.viz.groups import group_runs


def seen(folder: Path, seed: int, top1: float, views: str = "4×3", macs: int | None = 28_100_000) -> object:
    run = made_up(*VARIANTS[0], seed=seed)
    run.path = folder / f"seed{seed}"
    run.path.mkdir(exist_ok=True)
    n = int(views[0]) * int(views[2])
    row = {
        "views": views,
        "top1_pct": top1,
        "per_view_top1_pct": [top1 - 2] * n,
        "macs_per_view": macs,
        "macs_total": macs and n * macs,
        "test_clips": 100,
    }
    (run.path / f"views-{views.replace('×', 'x')}.json").write_text(json.dumps(row))
    return run


def test_lines_over_seeds_and_by_views(tmp_path: Path) -> None:
    runs = [seen(tmp_path, seed, 50 + seed) for seed in range(3)]
    seen(tmp_path, 0, 60, "2×1")
    few, many = viewed(group_runs(runs))  # type: ignore[arg-type]
    assert (few.views, few.seeds, few.top1.over) == ("2×1", 1, "test clips")
    assert (many.views, many.seeds, many.top1.mean, many.alone) == ("4×3", 3, 51, 49)
    assert many.top1.over == "seeds"
    assert many.cost == ("0.0281 G", "0.3372 G")


def test_a_page_shows_them(tmp_path: Path) -> None:
    runs = [seen(tmp_path, seed, 50 + seed, macs=None) for seed in range(3)]
    page = build(runs, tmp_path / "report")  # type: ignore[arg-type]
    for text in (page.read_text(), (page.parent / "report.md").read_text()):
        assert "4×3" in text
        assert "disputed" in text
    plain = build([made_up(*VARIANTS[0])], tmp_path / "plain")
    assert "Several views" not in plain.read_text()


@pytest.mark.parametrize("wrong", ["{", "[]", '{"views": "4×3"}'])
def test_a_damaged_file_is_named(tmp_path: Path, wrong: str) -> None:
    run = seen(tmp_path, 0, 50)
    (tmp_path / "seed0" / "views-4x3.json").write_text(wrong)
    with pytest.raises(InputError, match=r"views-4x3.json.*tps-lab evaluate writes it again"):
        viewed(group_runs([run]))  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", ["{", "[]", '{"probes": []}'])
def test_a_damaged_file_of_probes_is_named_too(tmp_path: Path, wrong: str) -> None:
    run = seen(tmp_path, 0, 50)
    (tmp_path / "seed0" / "time_use.json").write_text(wrong)
    with pytest.raises(InputError, match=r"time_use.json.*tps-lab probe writes it again"):
        build([run], tmp_path / "report")  # type: ignore[list-item]
