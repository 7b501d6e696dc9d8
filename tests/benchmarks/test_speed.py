"""Speed, measured and printed, never asserted: `make benchmark`.

Machines are noisy, so comparisons are paired: the candidates take turns, and what counts is the
ratio of medians.
"""

import statistics
import subprocess
import sys

import pytest
import torch

from tps_lab import create_model
from tps_lab.attention.patch_shift import shift_patches
from tps_lab.measure.latency import training_steps
from tps_lab.patterns import gallery

SHAPES = {"small (64,8,4,4,64)": (64, 8, 4, 4, 64), "ViT-S (4,8,14,14,384)": (4, 8, 14, 14, 384)}


def clone_and_roll(x, pattern):
    """The usual way: a clone, then one roll per cell of the tile (as the released code does it)."""
    y = x.clone()
    for i, row in enumerate(pattern.tile):
        for j, k in enumerate(row):
            if k:
                y[:, :, i :: pattern.rows, j :: pattern.columns] = x[
                    :, :, i :: pattern.rows, j :: pattern.columns
                ].roll(k, 1)
    return y


class Copy(torch.autograd.Function):
    """The floor: one copy forward and one backward, so that both ways move the tokens once."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


WAYS = {
    "a plain copy": Copy.apply,
    "one gather (ours)": lambda x: shift_patches(x, gallery["C"]),
    "clone and roll": lambda x: clone_and_roll(x, gallery["C"]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_shift_alone(benchmark, way, shape):
    benchmark.group = f"pattern C, forward and backward, {shape}"
    x = torch.randn(SHAPES[shape], requires_grad=True)
    grad = torch.randn(SHAPES[shape])

    def both():
        x.grad = None
        WAYS[way](x).backward(grad)

    benchmark.pedantic(both, rounds=60, warmup_rounds=5)


@pytest.mark.parametrize(
    ("backbone", "batch", "options"),
    [
        ("vit_micro", 32, {}),
        ("vit_small_patch16_224", 1, {"frames": 8, "depth": 4}),
    ],
)
def test_a_tps_training_step_against_a_spatial_one(benchmark, capsys, backbone, batch, options):
    benchmark.group = "training step, in turn with spatial"
    models = {name: create_model(backbone, name, **options) for name in ("spatial", "tps", "joint", "divided")}
    shape = models["tps"].clip_shape
    timings = benchmark.pedantic(
        lambda: training_steps(models, shape, batch, repeats=40, seconds=120), rounds=1, iterations=1
    )
    base = timings["spatial"].calls
    with capsys.disabled():
        print(f"\n{backbone} {options}, {timings['tps'].how}")
        for name, timing in timings.items():
            ratios = [a / b for a, b in zip(timing.calls, base, strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4)
            print(
                f"  {name:8} {timing.median:8.2f} ms, × spatial: {statistics.median(ratios):.3f} "
                f"(middle half of the pairs {low:.3f} to {high:.3f})"
            )
        benchmark.extra_info["tps / spatial"] = statistics.median(
            a / b for a, b in zip(timings["tps"].calls, base, strict=True)
        )


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
