"""How long a report of 500 runs takes and how large its page is: `make benchmark`."""

import sys
from pathlib import Path

import numpy as np

from tps_lab import report

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))


def five_hundred():
    from made_up import made_up

    rng, labels, runs = np.random.default_rng(0), np.arange(3072) % 12, []
    for case in range(100):
        pattern, every = "ABCD"[case % 4], 1 + case // 4
        for seed in range(5):
            run = made_up(
                f"tps(pattern={pattern}, every={every})", f"TPS-{pattern} (every={every})", "tps", pattern,
                50 + 0.4 * case, 28.1, 120 + case, 30, 20 + 0.1 * case, seed=seed, twins=2, test_clips=3072,
                varied={"attention.pattern": pattern, "attention.every": every},
            )  # fmt: skip
            right = rng.random(3072) < run.row["top1_pct"] / 100
            run.predictions = np.where(right, labels, (labels + 1) % 12), labels
            runs.append(run)
    return runs


def test_a_report_of_five_hundred_runs(benchmark, tmp_path):
    runs = five_hundred()
    page = benchmark.pedantic(lambda: report.build(runs, tmp_path), rounds=2, iterations=1)
    benchmark.extra_info["MB"] = page.stat().st_size / 1e6
