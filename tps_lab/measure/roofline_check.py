"""Roofline estimates against measured times of many models on this CPU: `tps-lab roofline`."""

from __future__ import annotations

import csv
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# (backbone, attention, frames, pixels): from under a millisecond to a second, every way of mixing
MODELS: tuple[tuple[str, str, int, int | None], ...] = (
    ("vit_micro", "spatial", 8, None),
    ("vit_micro", "tps", 16, None),
    ("vit_micro", "joint", 8, None),
    ("vit_micro", "joint", 32, 64),
    ("vit_micro", "divided", 16, None),
    ("vit_micro", "local(window_frames=2, window=2)", 8, None),
    ("vit_micro", "factorised-encoder", 8, 64),
    ("vit_mini", "spatial", 8, None),
    ("vit_mini", "tps", 8, None),
    ("vit_mini", "joint", 8, None),
    ("vit_mini", "divided", 8, None),
    ("vit_mini", "xvit", 16, None),
    ("vit_mini", "trajectory", 8, None),
    ("swin_micro", "spatial", 16, None),
    ("swin_micro", "tps+tcs", 16, 48),
    ("swin_micro", "joint", 16, 48),
    ("vit_tiny_patch16_224", "spatial", 4, 112),
    ("vit_tiny_patch16_224", "tps(pattern=A)", 8, 112),
    ("vit_tiny_patch16_224", "joint", 8, 112),
    ("pvt_v2_b0", "tps(pattern=A)", 4, 96),
    ("beit_base_patch16_224", "spatial", 1, 112),
    ("tiny_vit_5m_224", "spatial", 2, 112),
)
WORKS = ("inference", "training")


def check(
    advance: Callable[[int, str | None], None] = lambda done, status: None, models: Any = MODELS
) -> dict[str, Any]:
    """Estimate and measure, one clip at a time: inference, and forward with backward.

    Models are measured in turn, several rounds; the median is kept. With one thread the clock is that
    thread's own, so that other programs' turns do not count.

    Returns:
        rows, the calibrated device, and per work Spearman's and Kendall's rank correlations.
    """
    from tps_lab import create_model
    from tps_lab.measure.roofline import estimate, this_cpu
    from tps_lab.measure.trace import trace

    cpu = this_cpu()
    rows, calls = [], []
    for done, (backbone, attention, frames, size) in enumerate(models, 1):

        def make(given: Any = (backbone, attention, frames, size)) -> Any:
            return create_model(given[0], given[1], frames=given[2], size=given[3], num_classes=100)

        for work in WORKS:
            model = make().train(work == "training")
            traced = trace(make, training=work == "training")
            guess = estimate(traced, cpu)
            row = {"backbone": backbone, "attention": attention, "clip": "×".join(map(str, model.clip_shape[1:]))}
            row |= {"work": work, "macs": traced.macs(), "bytes": traced.bytes(), "kernels": len(traced.kernels)}
            rows.append(row | {"estimated_ms": round(guess.ms, 4), "memory_bound": round(guess.memory_bound, 3)})
            calls.append(_call(model, work))
        advance(done, None)
    for row, measured in zip(rows, _in_turn(calls), strict=True):
        row["measured_ms"] = round(measured, 4)
        row["ratio"] = round(measured / row["estimated_ms"], 3)
    return {"device": cpu, "rows": rows, "agreement": {work: agreement(rows, work) for work in WORKS}}


def _call(model: Any, work: str) -> Callable[[], None]:
    import torch

    clip, label = torch.randn(1, *model.clip_shape), torch.zeros(1, dtype=torch.long)

    def infer() -> None:
        with torch.no_grad():
            model(clip)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(clip), label).backward()

    return train if work == "training" else infer


def _in_turn(calls: Sequence[Callable[[], None]], rounds: int = 7) -> list[float]:
    """Median milliseconds of each call, all of them in turn, each right after one that is not timed.

    So caches hold what they hold when a model runs by itself, not what another model left there.
    """
    from tps_lab.measure.roofline import cpu_clock

    clock = cpu_clock()
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, spent, strict=True):
            call()
            before = clock()
            call()
            times.append(1e3 * (clock() - before))
    return [statistics.median(times) for times in spent]


def agreement(rows: Sequence[dict[str, Any]], work: str) -> dict[str, Any]:
    """How well estimates order the models, and by how much they miss.

    Returns:
        spearman, kendall; the same of multiply-adds alone, of bytes alone; the median of measured ÷
        estimated; and the pairs that stand the wrong way round although the measured times differ by
        more than a fifth.
    """
    from scipy.stats import kendalltau, spearmanr

    chosen = [row for row in rows if row["work"] == work]
    measured = [row["measured_ms"] for row in chosen]
    found: dict[str, Any] = {"models": len(chosen)}
    for name in ("estimated_ms", "macs", "bytes", "kernels"):
        values = [row[name] for row in chosen]
        found[name] = {
            "spearman": round(float(spearmanr(values, measured).statistic), 3),
            "kendall": round(float(kendalltau(values, measured).statistic), 3),
        }
    found["median_ratio"] = round(statistics.median(row["ratio"] for row in chosen), 2)
    found["misses"] = [
        (_name(a), _name(b), round(b["measured_ms"] / a["measured_ms"], 2))
        for a in chosen
        for b in chosen
        if a["estimated_ms"] > b["estimated_ms"] and a["measured_ms"] * 1.2 < b["measured_ms"]
    ]
    return found


