"""How long commands take to start, and predictions of memory to make."""

import os
import subprocess
import sys

import pytest

from tps_lab.measure.cost_figures import Configuration, predictions
from tps_lab.measure.step import Step


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


def hundred():
    """ViT-S, ViT-B and Swin-T, five variants or four, precisions, batches, fused and unfused: 100 configurations."""
    vits = [
        Configuration(backbone, attention, {"frames": 8}, Step(batch, precision=precision, fused=fused))
        for backbone in ("vit_small_patch16_224", "vit_base_patch16_224")
        for attention in ("spatial", "tps", "divided", "joint", "local(window=7)")
        for batch, precision, fused in ((2, "fp32", True), (8, "fp32", True), (2, "bf16", True), (8, "bf16", True),
                                        (2, "bf16", False), (8, "bf16", False))
    ]  # fmt: skip
    swin, clip = "swin_tiny_patch4_window7_224", {"frames": 32, "tubelet": 2}
    swins = [
        Configuration(swin, attention, clip, Step(batch, precision=precision))
        for attention in ("spatial", "tps", "tps+tcs", "local(window=7)")
        for batch in (1, 2, 4, 8, 16)
        for precision in ("fp32", "bf16")
    ]  # fmt: skip
    return vits + swins


def test_a_hundred_predictions_of_peak_memory(benchmark, capsys):
    """To reach: 45 s on 2 idle cores."""
    configurations = hundred()
    assert len(configurations) == 100
    before = os.times()
    found = benchmark.pedantic(lambda: predictions(configurations, jobs=2), rounds=1, iterations=1)
    after = os.times()
    assert len(found) == 100
    spent = sum(after[kind] - before[kind] for kind in range(4))
    with capsys.disabled():
        print(f"\n100 predictions: {benchmark.stats.stats.median:.1f} s, of which {spent:.1f} s of processor time")
    benchmark.extra_info["processor_seconds"] = spent
