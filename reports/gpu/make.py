"""What a shift and a training step cost on a GPU: `python reports/gpu/make.py` measures on the GPU at hand.

Without a GPU it only writes report.md again, from results.json. Everything is timed in turn with what it is
compared with, by CUDA events. As a CUDA graph, kernels run without Python between them; a single gather is too
short to be timed otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "speed")]
from study import write_page  # noqa: E402

from tps_lab.files import write_whole  # noqa: E402

SHAPES = (
    (64, 8, 4, 4, 64), (4, 8, 14, 14, 384), (8, 8, 14, 14, 768), (2, 16, 56, 56, 96), (4, 16, 56, 56, 96)
)  # fmt: skip
MODELS = (
    ("vit_small_patch16_224", {"frames": 8}, 8),
    ("swin_tiny_patch4_window7_224", {"frames": 32, "tubelet": 2}, 4),
)
WAYS = ("copy", "plain", "triton")


def shift(shape: list[int], dtype: str) -> dict[str, Any]:
    """Pattern C forward and backward, beside a plain copy: eager, and twenty as one CUDA graph."""
    import torch
    from instead import Copy

    from tps_lab.attention.patch_shift import shift_patches
    from tps_lab.measure.step import graphed
    from tps_lab.measure.timing import interleaved, paired_ratio

    def both_passes(way: str) -> Callable[[], None]:
        x = torch.randn(shape, device="cuda").to(getattr(torch, dtype)).requires_grad_()
        grad = torch.randn(shape, device="cuda").to(x.dtype)

        def run() -> None:
            x.grad = None
            os.environ["TPS_LAB_GATHER"] = "plain" if way == "copy" else way
            (Copy.apply(x) if way == "copy" else shift_patches(x, "C")).backward(grad)

        return run

    work = {way: both_passes(way) for way in WAYS}
    row: dict[str, Any] = {"shape": shape, "dtype": dtype}
    try:
        for kind, calls in (("eager", 1), ("graph", 20)):
            timed = work if calls == 1 else {way: graphed(run, calls) for way, run in work.items()}
            found = interleaved(timed, 100, seconds=2)
            row[kind] = {
                way: {
                    "us": round(1e3 * found[way].median / calls, 2),
                    "over_copy": paired_ratio(found[way].calls, found["copy"].calls).row(),
                }
                for way in WAYS
            }
    finally:
        os.environ.pop("TPS_LAB_GATHER", None)
    return row


def steps(backbone: str, options: dict[str, int], batch: int, what: Any, compiled: bool) -> dict[str, Any]:
    """A step of several models in turn, in bfloat16; eager ones also as CUDA graphs."""
    import torch
    import torchvision

    from tps_lab import create_model
    from tps_lab.measure.step import Step, prepared
    from tps_lab.measure.timing import interleaved, paired_ratio

    torch.compiler.reset()  # it compiles a function for eight models, and then no more
    step = Step(batch, what == "training step", "bf16", compile="inductor" if compiled else None)
    swin = "swin" in backbone
    names = ["spatial", "tps"] + ([] if compiled else ["tps+tcs"] if swin else ["tps+tcs", "joint", "divided"])
    made = {name: create_model(backbone, name, **options).cuda() for name in names}
    shape = made["spatial"].clip_shape
    if swin and not compiled:
        made["torchvision swin3d_t"] = torchvision.models.video.swin3d_t(num_classes=1000).cuda()
    work, seconds = {}, {}
    for name, model in made.items():
        work[name], seconds[name] = prepared(model, step, shape)
    for name in () if compiled else ("spatial", "tps"):
        work[f"{name}, CUDA graph"], _ = prepared(made[name], dataclasses.replace(step, compile=None, graphs=True))
    found = interleaved(work, 60, seconds=15)
    base = found["spatial"].calls
    row: dict[str, Any] = {
        "backbone": backbone, "options": options, "batch": batch, "what": what, "precision": "bf16",
        "compiled": compiled, "compile_seconds": seconds, "graph_over_graph": None,
        "ms": {name: timing.row() | {"rounds": len(timing.calls)} for name, timing in found.items()},
        "over_spatial": {n: paired_ratio(t.calls, base).row() for n, t in found.items() if n != "spatial"},
    }  # fmt: skip
    if not compiled:
        graphs = [found[f"{name}, CUDA graph"].calls for name in ("tps", "spatial")]
        row["graph_over_graph"] = paired_ratio(*graphs).row()
    return row


def machine() -> dict[str, Any]:
    import timm
    import torch
    import triton

    return {
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__,
        "timm": timm.__version__, "python": platform.python_version(), "date": str(date.today()),
    }  # fmt: skip


WHATS = ("inference", "training step")


def cases() -> list[tuple[str, dict[str, Any]]]:
    """The function that measures, and its arguments; compiling takes longest and comes last."""
    found: list[tuple[str, dict[str, Any]]] = [
        ("shift", {"shape": list(shape), "dtype": dtype}) for dtype in ("float32", "bfloat16") for shape in SHAPES
    ]
    for compiled in (False, True):
        for backbone, options, batch in MODELS:
            for what in WHATS:
                model = {"backbone": backbone, "options": options, "batch": batch}
                found.append(("steps", {**model, "what": what, "compiled": compiled}))
    return found


def measure(file: Path) -> list[str]:
    """Every case, kept in `file` as it comes; those that the same GPU and versions have left there stay.

    Returns:
        The cases that failed, and why.
    """
    results: dict[str, Any] = {"machine": machine(), "shift": [], "steps": []}
    before = json.loads(file.read_text()) if file.exists() else results
    if all(before["machine"].get(key) == value for key, value in results["machine"].items() if key != "date"):
        results = before
    failed = []
    for part, case in cases():
        if any(all(row[key] == value for key, value in case.items()) for row in results[part]):
            continue
        try:
            results[part].append(globals()[part](**case))
        except Exception as error:  # the others can be measured all the same
            failed.append(f"{part} {case}: {type(error).__name__}: {error}")
        else:
            write_whole(file, json.dumps(results, indent=1))
    return failed


def publish(results: dict[str, Any], out: Path) -> Path:
    """report.md from what was measured."""
    return write_page(
        HERE / "template.md", out, **results, ways=WAYS[1:], ratio=ratio, remarks=(HERE / "remarks.md").read_text()
    )


def ratio(row: dict[str, Any]) -> str:
    interval = f" ({row['low']:.2f}–{row['high']:.2f})" if row["low"] is not None else f" ({row['rounds']} rounds)"
    return f"{row['median']:.2f}{interval}"


if __name__ == "__main__":
    import torch

    file, failed = HERE / "results.json", []
    if torch.cuda.is_available():
        failed = measure(file)
    elif not file.exists():
        sys.exit("no CUDA device, and no results.json to write the page from")
    print(publish(json.loads(file.read_text()), HERE))
    sys.exit("\n".join(failed) or None)
