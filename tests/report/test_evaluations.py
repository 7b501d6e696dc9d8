"""What a report says of several views of each video."""

from __future__ import annotations

from pathlib import Path

from made_up import VARIANTS, MadeUp, made_up

from tps_lab.report import build
from tps_lab.report.evaluations import viewed
from tps_lab.results.groups import group_runs


def seen(seed: int, *views: tuple[str, float], macs: int | None = 28_100_000) -> MadeUp:
    run = made_up(*VARIANTS[0], seed=seed)
    for name, top1 in views:
        n = int(name[0]) * int(name[2])
        run.views.append(
            {
                "views": name,
                "top1_pct": top1,
                "per_view_top1_pct": [top1 - 2] * n,
                "macs_per_view": macs,
                "macs_total": macs and n * macs,
                "test_clips": 100,
            }
        )
    return run


def test_lines_over_seeds_and_by_views() -> None:
    runs = [seen(0, ("2×1", 60), ("4×3", 50)), seen(1, ("4×3", 51)), seen(2, ("4×3", 52))]
    few, many = viewed(group_runs(runs))  # type: ignore[arg-type]
    assert (few.views, few.seeds, few.top1.over) == ("2×1", 1, "test clips")
    assert (many.views, many.seeds, many.top1.mean, many.alone) == ("4×3", 3, 51, 49)
    assert many.top1.over == "seeds"
    assert many.cost == ("0.0281 G", "0.3372 G")


def test_a_page_shows_them(tmp_path: Path) -> None:
    runs = [seen(seed, ("4×3", 50 + seed), macs=None) for seed in range(3)]
    page = build(runs, tmp_path / "report")  # type: ignore[arg-type]
    for text in (page.read_text(), (page.parent / "report.md").read_text()):
        assert "4×3" in text
        assert "disputed" in text
    plain = build([made_up(*VARIANTS[0])], tmp_path / "plain")
    assert "Several views" not in plain.read_text()
