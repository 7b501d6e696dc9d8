"""Predicted peaks of memory against measured ones, over a grid of models and settings.

The measurements share nothing with the prediction: on CUDA the allocator's counters; on a CPU the
allocator's events as torch's profiler records them, over a real training step. On CUDA every cell runs
in a fresh process, so that nothing leaks from one to the next, and out of memory is a row that says
so; on a CPU the events are differences, which nothing left over can change, and one process does.
"""

from __future__ import annotations

import csv
import itertools
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

# A tiny grid that a laptop's CPU runs in minutes, and one of models as they are used, for a GPU.
_SMALL = {
    "backbone": ("vit_micro", "vit_micro_cls"),
    "attention": ("spatial", "tps", "joint", "divided", "tps+tcs"),
    "frames": (8, 16),
    "size": (32, 64),
    "batch": (2, 8),
}
_LARGE = {
    "backbone": ("vit_small_patch16_224", "vit_base_patch16_224", "swin_tiny_patch4_window7_224"),
    "attention": ("spatial", "tps", "joint", "local(window=7)"),
    "frames": (8, 16),
    "size": (224,),
    "batch": (2, 8),
    "precision": ("fp32", "bf16"),
}


def grid(large: bool) -> list[dict[str, Any]]:
    """The cells, each the keyword arguments of `cell`."""
    axes = _LARGE if large else _SMALL
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def cell(
    backbone: str, attention: str, frames: int, size: int, batch: int, precision: str = "fp32", device: str = "cpu"
) -> dict[str, Any]:
    """Predict and measure one training step; bytes, and the prediction's error in percent."""
    import torch

    from tps_lab.backbones import create_model
    from tps_lab.errors import InputError
    from tps_lab.measure.predict import PRECISIONS, Setting, predict

    row: dict[str, Any] = {"backbone": backbone, "attention": attention, "frames": frames, "size": size}
    row |= {"batch": batch, "precision": precision}

    def make() -> Any:
        return create_model(backbone, attention, frames=frames, size=size, num_classes=100)

    try:
        predicted = predict(make, Setting(batch, precision, target="cuda" if device == "cuda" else "cpu")).training
        model = make().to(device)
    except InputError as error:
        return row | {"status": f"impossible: {error}"}
    row["predicted_bytes"] = predicted
    try:
        measured, reserved = _measured(model, batch, PRECISIONS[precision])
    except torch.OutOfMemoryError:
        return row | {"status": "out of memory"}
    row |= {"measured_bytes": measured, "reserved_bytes": reserved}
    return row | {"error_pct": round(100 * (predicted / measured - 1), 3), "status": "done"}


def _measured(model: Any, batch: int, lower: Any) -> tuple[int, int | None]:
    """Peak bytes of the second training step: allocated, and on CUDA reserved."""
    import torch

    device = next(model.parameters()).device
    clips = torch.zeros(batch, *model.clip_shape, device=device)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        with torch.autocast(device.type, lower, enabled=lower is not None):
            logits = model(clips)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        del logits
        optimizer.step()

    model.train()
    step()
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    state = [value for held in optimizer.state.values() for value in held.values()]
    before = sum(t.untyped_storage().nbytes() for t in [*model.parameters(), *model.buffers(), clips, labels, *state])
    return before + _allocated(step), None


def _allocated(work: Callable[[], None]) -> int:
    """The most bytes that torch's CPU allocator held while `work` ran, above what it held before."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate((event.nbytes() for event in events), initial=0))


def validate(
    out: Path, device: str, cells: Iterable[Mapping[str, Any]], advance: Callable[[int, str | None], None]
) -> dict[str, Any]:
    """Run the cells that `out/cells.jsonl` does not hold yet; write the report.

    Returns:
        The summary: device, cells, median_error_pct and p95_error_pct (of absolute errors).
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / "cells.jsonl"
    known = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(line)
        known[json.dumps(entry["cell"], sort_keys=True)] = entry["row"]
    rows = []
    for done, wanted in enumerate(cells, 1):
        given = {**wanted, "device": device}
        key = json.dumps(given, sort_keys=True)
        if key not in known:
            known[key] = _in_fresh_process(given) if device == "cuda" else cell(**given)
            with file.open("a") as log:
                log.write(json.dumps({"cell": given, "row": known[key]}) + "\n")
        rows.append(known[key])
        advance(done, known[key]["status"])
    return _report(out, device, rows)


def _in_fresh_process(given: Mapping[str, Any]) -> dict[str, Any]:
    code = (
        "import json, sys; from tps_lab.measure.validate import cell; print(json.dumps(cell(**json.load(sys.stdin))))"
    )
    run = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(run, input=json.dumps(given), capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {key: value for key, value in given.items() if key != "device"} | {"status": f"failed: {last}"}


def _report(out: Path, device: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    import timm
    import torch

    finished = [row for row in rows if row["status"] == "done"]
    errors = sorted(abs(row["error_pct"]) for row in finished)
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU ({platform.machine()})"
    summary = {
        "device": name,
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
        "cells": len(rows),
        "measured": len(finished),
        "median_error_pct": round(statistics.median(errors), 3) if errors else None,
        "p95_error_pct": round(errors[-(-95 * len(errors) // 100) - 1], 3) if errors else None,
    }
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (out / "cells.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    how = (
        "the CUDA allocator's counters"
        if device == "cuda"
        else "the allocator's events as torch's profiler records them"
    )
    whole = len(grid(large=device == "cuda"))
    lines = [
        "# Peak memory: predicted against measured",
        "",
        f"Device: {name}; torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()}. "
        f"Measured: {how}, second training step with AdamW.",
        "",
        *([] if device == "cuda" else ["**CUDA: unvalidated.** No figure here was measured on a GPU.", ""]),
        f"Of {len(rows)} cells (the whole grid has {whole}) {len(finished)} were measured; absolute error: "
        f"median {summary['median_error_pct']} %, 95th percentile {summary['p95_error_pct']} %.",
        "",
        "| backbone | attention | frames | size | batch | precision | predicted (MiB) | measured (MiB) | error (%) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = (
            f"{row['predicted_bytes'] / 2**20:.2f} | {row['measured_bytes'] / 2**20:.2f} | {row['error_pct']:+.2f}"
            if row["status"] == "done"
            else f" | | {row['status']}"
        )
        setting = " | ".join(
            str(row[key]) for key in ("backbone", "attention", "frames", "size", "batch", "precision") if key in row
        )
        lines.append(f"| {setting} | {figures} |")
    (out / "report.md").write_text("\n".join(lines) + "\n")
    return summary
