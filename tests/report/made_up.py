"""Made-up runs with plausible figures, to look at reports without training anything."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAIRS = ("left / right", "up / down", "clockwise / counter-clockwise", "grow / shrink", "appear / vanish")
PAIRS += ("diagonal down / diagonal up",)
MIB = 2**20

# attention, label, variant, pattern, top-1 %, MACs in M, training and inference memory in MiB, latency in ms
VARIANTS: list[tuple[str, str, str, str, float, float, float, float, float]] = [
    ("spatial", "Spatial", "spatial", "", 49.0, 28.1, 124, 31, 20.4),
    ("tps(pattern=A)", "TPS-A", "tps", "A", 66.0, 28.1, 131, 32, 21.9),
    ("tps(pattern=B)", "TPS-B", "tps", "B", 78.0, 28.1, 131, 32, 22.3),
    ("tps", "TPS-C", "tps", "C", 90.0, 28.1, 131, 32, 22.4),
    ("tps(every=1)", "TPS-C (every=1)", "tps", "C", 75.0, 28.1, 138, 32, 24.1),
    ("tps+tcs", "TPS+TCS-C", "tps+tcs", "C", 94.0, 28.1, 142, 34, 25.3),
    ("joint", "Joint", "joint", "", 93.2, 35.4, 187, 52, 34.2),
    ("divided", "Divided (T+S)", "divided", "", 93.0, 39.3, 196, 35, 31.5),
]


@dataclass
class MadeUp:
    """What the reader of run folders gives, with made-up content."""

    row: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    path: Path = Path("runs/made-up")
    views: list[dict[str, Any]] = field(default_factory=list)


def made_up(
    attention: str, label: str, variant: str, pattern: str, top1: float, macs: float, train: float, infer: float,
    latency: float, seed: int = 0, **changes: Any,
) -> MadeUp:  # fmt: skip
    """One finished run; `changes` replace entries of its row."""
    rng = random.Random(f"{attention} {seed}")
    top1 += rng.gauss(0, 0.5)
    ordered = max(top1 - 50, 0) / 50  # how much of the order of frames it knows
    name = f"{variant}-{pattern or 'x'}-{seed}"
    row: dict[str, Any] = {
        "id": f"{name}-{rng.getrandbits(24):06x}", "name": name, "status": "done", "reason": "",
        "attention": attention, "label": label, "variant": variant, "pattern": pattern,
        "backbone": "vit_mini", "data": "opposites", "seed": seed, "frames": 8, "size": 32, "tubelet": 1,
        "temporal_position": variant in ("joint", "divided"), "channels": 128, "depth": 6, "steps": 2000, "batch": 64,
        "top1_pct": top1, "top5_pct": min(97 + rng.random() * 2, 100), "val_top1_pct": top1 + rng.gauss(0, 0.4),
        "chance_pct": 100 / 12, "ceiling_pct": 50.0, "test_clips": 2000,
        "ceiling_reason": "every test clip's exact time reversal is in the test set with the opposite label",
        "per_pair_pct": {pair: min(50 + 50 * ordered + rng.gauss(0, 4) * (1.2 - ordered), 100) for pair in PAIRS},
        "per_class_pct": {name: top1 + rng.gauss(0, 3) for pair in PAIRS for name in pair.split(" / ")},
        "params": 1_201_932, "macs": round(macs * 1e6), "macs_status": "agreed",
        "macs_by_counter": {"fvcore": round(macs * 1e6), "torch": round(macs * 1e6), "closed form": round(macs * 1e6)},
        "peak_memory_bytes": {
            "training": round(train * MIB), "inference": round(infer * MIB), "training_reserved": None,
            "inference_reserved": None, "how": "tracked live tensors, cpu, batch 64",
        },
        "latency_ms": {"median": latency + rng.random(), "iqr": 0.8 + rng.random(), "how": "50 forwards, batch 8"},
        "clips_per_second": 8000 / latency, "train_seconds": 8 * latency + rng.random(),
        "train_step_ms": {"median": 4 * latency, "iqr": 3.0, "how": "all steps"},
        "data_notes": ["2 of 1,797 digits are blank and were left out"],
        "missing": {
            "peak_memory_bytes.training_reserved": "only a GPU's allocator reserves memory",
            "peak_memory_bytes.inference_reserved": "only a GPU's allocator reserves memory",
        },
    }  # fmt: skip
    row |= changes
    metrics = []
    for step in range(0, 2001, 100):
        learnt = (1 - math.exp(-step / 450)) * (row["val_top1_pct"] or 40) + 8 * math.exp(-step / 450)
        metrics.append({"step": step, "split": "train", "loss": 2.5 * math.exp(-step / 900), "lr": 1e-3})
        metrics.append({"step": step, "split": "val", "top1_pct": learnt + rng.gauss(0, 0.8), "loss": 1.0})
    environment = {
        "commit": "d232423", "python": "3.12.3", "torch": "2.11.0", "timm": "1.0.20", "platform": "Linux",
        "cpu": "a processor", "cores": 2, "threads": 2, "gpu": None, "date": "2025-01-31",
        "command": f"tps-lab train --attention '{attention}' --set seed={seed}",
    }  # fmt: skip
    return MadeUp(row, metrics, environment, {}, Path("runs") / row["id"])


def study(seeds: int = 3) -> list[MadeUp]:
    """Eight variants, `seeds` runs each."""
    return [made_up(*variant, seed=seed) for variant in VARIANTS for seed in range(seeds)]


def undone(status: str, reason: str, attention: str = "axial", label: str = "Axial (T+W+H)") -> MadeUp:
    """A run that failed or was interrupted: no figures, few settings."""
    row = {
        "id": f"{attention}-0-abcdef", "name": attention, "status": status, "reason": reason, "attention": attention,
        "label": label, "variant": attention, "pattern": "", "backbone": "vit_mini", "data": "opposites", "seed": 0,
        "frames": 8, "size": 32, "top1_pct": None, "macs": None, "peak_memory_bytes": None, "missing": {},
    }  # fmt: skip
    metrics = (
        [{"step": 100 * i, "split": "val", "top1_pct": 8.0 + 5 * i} for i in range(6)] if status != "failed" else []
    )
    return MadeUp(row, metrics, {}, {}, Path("runs") / str(row["id"]))
