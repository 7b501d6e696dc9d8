"""How long commands take to start, and predictions of memory to make."""

import os
import subprocess
import sys

import pytest
from study import load

load("speed")
import many  # noqa: E402  # beside the page, which puts its folder on the path


@pytest.mark.parametrize(
    "command",
    {"import tps_lab": "import tps_lab", "tps-lab --help": "--help", "tps-lab pattern C": "pattern C"}.items(),
    ids=lambda item: item[0],
)
def test_start_up(benchmark, command):
    benchmark.group = "start-up, whole process"
    name, what = command
    code = what if name.startswith("import") else "from tps_lab.cli import main; main()"
    arguments = [] if name.startswith("import") else what.split()
    run = [sys.executable, "-c", code, *arguments]
    benchmark.pedantic(lambda: subprocess.run(run, capture_output=True, check=True), rounds=7, warmup_rounds=1)


def test_a_hundred_predictions_of_peak_memory(benchmark, capsys):
    """To reach: 45 s on 2 idle cores."""
    configurations = many.hundred()
    assert len(configurations) == 100
    before = os.times()
    found = benchmark.pedantic(lambda: many.predictions(configurations), rounds=1, iterations=1)
    after = os.times()
    assert len(found) == 100
    spent = sum(after[kind] - before[kind] for kind in range(4))
    with capsys.disabled():
        print(f"\n100 predictions: {benchmark.stats.stats.median:.1f} s, of which {spent:.1f} s of processor time")
    benchmark.extra_info["processor_seconds"] = spent
