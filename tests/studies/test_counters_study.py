"""`reports/counters/make.py`, with a counter that is not there."""

from study import load


def test_counters_that_are_not_installed_say_so(monkeypatch, tmp_path):
    counters = load("counters")
    tiny = {"tiny": {"name": "vit_micro", "attention": "joint", "frames": 2, "num_classes": 7}}
    monkeypatch.setattr(counters, "MODELS", tiny)
    chosen = ("closed form (tps_lab)", "torch FlopCounterMode with tps_lab's formulas", "fvcore as it comes")
    kept = {name: counters.COUNTERS[name] for name in chosen}
    absent = counters.Counter("no-such-package", 1, kept["fvcore as it comes"].count, "It is not there.")
    monkeypatch.setattr(counters, "COUNTERS", kept | {"absent": absent})
    rows = counters.count_all()
    assert [row["status"] for row in rows] == ["counted"] * 3 + ["not installed: pip install no-such-package"]
    assert rows[0]["macs"] == rows[1]["macs"] > rows[2]["macs"]
    counters.publish(rows, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "not installed: pip install no-such-package" in text
    assert "It is not there." in text
