"""What `tps-lab validate-memory` publishes: report.md and cells.csv, from the cells' rows."""

from __future__ import annotations

import csv
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
# of what → the columns with its prediction, its measurement and the error
ALLOCATED = ("predicted_bytes", "measured_bytes", "error_pct")
RESERVED = ("predicted_reserved_bytes", "reserved_bytes", "reserved_error_pct")
_MODEL = ("backbone", "attention", "frames", "size", "batch")


def write(out: Path, device: str, rows: Sequence[Row], whole: int) -> dict[str, Any]:
    """Write both files.

    Args:
        device: "cuda" or "cpu".
        rows: of `validate.cell`.
        whole: cells of the whole grid.

    Returns:
        The summary: device, versions, cells, measured, median_error_pct and p95_error_pct, on CUDA also
        reserved_median_error_pct and reserved_p95_error_pct.
    """
    import timm
    import torch

    on_gpu = device == "cuda"
    finished = [row for row in rows if row["status"] == "done"]
    median, p95 = _errors(finished, ALLOCATED)
    summary = {
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU ({platform.machine()})",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
        "cells": len(rows),
        "measured": len(finished),
        "median_error_pct": median,
        "p95_error_pct": p95,
    }
    if on_gpu:
        summary["reserved_median_error_pct"], summary["reserved_p95_error_pct"] = _errors(finished, RESERVED)
    with (out / "cells.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)
    (out / "report.md").write_text("\n".join(_lines(summary, rows, on_gpu, whole)) + "\n")
    return summary


def _lines(summary: Row, rows: Sequence[Row], on_gpu: bool, whole: int) -> list[str]:
    how = "the CUDA allocator's counters" if on_gpu else "the allocator's events as torch's profiler records them"
    found = (
        f"Of {len(rows)} cells (the whole grid has {whole}) {summary['measured']} were measured; absolute error: "
        f"median {summary['median_error_pct']} %, 95th percentile {summary['p95_error_pct']} %."
    )
    figures, head = [ALLOCATED], [*_MODEL, "setting", "predicted (MiB)", "measured (MiB)", "error (%)"]
    if on_gpu:
        found += (
            f" Of what the allocator had reserved: median {summary['reserved_median_error_pct']} %, 95th percentile "
            f"{summary['reserved_p95_error_pct']} %."
        )
        figures, head = [ALLOCATED, RESERVED], [*head, "predicted reserved (MiB)", "reserved (MiB)", "error (%)"]
    lines = [
        "# Peak memory: predicted against measured",
        "",
        f"Device: {summary['device']}; torch {summary['torch']}, timm {summary['timm']}, Python {summary['python']}. "
        f"Measured: {how}, second training step.",
        "",
        *([] if on_gpu else ["**CUDA: unvalidated.** No figure here was measured on a GPU.", ""]),
        found,
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for row in rows:
        cells = [str(row[key]) for key in _MODEL] + [_setting(row)]
        if row["status"] == "done":
            cells += [text for columns in figures for text in _texts(row, columns)]
        else:
            cells += [""] * (3 * len(figures) - 1) + [row["status"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _errors(rows: Sequence[Row], columns: tuple[str, str, str]) -> tuple[float | None, float | None]:
    """Median and 95th percentile of the absolute errors."""
    errors = sorted(abs(row[columns[2]]) for row in rows)
    if not errors:
        return None, None
    return round(statistics.median(errors), 3), round(errors[-(-95 * len(errors) // 100) - 1], 3)


def _texts(row: Row, columns: tuple[str, str, str]) -> list[str]:
    predicted, measured, error = (row[column] for column in columns)
    return [f"{predicted / 2**20:.2f}", f"{measured / 2**20:.2f}", f"{error:+.2f}"]


def _setting(row: Row) -> str:
    extra = ["checkpointing"] if row.get("checkpointing") else []
    extra += ["unfused"] if row.get("fused") is False else []
    return ", ".join([row.get("precision", "fp32"), row.get("optimizer", "adamw"), *extra])
