"""What ways of mixing cost over 8 to 128 frames: `python reports/relations/make.py` counts, predicts and times.

Times are of the device at hand, CUDA if there is one, and join those of other devices in results.json. A stopped
command goes on where it was; times that were taken while other programs ran are taken again. With `--page` only
report.md is written again. Counting takes some ten minutes, timing on a CPU six.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import write_page  # noqa: E402

FRAMES = (8, 16, 32, 64, 128)
TIMED = {"cpu": (8, 16), "cuda": FRAMES}  # longer ones take a quarter of an hour and more on a CPU
RUN = {"cpu": "float32", "cuda": "bfloat16, as a CUDA graph"}
BACKBONE, DEPTH, PATCHES = "vit_small_patch16_224", 4, (14, 14)
NAMES = (
    *("spatial", "tps", "st-adapter", "zeroi2v", "mem", "aim", "leap", "divided", "areas", "joint(every=2)", "natten"),
    *("sliding-tile", "sliding-tile(tile_frames=4, tile=7)", "radial", "svg", "first-and-previous", "causal", "joint"),
    "joint(rotary=true)",
)
BUSY = 2.0  # runnable processes besides ours: then times are of that machine, too


def model(name: str, frames: int) -> Any:
    from tps_lab import create_model

    return create_model(BACKBONE, name, frames=frames, depth=DEPTH, num_classes=174)


def counted(name: str, frames: int) -> dict[str, Any]:
    """Pairs of four blocks, and the memory that a training step of one clip needs on a GPU."""
    from tps_lab.attention import Grid, Relation, parse
    from tps_lab.measure.predicted_memory import predict
    from tps_lab.measure.step import Step

    variant = parse(name)
    grid = Grid(frames, *PATCHES, 1, variant.prefix_of)
    row: dict[str, Any] = {
        "attention": name,
        "frames": frames,
        **variant.pairs(grid, DEPTH),
        "executed_in_blocks": None,
    }
    if isinstance(variant, Relation):
        os.environ["TPS_LAB_RELATIONS"] = "flex"
        row["executed_in_blocks"] = variant.pairs(grid, DEPTH)["executed"]
        del os.environ["TPS_LAB_RELATIONS"]
    row["training_bytes"] = predict(lambda: model(name, frames), Step(batch=1, precision="bf16")).training
    return row


def timed(frames: int, device: str) -> tuple[dict[str, Any], list[str]]:
    """A forward pass of one clip, all in turn, on CUDA relations also by FlexAttention; and who failed, and why.

    As CUDA graphs, since starting the kernels of a few frames takes longer than running them.
    """
    import torch

    from tps_lab.attention import Relation, parse
    from tps_lab.measure.step import Step, prepared
    from tps_lab.measure.timing import interleaved, paired_ratio

    torch.compiler.reset()  # so that FlexAttention's kernels are those of this length, and not of any
    on_gpu, work, failed = device == "cuda", {}, []
    step = Step(1, training=False, precision="bf16" if on_gpu else "fp32", graphs=on_gpu)
    for name in NAMES:
        kernels = ("dense", "flex") if on_gpu and isinstance(parse(name), Relation) else ("dense",)
        for kernel in kernels:
            os.environ["TPS_LAB_RELATIONS"] = kernel
            called = name if kernel == "dense" else f"{name}, flex"
            try:
                work[called], _ = prepared(model(name, frames).to(device), step)
            except Exception as error:  # the others can be timed all the same
                failed.append(f"{called}, {frames} frames: {type(error).__name__}: {error}".splitlines()[0])
    os.environ.pop("TPS_LAB_RELATIONS", None)
    if "joint" not in work:  # nothing to hold the others against
        return {}, failed
    found = interleaved(work, 20, seconds=30) if on_gpu else interleaved(work, 7, warm_up=2, seconds=240)
    base = found["joint"].calls
    return {
        name: {"ms": round(timing.median, 3), "over_joint": paired_ratio(timing.calls, base).row()}
        for name, timing in found.items()
    }, failed


def publish(results: dict[str, Any], out: Path) -> Path:
    """report.md from what was counted and timed."""
    remarks = HERE / "remarks.md"
    return write_page(
        HERE / "template.md", out, backbone=BACKBONE, lengths=FRAMES, names=NAMES, counted=results["counted"],
        rows={(row["attention"], row["frames"]): row for row in results["rows"]}, times=results["times"],
        ratio=ratio, remarks=remarks.read_text() if remarks.exists() else "",
    )  # fmt: skip


def ratio(row: dict[str, Any]) -> str:
    return f"{row['median']:.2f}" + ("" if row["low"] is None else f", {row['low']:.2f}–{row['high']:.2f}")


def main() -> None:
    import platform

    import torch

    file, failed = HERE / "results.json", list[str]()
    results = json.loads(file.read_text()) if file.exists() else {"counted": "", "rows": [], "times": {}}
    if "--page" not in sys.argv:
        have = {(row["attention"], row["frames"]) for row in results["rows"]}
        for frames in FRAMES:
            for name in NAMES:
                if (name, frames) not in have:
                    results["rows"].append(counted(name, frames))
                    results["counted"] = f"counted and predicted with torch {torch.__version__}, {date.today()}"
                    file.write_text(json.dumps(results, indent=1))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        called = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, one thread"
        torch.set_num_threads(1)
        times = results["times"].setdefault(called, {"how": "", "run": RUN[device], "ms": {}, "load": {}})
        for frames in TIMED[device]:
            of = times["ms"].get(str(frames), {})
            quiet = device == "cuda" or times["load"].get(str(frames), BUSY) < BUSY  # a graph waits for no processor
            if quiet and set(NAMES) <= set(of):
                continue
            load = os.getloadavg()[0]
            times["ms"][str(frames)], those = timed(frames, device)
            failed += those
            times["load"][str(frames)] = round(max(load, os.getloadavg()[0] - 1), 1)  # one of them is this
            times["how"] = f"torch {torch.__version__}, {date.today()}"
            file.write_text(json.dumps(results, indent=1))
    print(publish(results, HERE))
    sys.exit("\n".join(failed) or None)


if __name__ == "__main__":
    main()
