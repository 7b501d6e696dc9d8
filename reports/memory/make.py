"""Predicted peaks of memory against measured ones, over a grid of models and settings: `python reports/memory/make.py`.

The measurements share nothing with the prediction: on CUDA the allocator's counters; on a CPU the
allocator's events as torch's profiler records them, over a real training step. On CUDA every cell runs
in a fresh process, so that nothing leaks from one to the next, and out of memory is a row that says
so; on a CPU the events are differences, which nothing left over can change, and one process does.
"""

from __future__ import annotations

import itertools
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tps_lab.errors import InputError

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, kept_cells, write_csv, write_page  # noqa: E402

# Products of axes, one after another. Tiny models that a laptop's CPU runs in minutes …
_SMALL: tuple[dict[str, tuple[Any, ...]], ...] = (
    {
        "backbone": ("vit_micro",),
        "attention": ("spatial", "tps", "joint", "divided", "tps+tcs"),
        "frames": (8, 16),
        "size": (32, 64),
        "batch": (2, 8),
    },
    {
        "backbone": ("vit_micro_cls",),
        "attention": ("spatial", "tps", "joint", "divided", "tps+tcs"),
        "frames": (8,),
        "size": (64,),
        "batch": (2, 8),
    },
    {
        "backbone": ("swin_micro",),
        "attention": ("spatial", "tps", "local(window=3)", "tps+tcs"),
        "frames": (8, 16),
        "size": (24, 48),
        "batch": (8,),
    },
    *(
        {
            "backbone": (backbone,),
            "attention": attention,
            "frames": (16,),
            "size": (size,),
            "batch": (8,),
            **changed,
        }
        for backbone, size, attention in (
            ("vit_micro", 64, ("spatial", "tps", "joint", "divided")),
            ("swin_micro", 48, ("spatial", "tps", "local(window=3)")),
        )
        for changed in ({"precision": ("bf16",)}, {"optimizer": ("sgd",)}, {"checkpointing": (True,)})
    ),
)
# … and models as they are used, for a GPU.
_LARGE: tuple[dict[str, tuple[Any, ...]], ...] = (
    {
        "backbone": ("vit_small_patch16_224", "vit_base_patch16_224"),
        "attention": ("spatial", "tps", "joint", "divided"),
        "frames": (8, 16),
        "size": (224,),
        "batch": (2, 8),
        "precision": ("fp32", "bf16"),
    },
    {
        "backbone": ("swin_tiny_patch4_window7_224",),
        "attention": ("spatial", "tps", "local(window=7)", "tps+tcs"),
        "frames": (8, 16),
        "size": (224,),
        "batch": (2, 8),
        "precision": ("fp32", "bf16"),
    },
    *(
        {
            "backbone": ("vit_small_patch16_224", "swin_tiny_patch4_window7_224"),
            "attention": ("spatial", "tps"),
            "frames": (8,),
            "size": (224,),
            "batch": (8,),
            "precision": ("bf16",),
            **changed,
        }
        for changed in ({"fused": (False,)}, {"optimizer": ("sgd",)}, {"checkpointing": (True,)})
    ),
)


def grid(large: bool) -> list[dict[str, Any]]:
    """The cells, each the keyword arguments of `cell`."""
    return [
        dict(zip(axes, values, strict=True))
        for axes in (_LARGE if large else _SMALL)
        for values in itertools.product(*axes.values())
    ]


def cell(
    backbone: str,
    attention: str,
    frames: int,
    size: int,
    batch: int,
    precision: str = "fp32",
    optimizer: str = "adamw",
    checkpointing: bool = False,
    fused: bool = True,
    device: str = "cpu",
) -> dict[str, Any]:
    """Predict and measure one training step; bytes, and the prediction's error in percent.

    On CUDA likewise of what the allocator has reserved.
    """
    from tps_lab.backbones import create_model
    from tps_lab.measure.memory import is_out_of_memory
    from tps_lab.measure.predicted_memory import predict
    from tps_lab.measure.step import Step

    row: dict[str, Any] = {"backbone": backbone, "attention": attention, "frames": frames, "size": size}
    row |= {"batch": batch, "precision": precision, "optimizer": optimizer}
    row |= {"checkpointing": checkpointing, "fused": fused}

    def make() -> Any:
        return create_model(backbone, attention, frames=frames, size=size, num_classes=100)

    target: Any = "cuda" if device == "cuda" else "cpu"
    try:
        step = Step(batch, True, precision, optimizer, checkpointing, fused)
        predicted = predict(make, step, target)
        row["predicted_bytes"] = predicted.training
        measured, reserved = _measured(make().to(device), step)
    except InputError as error:
        return row | {"status": f"impossible: {error}"}
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return row | {"status": "out of memory"}
    row |= {"on": _here(device), "measured_bytes": measured, "error_pct": _error(predicted.training, measured)}
    if predicted.training_reserved is not None and reserved is not None:
        row |= {"predicted_reserved_bytes": predicted.training_reserved, "reserved_bytes": reserved}
        row["reserved_error_pct"] = _error(predicted.training_reserved, reserved)
    return row | {"status": "done"}


def _here(device: str) -> str:
    """The device and the versions that a cell is measured with."""
    import timm
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU ({platform.machine()})"
    return f"{name}; torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()}"


def _error(predicted: int, measured: int) -> float:
    return round(100 * (predicted / measured - 1), 3)


