"""What plugging a variant in costs, measured and printed, never asserted: `make benchmark`.

Time is the process's own CPU time beside the clock's: on a machine that others use, only the first
says something about the code. Candidates take turns, and ratios are of neighbouring calls.
"""

import statistics
import time

import pytest
import timm
import torch

from tps_lab import create_model, videoize
from tps_lab.attention import variants
from tps_lab.attention._modules import rearrange_tokens
from tps_lab.attention.patch_shift import shift_patches
from tps_lab.measure.memory import peak_memory
from tps_lab.measure.step import Step

GIB = 2**30


def in_turn(work, rounds):
    """CPU seconds of every call, name → list, the order turned around each round."""
    seconds = {name: [] for name in work}
    for turn in range(-1, rounds):
        for name in list(work)[:: 1 if turn % 2 else -1]:
            before = time.process_time()
            work[name]()
            if turn >= 0:
                seconds[name].append(time.process_time() - before)
    return seconds


def ratios(seconds, base):
    """Each candidate's median in ms, and its ratio to `base`: median, and the middle half of the pairs."""
    lines = []
    for name, calls in seconds.items():
        low, middle, high = statistics.quantiles(
            [a / b for a, b in zip(calls, seconds[base], strict=True)], n=4, method="inclusive"
        )
        took = f"{1e3 * statistics.median(calls):9.2f} ms CPU"
        lines.append(f"  {name:24} {took}, × {base}: {middle:.3f} ({low:.3f} to {high:.3f})")
    return "\n".join(lines)


def test_converting_a_swin_b(benchmark):
    benchmark.group = "videoize, ready image model"
    image = timm.create_model("swin_base_patch4_window7_224")
    benchmark.pedantic(lambda: videoize(image, "tps+tcs", frames=32, tubelet=2), rounds=5, warmup_rounds=1)


@torch.no_grad()
def test_pst_t_against_the_same_swin_with_spatial_attention(benchmark, capsys):
    benchmark.group = "inference, 1×3×32×224×224"
    models = {
        "spatial": create_model("swin_tiny_patch4_window7_224", "spatial", frames=32, tubelet=2).eval(),
        "PST-T": create_model("pst_tiny").eval(),
    }
    clip = torch.randn(1, 3, 32, 224, 224)
    work = {name: lambda model=model: model(clip) for name, model in models.items()}
    seconds = benchmark.pedantic(lambda: in_turn(work, 12), rounds=1, iterations=1)
    with capsys.disabled():
        print(f"\nPST-T, inference of one clip\n{ratios(seconds, 'spatial')}")


@torch.no_grad()
@pytest.mark.parametrize("side", [14, 56])
def test_shift_and_windows_in_one_gather_and_in_three_steps(benchmark, capsys, side):
    """From a normed map (T, H, W, C) to the tokens of all windows of mixed frames, and back."""
    benchmark.group = f"shift, roll and partition of 16 × {side}×{side} patches, there and back"
    width = 96 * 56 // side
    model = create_model("pst_tiny")
    blocks = [layer.blocks for layer in model.image_model.layers]
    attention = next(b[1].attn for b in blocks if b[1].attn.grid.height == side)
    x = torch.randn(16, side, side, width)

    def one_gather():
        tokens = rearrange_tokens(x.reshape(1, -1, width), attention.order, attention.back, attention.permutes)
        back = rearrange_tokens(tokens, attention.back, attention.order, attention.permutes)
        return tokens, back.reshape(x.shape)

    def three_steps():
        windows = x.roll((-3, -3), (1, 2)).reshape(16, side // 7, 7, side // 7, 7, width)
        windows = windows.permute(1, 3, 0, 2, 4, 5).reshape(-1, 16, 7, 7, width)
        tokens = shift_patches(windows, "C")
        back = shift_patches(tokens, "C", inverse=True).reshape(side // 7, side // 7, 16, 7, 7, width)
        return tokens, back.permute(2, 0, 3, 1, 4, 5).reshape(x.shape).roll((3, 3), (1, 2))

    assert torch.equal(one_gather()[1], x)
    assert torch.equal(three_steps()[1], x)
    work = {"one gather": one_gather, "roll, partition, shift": three_steps}
    seconds = benchmark.pedantic(lambda: in_turn(work, 30), rounds=1, iterations=1)
    with capsys.disabled():
        print(f"\n16 × {side}×{side} patches of {width} channels\n{ratios(seconds, 'one gather')}")


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("vit_small_patch16_224", {"frames": 8, "depth": 4}),
        (
            "swin_tiny_patch4_window7_224",
            {"frames": 8, "depths": (1, 1, 2, 1), "embed_dim": 48, "size": 112},
        ),
    ],
)
def test_peak_memory_of_each_variant(benchmark, capsys, backbone, options):
    """Also says how much of it is attention scores: fused attention keeps none, a mask or bias does."""
    benchmark.group = "peak memory"
    found = {}

    def measure():
        for name, variant in variants().items():
            if backbone.startswith("swin") and not variant.windowed:
                continue
            more = {"every": 1} if "every" in variant.options() else {}
            model = create_model(backbone, name, num_classes=10, **options, **more)
            found[name] = peak_memory(model, Step(1))

    benchmark.pedantic(measure, rounds=1, iterations=1)
    base = found["spatial"]
    with capsys.disabled():
        print(f"\n{backbone} {options}: {base.how}\n  {'variant':20} {'training':>12} {'inference':>12}   × spatial")
        for name, peak in found.items():
            print(
                f"  {name:20} {peak.training / GIB:8.3f} GiB {peak.inference / GIB:8.3f} GiB   "
                f"{peak.training / base.training:.2f}, {peak.inference / base.inference:.2f}"
            )
