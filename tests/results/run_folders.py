"""Run folders as a training leaves them, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tps_lab.results import runs

CLASSES = ["left", "right", "up", "down"]
CLIPS = 24


def run_folder(folder: Path, seed: int = 0, right: int = 12, **changes: Any) -> Path:
    """A whole run on opposites: row, config, environment, metrics, predictions, views.

    Args:
        right: how many of the 24 clips it answers rightly.
        **changes: of the row.
    """
    path = folder / f"{changes.get('label', 'Spatial')}-seed{seed}-0000000{seed}"
    writer = runs.RunWriter(path)
    writer.start({"attention": "spatial", "backbone": "vit_micro", "data": "opposites", "seed": seed})
    top1 = round(100 * right / CLIPS, 4)
    for step in (50, 100):
        writer.log(step=step, seconds=0.5, split="train", loss=1.0, top1_pct=30.0, lr=0.001)
        writer.log(step=step, seconds=0.5, split="val", loss=1.0, top1_pct=top1)
    labels = np.arange(CLIPS) % len(CLASSES)
    said = np.where(np.arange(CLIPS) < right, labels, (labels + 1) % len(CLASSES))
    runs.write_predictions(path, said, labels)
    views = {
        "views": "4×3", "top1_pct": top1, "per_view_top1_pct": [top1] * 12, "macs_per_view": 10, "macs_total": 120,
        "test_clips": CLIPS,
    }  # fmt: skip
    (path / "views-4x3.json").write_text(json.dumps(views))
    row = {
        "id": path.name, "name": "Spatial", "status": "done", "reason": "", "attention": "spatial", "label": "Spatial",
        "variant": "spatial", "pattern": "", "backbone": "vit_micro", "data": "opposites", "seed": seed, "frames": 8,
        "size": 32, "tubelet": 1, "temporal_position": False, "grid": [8, 4, 4], "channels": 64, "depth": 4,
        "steps": 100, "batch": 6, "chance_pct": 25.0, "ceiling_pct": 50.0, "ceiling_reason": "counterparts",
        "classes": CLASSES, "twins": 2, "top1_pct": top1, "top5_pct": None, "val_top1_pct": top1, "test_clips": CLIPS,
        "per_class_pct": {"left": 50.0}, "per_pair_pct": {"left / right": 50.0}, "missing": {}, "train_seconds": 1.0,
        "params": 1000, "macs": 10_000_000, "macs_by_counter": {"fvcore": 10_000_000}, "macs_status": "agreed",
        "peak_memory_bytes": {"training": 2**20, "inference": 2**19, "how": "tracked"},
        "latency_ms": {"median": 1.0, "iqr": 0.1, "how": "wall clock"}, "data_notes": [],
    }  # fmt: skip
    writer.finish(row | changes)
    return path


def change_row(run: Path, **changes: Any) -> None:
    """Replace entries of a run's row, whatever they are."""
    file = run / "row.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
