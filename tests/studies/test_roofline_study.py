"""`reports/roofline/make.py`: how well estimates order models, and the page from made-up times."""

from study import load

from tps_lab.measure.roofline import DEVICES

study = load("roofline")


def test_ranks_and_misses(tmp_path):
    rows = [
        {"backbone": "b", "attention": str(i), "clip": "c", "work": "inference", "estimated_ms": e, "measured_ms": m,
         "macs": i, "bytes": i, "kernels": 1 + i, "ratio": m / e}
        for i, (e, m) in enumerate([(1.0, 2.0), (2.0, 9.0), (3.0, 4.0), (4.0, 16.0)])
    ]  # fmt: skip
    found = study.agreement(rows, "inference")
    assert found["estimated_ms"] == {"spearman": 0.8, "kendall": 0.667}
    assert found["misses"] == [("b, 2, c", "b, 1, c", 2.25)]
    assert found["median_ratio"] == 3.0
    other = [row | {"work": "training"} for row in rows[:2]]
    both = {"inference": found, "training": study.agreement(other, "training")}
    whole = [row | {"backbone": "b"} for row in rows + other]
    page = study.publish({"rows": whole, "device": DEVICES["t4"], "agreement": both}, tmp_path).read_text()
    assert "| inference | 4 | roofline | 0.800 | 0.667 |" in page
    assert "* b, 2, c is estimated above b, 1, c, which takes 2.25 times as long" in page
    assert (
        "**training**: measured is 3.25 times the estimate (median); farthest off is b, 1, c at 4.50. No pair" in page
    )
    assert (tmp_path / "roofline.png").stat().st_size > 5_000