def _measured(model: Any, step: Any) -> tuple[int, int | None]:
    """Peak bytes of the second training step: allocated, and on CUDA reserved."""
    import torch

    from tps_lab.measure.step import batch_for, configured, optimizer_for, run, set_fused, synchronise

    configured(model, step)
    if not step.fused:
        set_fused(model, False)
    clips, labels = batch_for(model, step)
    optimizer = optimizer_for(model.parameters(), step)

    def one_step() -> None:
        run(model, clips, labels, step, optimizer)

    one_step()
    optimizer.zero_grad(set_to_none=True)
    if clips.is_cuda:
        synchronise(clips.device)
        torch.cuda.reset_peak_memory_stats()
        one_step()
        synchronise(clips.device)
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    state = [value for held in optimizer.state.values() for value in held.values() if torch.is_tensor(value)]
    before = sum(t.untyped_storage().nbytes() for t in [*model.parameters(), *model.buffers(), clips, labels, *state])
    return before + _allocated(one_step), None


def _allocated(work: Callable[[], None]) -> int:
    """The most bytes that torch's CPU allocator held while `work` ran, above what it held before."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate((event.nbytes() for event in events), initial=0))


# of what → the columns with its prediction, its measurement and the error
ALLOCATED = ("predicted_bytes", "measured_bytes", "error_pct")
RESERVED = ("predicted_reserved_bytes", "reserved_bytes", "reserved_error_pct")


def validate(
    out: Path,
    device: str,
    cells: Iterable[Mapping[str, Any]],
    advance: Callable[[int, str | None], None] = lambda done, news: None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Run the cells that `out/cells.jsonl` does not hold yet; write the report.

    Args:
        jobs: cells at once, on CUDA: each process's allocator counts its own, but they share the GPU's memory.

    Raises:
        InputError: several at once on a CPU, where one process measures them all.

    Returns:
        The summary, see `write`.
    """
    if jobs < 1 or (jobs > 1 and device != "cuda"):
        raise InputError(f"jobs must be 1 or more, and 1 without a GPU, got {jobs}")
    wanted = [{**given, "device": device} for given in cells]
    rows = []
    for row in kept_cells(out / "cells.jsonl", wanted, cell, "device" if device == "cuda" else None, jobs):
        rows.append(row)
        advance(len(rows), row["status"])
    return write(out, device, rows)


def write(out: Path, device: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """report.md and cells.csv from rows of `cell`; a remarks.md that stands in `out` is put into the report.

    Returns:
        The summary: on (devices and versions), cells, measured, median_error_pct and p95_error_pct (of absolute
        errors), on CUDA also reserved_median_error_pct and reserved_p95_error_pct.
    """
    on_gpu = device == "cuda"
    finished = [row for row in rows if row["status"] == "done"]
    median, p95 = _errors(finished, ALLOCATED)
    summary = {
        "on": list(dict.fromkeys(row["on"] for row in finished)),
        "cells": len(rows),
        "measured": len(finished),
        "median_error_pct": median,
        "p95_error_pct": p95,
    }
    if on_gpu:
        summary["reserved_median_error_pct"], summary["reserved_p95_error_pct"] = _errors(finished, RESERVED)
    write_csv(out / "cells.csv", rows)
    remarks = out / "remarks.md"
    write_page(
        HERE / "template.md", out, **summary, on_gpu=on_gpu, whole=len(grid(on_gpu)), rows=rows, setting=_setting,
        figures=[ALLOCATED, RESERVED] if on_gpu else [ALLOCATED],
        remarks=remarks.read_text().strip() if remarks.exists() else "",
    )  # fmt: skip
    return summary


def _errors(rows: Sequence[Mapping[str, Any]], columns: tuple[str, str, str]) -> tuple[float | None, float | None]:
    """Median and 95th percentile of the absolute errors."""
    errors = sorted(abs(row[columns[2]]) for row in rows)
    if not errors:
        return None, None
    return round(statistics.median(errors), 3), round(errors[-(-95 * len(errors) // 100) - 1], 3)


def _setting(row: Mapping[str, Any]) -> str:
    extra = ["checkpointing"] if row.get("checkpointing") else []
    extra += ["unfused"] if row.get("fused") is False else []
    return ", ".join([row.get("precision", "fp32"), row.get("optimizer", "adamw"), *extra])


def main(
    out: Annotated[Path | None, typer.Option(help="Where the page goes; by default here, on a GPU in cuda/.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    jobs: Annotated[int, typer.Option(help="Cells at once; on a GPU, whose memory they share.")] = 1,
    quiet: bool = False,
) -> None:
    """Peak memory predicted against measured on the device at hand; cells that are there are not run again."""
    from tps_lab.measure import best_device

    device = best_device().type
    wanted = grid(large=device == "cuda")[:cells]
    folder = out or (HERE / "cuda" if device == "cuda" else HERE)
    with advancing("cells", len(wanted), quiet) as advance:
        found = validate(folder, device, wanted, advance, jobs)
    for what, start in {"": "", "reserved: ": "reserved_"}.items():
        if f"{start}median_error_pct" in found:
            print(
                f"{what}{found['measured']} of {found['cells']} cells: median error "
                f"{found[f'{start}median_error_pct']} %, 95th percentile {found[f'{start}p95_error_pct']} %"
            )
    print(folder / "report.md")
    if found["measured"] < found["cells"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    command(main)
