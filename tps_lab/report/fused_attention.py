"""Does TPS still pay now that attention is fused? A report that answers, from predictions or a GPU's measurements.

When TPS was published attention wrote its scores to memory: joint attention over a clip took quadratic
memory besides quadratic time. A fused kernel (FlashAttention, arXiv 2205.14135) writes none. So every
variant is looked at both ways, over longer clips and larger frames.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tps_lab.errors import InputError
from tps_lab.measure.kept_cells import kept_cells

BACKBONE, PRECISION, ON = "vit_base_patch16_224", "bf16", "h100"
FRAMES, SIZES = (8, 16, 32, 64, 128), (224, 320)
# local windows are half a frame wide and high, so that they divide frames of both sizes
VARIANTS: dict[str, str] = {
    "Spatial": "spatial",
    "TPS-C": "tps(pattern=C)",
    "Divided (T+S)": "divided",
    "Local": "local(window={half})",
    "Joint": "joint",
}
COLUMNS = (
    "label attention frames size fused macs training_bytes inference_bytes step_ms forward_ms measured_bytes "
    "measured_reserved_bytes measured_ms measured_iqr_ms status"
).split()
_CLEARLY = 1.1  # what costs at most so many times as much counts as equal
_SECONDS = 5.0  # of measuring, per cell


def grid(frames: Sequence[int] = FRAMES, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """The cells, each the keyword arguments of `cell`."""
    return [
        {"label": label, "attention": text.format(half=size // 32), "frames": length, "size": size, "fused": fused}
        for size, length, (label, text), fused in itertools.product(sizes, frames, VARIANTS.items(), (True, False))
    ]


def cell(label: str, attention: str, frames: int, size: int, fused: bool, measure: bool = False) -> dict[str, Any]:
    """One clip's costs: multiply-adds, predicted bytes, roofline milliseconds of forward and of forward + backward.

    Args:
        measure: on the GPU at hand, too. Out of memory is a status.
    """
    from tps_lab.backbones import create_model
    from tps_lab.measure.predict import PRECISIONS, Setting, predict
    from tps_lab.measure.roofline import DEVICES, estimate
    from tps_lab.measure.trace import trace

    def make() -> Any:
        return create_model(BACKBONE, attention, frames=frames, size=size)

    row: dict[str, Any] = {"label": label, "attention": attention, "frames": frames, "size": size, "fused": fused}
    predicted = predict(make, Setting(1, PRECISION, fused=fused))
    traced = trace(make, 1, True, fused, PRECISIONS[PRECISION])
    at_best = estimate(traced, DEVICES[ON], PRECISION)
    row |= {"macs": traced.macs("forward"), "step_ms": round(at_best.ms, 3), "forward_ms": round(at_best.forward_ms, 3)}
    row |= {"training_bytes": predicted.training, "inference_bytes": predicted.inference, "status": "predicted"}
    return row | _measured(make, fused) if measure else row


def _measured(make: Callable[[], Any], fused: bool) -> dict[str, Any]:
    """A real training step on the GPU, alone there: peak bytes, then milliseconds."""
    import torch

    from tps_lab.measure.exclusive import alone
    from tps_lab.measure.latency import interleaved
    from tps_lab.measure.memory import is_out_of_memory
    from tps_lab.measure.steps import How, prepared, set_fused

    model = make()
    set_fused(model, fused)
    with alone("gpu"):
        try:
            # the step has a copy: nothing else may hold the model, or its weights would count twice
            step, _ = prepared(model.cuda(), model.clip_shape, How("training step", 1, PRECISION))
            del model
            step()
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            step()
            torch.cuda.synchronize()
            peaks = {"measured_bytes": torch.cuda.max_memory_allocated()}
            peaks["measured_reserved_bytes"] = torch.cuda.max_memory_reserved()
            timing = interleaved({"step": step}, seconds=_SECONDS)["step"]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return {"status": "out of memory"}
    return peaks | {
        "measured_ms": round(timing.median, 3),
        "measured_iqr_ms": round(timing.iqr, 3),
        "status": "measured",
    }


def build(
    out: Path,
    cells: Sequence[Mapping[str, Any]],
    advance: Callable[[int, str | None], None] = lambda step, news: None,
    measure: bool = False,
    jobs: int = 1,
) -> Path:
    """Compute the cells that `out/cells.jsonl` does not hold yet, then write report.md, over_frames.png and cells.csv.

    Args:
        measure: run every cell on the GPU too, in a fresh process.
        jobs: processes at once. On the GPU they take turns: meanwhile the others predict.

    Raises:
        InputError: less than one job.

    Returns:
        The path of report.md.
    """
    if jobs < 1:
        raise InputError(f"jobs must be 1 or more, got {jobs}")
    out.mkdir(parents=True, exist_ok=True)
    wanted = [{**given, "measure": True} if measure else dict(given) for given in cells]
    rows = []
    for row in kept_cells(out / "cells.jsonl", wanted, cell, "measure" if measure or jobs > 1 else None, jobs):
        rows.append(row)
        advance(len(rows), None)
    return write(out, rows)


def write(out: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The report's files from its rows."""
    from tps_lab.measure.roofline import DEVICES
    from tps_lab.viz.fused import over_frames

    device = DEVICES[ON].name
    shown = [row for row in rows if row.get("macs")]
    time, memory = _best(shown)
    clock = "measured" if time == "measured_ms" else f"at best, roofline, {device}"
    over_frames(shown, time, clock, memory).savefig(out / "over_frames.png", dpi=110)
    with (out / "cells.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (out / "report.md").write_text(_text(rows, device))
    return out / "report.md"


def _best(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The columns of time and memory to go by: measured, if all that is fused was, else predicted."""
    fused = [row for row in rows if row["fused"]]
    measured = bool(fused) and all(row.get("measured_ms") and row.get("measured_bytes") for row in fused)
    return ("measured_ms", "measured_bytes") if measured else ("step_ms", "training_bytes")


def answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """The answer, for the smallest frames: where joint attention costs clearly more than TPS, and how much."""
    size = min(_sizes(rows), default=0)
    of = {(row["label"], row["frames"], row["fused"]): row for row in rows if row["size"] == size}
    lengths = sorted({frames for _, frames, _ in of})
    missing = [n for n in lengths for label in ("Joint", "TPS-C") if (label, n, True) not in of]
    if missing or not lengths:
        return "No answer: cells of joint attention or TPS failed, see below."
    first, last = lengths[0], lengths[-1]
    time_in, memory_in = _best(list(of.values()))

    def ratio(key: str, frames: int, label: str = "Joint") -> float:
        return float(of[label, frames, True][key] / of["TPS-C", frames, True][key])

    def unfused(key: str, frames: int, digits: int) -> str:
        joint, tps = (of.get((label, frames, False), {}) for label in ("Joint", "TPS-C"))
        if joint.get(key) and tps.get(key):
            return f"{joint[key] / tps[key]:.{digits}f} times unfused"
        return "unfused it ran out of memory" if joint.get("status") == "out of memory" else "unfused: no figure"

    def beyond(key: str, where: str) -> tuple[bool, str]:
        found = next((n for n in lengths if ratio(key, n) > _CLEARLY), None)
        return found is not None, where if found is None else f"{where} (from {found} frames on)"

    (slower, time), (hungrier, memory) = beyond(time_in, "in time"), beyond(memory_in, "in memory")
    if slower and hungrier:
        verdict = f"Yes: against joint attention TPS still pays {time} and {memory}."
    elif slower or hungrier:
        still, no_more = (time, memory) if slower else (memory, time)
        verdict = f"Yes, but against joint attention TPS pays only {still}, no longer {no_more}."
    else:
        verdict = "No: joint attention costs hardly more than TPS, in time or in memory."
    figures = (
        f" At {last} frames of {size}² joint takes {ratio(time_in, last):.1f} times as long as TPS with fused "
        f"attention ({unfused(time_in, last, 1)}) and {ratio(memory_in, last):.2f} times its memory "
        f"({unfused(memory_in, last, 1)}); at {first} frames "
        f"{ratio(time_in, first):.2f} times as long ({unfused(time_in, first, 2)}) and "
        f"{ratio(memory_in, first):.2f} times its memory ({unfused(memory_in, first, 2)})."
    )
    others = [
        f"{label} {ratio(time_in, last, label):.2f} times the time and "
        f"{ratio(memory_in, last, label):.2f} times the memory"
        for label in ("Spatial", "Divided (T+S)", "Local")
        if (label, last, True) in of
    ]
    return verdict + figures + (f" The others, fused, at {last} frames: {'; '.join(others)} of TPS." if others else "")


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({row["size"] for row in rows})


def _text(rows: Sequence[Mapping[str, Any]], device: str) -> str:
    whole = [row for row in rows if row.get("macs")]
    measured = [row for row in rows if row.get("measured_ms")]
    starved = [row for row in rows if row["status"] == "out of memory"]
    where = (
        f"{len(measured)} of {len(rows)} cells were measured on a GPU, {len(starved)} ran out of its memory."
        if measured or starved
        else f"**All figures are predicted; nothing here was measured on a GPU** ({len(rows)} cells)."
    )
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row["status"].startswith("failed"):
            way = "fused" if row["fused"] else "unfused"
            cell = f"{row['label']} {way} with {row['frames']} frames of {row['size']}²"
            failed.setdefault(row["status"].removeprefix("failed: "), []).append(cell)
    lines = [
        "# Does TPS still pay now that attention is fused?",
        "",
        answer(whole),
        "",
        *(
            f"**{len(cells)} cell{'s' * (len(cells) > 1)} failed** ({'; '.join(cells)}): {why}\n"
            for why, cells in failed.items()
        ),
        f"{where} {BACKBONE}, one clip per step, {PRECISION}. Multiply-adds are a forward pass's, attention "
        "products included. Memory is the peak of a training step with AdamW, "
        + ("" if measured else "predicted for CUDA; the prediction is unvalidated there; ")
        + "the workspaces of cuBLAS are in it. "
        + (
            "Measured milliseconds are a training step's, the optimizer included; below about 50 ms they are bound by "
            "starting kernels from Python, not by the GPU. "
            if measured
            else ""
        )
        + f"Milliseconds at best are a roofline for the {device}, forward and backward "
        "without the optimizer: a lower bound that charges nothing for launching kernels, good for orders and "
        "ratios. It takes fused attention at the matrix peak, which real kernels do not reach, so joint "
        "attention's real times are further above it than the others'.",
        "",
        "TPS-C is in every second block, spatial attention in the others. Local windows are 8 frames by half a frame "
        "by half a frame, moved in every second block. Divided attention has a third more weights than the others.",
        "",
        "![Multiply-adds, memory and time over frames](over_frames.png)",
        "",
    ]
    for size in _sizes(whole):
        lines += _tables([row for row in whole if row["size"] == size], size)
    lines += ["Every cell: [cells.csv](cells.csv). Again: `tps-lab fused-report --out reports/fused`.", ""]
    return "\n".join(lines)


def _tables(rows: Sequence[Mapping[str, Any]], size: int) -> list[str]:
    lengths = sorted({row["frames"] for row in rows})
    of = {(row["label"], row["frames"], row["fused"]): row for row in rows}
    head = [f"| | {' | '.join(f'{n} frames' for n in lengths)} |", "|---" * (len(lengths) + 1) + "|"]
    lines = [f"## Frames of {size}²", ""]
    for title, key, divisor in (
        ("Training step at best, ms", "step_ms", 1.0),
        ("Training step measured, ms", "measured_ms", 1.0),
        ("Peak memory predicted, GiB", "training_bytes", 2**30),
        ("Peak memory measured, GiB", "measured_bytes", 2**30),
        ("Multiply-adds, G", "macs", 1e9),
    ):
        if not any(row.get(key) for row in rows):
            continue
        lines += [f"{title}: fused / unfused" if key != "macs" else title, "", *head]
        for label in dict.fromkeys(row["label"] for row in rows):
            ways = (True,) if key == "macs" else (True, False)
            entries = [" / ".join(_entry(of.get((label, n, fused)), key, divisor) for fused in ways) for n in lengths]
            lines.append(f"| {label} | {' | '.join(entries)} |")
        lines.append("")
    return lines


def _entry(row: Mapping[str, Any] | None, key: str, divisor: float) -> str:
    if row is None or not row.get(key):
        return "–" if row is None or row["status"] != "out of memory" else "out of memory"
    value = row[key] / divisor
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