def _name(row: dict[str, Any]) -> str:
    return f"{row['backbone']}, {row['attention']}, {row['clip']}"


def publish(found: dict[str, Any], out: Path) -> None:
    """report.md, roofline.png and cells.csv."""
    import torch

    from tps_lab.viz import roofline

    out.mkdir(parents=True, exist_ok=True)
    rows = found["rows"]
    with (out / "cells.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    picture: Any = roofline(rows).figure
    picture.savefig(out / "roofline.png")
    clock = "CPU time of the one thread" if torch.get_num_threads() == 1 else "wall time"
    lines = [
        "# Roofline estimates against measured latency",
        "",
        "`tps-lab roofline --out DIR` makes this page. Every kernel of a model is given the longer of its arithmetic "
        "at the calibrated peak and its bytes at the calibrated bandwidth, plus an overhead; the sum is held "
        "against measured time.",
        "",
        f"Device: {found['device'].name}; torch {torch.__version__}, Python {platform.python_version()}. One clip, "
        f"float32; medians of 7 calls, models in turn; {clock}.",
        "",
        "No parameter is fitted to these models. But the calibration and the way of timing were revised once after "
        "seeing them (ρ had been 0.976 and 0.977), so this is no test on models never seen.",
        "",
        "## Does it order models rightly?",
        "",
        "Rank correlation with the measured times (Spearman's ρ, Kendall's τ), beside that of simpler predictors:",
        "",
        "| work | models | predictor | ρ | τ |",
        "|---|---|---|---|---|",
    ]
    labels = {"estimated_ms": "roofline", "macs": "multiply-adds", "bytes": "bytes moved", "kernels": "kernels"}
    for work, fit in found["agreement"].items():
        lines += [
            f"| {work} | {fit['models']} | {label} | {fit[name]['spearman']:.3f} | {fit[name]['kendall']:.3f} |"
            for name, label in labels.items()
        ]
    lines += ["", "![measured against estimated](roofline.png)", "", "## Where it misses", ""]
    for work, fit in found["agreement"].items():
        worst = max((row for row in rows if row["work"] == work), key=lambda row: max(row["ratio"], 1 / row["ratio"]))
        lines += [
            f"**{work}**: measured is {fit['median_ratio']:.2f} times the estimate (median); farthest off is "
            f"{_name(worst)} at {worst['ratio']:.2f}. "
            + ("No pair whose times differ by more than a fifth stands the wrong way round." if not fit["misses"] else
               "Pairs in the wrong order although their times differ by more than a fifth:"),
            "",
            *(f"* {slower} is estimated above {faster}, which takes {ratio} times as long" for slower, faster, ratio
              in fit["misses"]),
            *([""] if fit["misses"] else []),
        ]  # fmt: skip
    cpu = found["device"]
    peaks = [f"{rate / 1e9:.0f} GFLOP/s at {size / 1e6:.2g} MFLOP" for size, rate in cpu.flops["fp32"]]
    rates = [f"{rate / 1e9:.0f} GB/s at {size / 2**20:.2g} MiB" for size, rate in cpu.bandwidth]
    lines += [
        "## All figures",
        "",
        "| backbone | attention | clip | work | multiply-adds (M) | bytes (MiB) | kernels | estimated (ms) "
        "| measured (ms) | measured ÷ estimated |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['backbone']} | {row['attention']} | {row['clip']} | {row['work']} | {row['macs'] / 1e6:.1f} | "
        f"{row['bytes'] / 2**20:.1f} | {row['kernels']} | {row['estimated_ms']:.2f} | {row['measured_ms']:.2f} | "
        f"{row['ratio']:.2f} |"
        for row in rows
    ]
    lines += [
        "",
        f"Calibrated: matrices {', '.join(peaks)}; elementwise products {', '.join(rates)}; "
        f"a kernel {1e6 * cpu.launch:.1f} µs.",
        "",
        "Not modelled: the arithmetic of exponentials and error functions (softmax, GELU), that depthwise convolutions "
        "and small attention matrices do not reach the peak of a large matrix product, caches between kernels, memory "
        "formats. Hence a ratio above 1, most of all for models of many convolutions or small kernels. The bounds for "
        "GPUs (`tps-lab cost --device-model h100`) use data sheets and are unvalidated.",
    ]
    (out / "report.md").write_text("\n".join(lines) + "\n")
