"""Every attention variant and whole models: a forward pass, a training step, their peaks of memory."""

import pytest
import torch

from tps_lab import create_model
from tps_lab.attention import variants
from tps_lab.errors import InputError
from tps_lab.measure import best_device, compare_latency
from tps_lab.measure.memory import peak_memory
from tps_lab.measure.step import Step, prepared, synchronise

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
MODELS = {
    "ViT-S/16 of 4 blocks, 8×224²": ("vit_small_patch16_224", {"frames": 8, "depth": 4}, 1),
    "micro Swin, 8×48²": ("swin_micro", {"frames": 8, "size": 48}, 8),
}
# of models as they are used
LARGE = {
    "ViT-B/16, 8×224²": ("vit_base_patch16_224", {"frames": 8}, 4),
    "Swin-T, 32×224²": ("swin_tiny_patch4_window7_224", {"frames": 32, "tubelet": 2}, 4),
}


def timed(benchmark, model, what, batch, rounds, precision="fp32"):
    step, _ = prepared(model, Step(batch, what == "training step", precision))
    device = next(model.parameters()).device

    def waited_for():
        step()
        synchronise(device)

    benchmark.pedantic(waited_for, rounds=rounds, warmup_rounds=3)
    peaks = peak_memory(model, Step(batch))
    benchmark.extra_info["peak_memory_bytes"] = peaks.training if what == "training step" else peaks.inference
    benchmark.extra_info["how"] = peaks.how


@pytest.mark.parametrize("what", ["inference", "training step"])
@pytest.mark.parametrize("name", list(variants()))
def test_every_variant(benchmark, name, what):
    benchmark.group = f"vit_micro, batch 16, {what}"
    try:
        model = create_model("vit_micro_cls" if name == "tokshift" else "vit_micro", name, num_classes=12)
    except InputError as error:
        pytest.skip(str(error))
    timed(benchmark, model.to(best_device()), what, 16, rounds=15)


@pytest.mark.parametrize("what", ["inference", "training step"])
@pytest.mark.parametrize("name", ["spatial", "tps"])
@pytest.mark.parametrize("size", MODELS)
def test_whole_models(benchmark, size, name, what):
    backbone, options, batch = MODELS[size]
    benchmark.group = f"{size}, batch {batch}, {what}"
    timed(benchmark, create_model(backbone, name, **options).to(best_device()), what, batch, rounds=10)


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize("what", ["inference", "training step"])
@pytest.mark.parametrize("name", ["spatial", "tps", "joint"])
@pytest.mark.parametrize("size", LARGE)
def test_large_models(benchmark, size, name, what):
    backbone, options, batch = LARGE[size]
    benchmark.group = f"{size}, batch {batch}, bf16, {what}"
    timed(benchmark, create_model(backbone, name, **options).cuda(), what, batch, rounds=20, precision="bf16")


@pytest.mark.parametrize(
    ("backbone", "options", "batch", "precision"),
    [
        ("vit_micro", {}, 32, "fp32"),
        ("vit_small_patch16_224", {"frames": 8, "depth": 4}, 1, "fp32"),
        pytest.param(
            "swin_tiny_patch4_window7_224", {"frames": 32, "tubelet": 2}, 4, "bf16", marks=[pytest.mark.gpu, NO_GPU]
        ),
    ],
)
def test_training_steps_in_turn_with_spatial(benchmark, capsys, backbone, options, batch, precision):
    """To reach: 1.02 for TPS on CUDA at Swin-T, 32×224²."""
    benchmark.group = "training step, in turn with spatial"
    device = best_device() if precision == "fp32" else "cuda"
    names = ("spatial", "tps", "joint", "divided")[: 4 if "vit" in backbone else 3]
    models = {name: create_model(backbone, name, **options).to(device) for name in names}
    step = Step(batch, precision=precision)
    found = benchmark.pedantic(lambda: compare_latency(models, step=step, seconds=40), rounds=1, iterations=1)
    with capsys.disabled():
        print(f"\n{backbone} {options}, {found.timings['tps'].how}")
        for name, timing in found.timings.items():
            beside = f", × spatial: {found.ratios[name]}" if name in found.ratios else ""
            print(f"  {name:8} {timing.median:8.2f} ms{beside}")
    benchmark.extra_info["tps / spatial"] = found.ratios["tps"].row()
