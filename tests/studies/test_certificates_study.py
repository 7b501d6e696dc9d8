"""The page of certificates says what its kept lines hold, of every known model, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study import load

from tps_lab.explain.subjects import SUBJECTS


def test_the_page_is_made_of_what_is_kept() -> None:
    study = load("certificates")
    rows = [json.loads(line)["row"] for line in study.KEPT.read_text().splitlines()]
    assert [row["model"] for row in rows] == list(SUBJECTS)
    assert all(row["as_defined"] and row["kind"] == SUBJECTS[row["model"]].truth for row in rows)
    assert study.page(rows) == study.PAGE.read_text()
    assert all(study.badge(row["model"]).exists() for row in rows)


def test_a_stopped_command_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = load("certificates")
    for name in ("HERE", "BADGES"):
        monkeypatch.setattr(study, name, tmp_path)
    kept, asked = tmp_path / "kept.jsonl", []

    def cell(model: str) -> dict[str, object]:
        asked.append(model)
        return dict(study.cell(model))

    first = list(study.kept_cells(kept, [{"model": "spatial"}], cell))
    both = list(study.kept_cells(kept, [{"model": "spatial"}, {"model": "tps"}], cell))
    assert asked == ["spatial", "tps"]
    assert both[0] == first[0]
    assert [row["kind"] for row in both] == ["order-blind", "cyclic"]
