"""Does TPS still pay now that attention is fused? A report that answers, from predictions or a GPU's measurements.

When TPS was published attention wrote its scores to memory: joint attention over a clip took quadratic
memory besides quadratic time. A fused kernel (FlashAttention, arXiv 2205.14135) writes none. So every
variant is looked at both ways, over longer clips and larger frames.
`python reports/fused/make.py` makes the page.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_lab.errors import InputError
from tps_lab.text import listed
from tps_lab.viz.style import INK, QUIET, looks, plain_log, points, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, kept, kept_cells, write_csv, write_page  # noqa: E402

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
    "measured_reserved_bytes measured_ms measured_iqr_ms gpu status"
).split()
_CLEARLY = 1.1  # what costs at most so many times as much counts as equal
_SECONDS = 5.0  # of measuring, per cell


def grid(frames: Sequence[int] = FRAMES, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """The cells, each the keyword arguments of `cell`."""
    return [
        {"label": label, "attention": text.format(half=size // 32), "frames": length, "size": size, "fused": fused}
        for size, length, (label, text), fused in itertools.product(sizes, frames, VARIANTS.items(), (True, False))
    ]


def cell(label: str, attention: str, frames: int, size: int, fused: bool, measure: str = "") -> dict[str, Any]:
    """One clip's costs: multiply-adds, predicted bytes, roofline milliseconds of forward and of forward + backward.

    Args:
        measure: the name of the GPU at hand, to measure there, too. Out of memory is a status.
    """
    from tps_lab.backbones import create_model
    from tps_lab.measure.predicted_memory import predict
    from tps_lab.measure.roofline import DEVICES, estimate
    from tps_lab.measure.step import Step
    from tps_lab.measure.trace import trace

    def make() -> Any:
        return create_model(BACKBONE, attention, frames=frames, size=size)

    row: dict[str, Any] = {"label": label, "attention": attention, "frames": frames, "size": size, "fused": fused}
    step = Step(1, precision=PRECISION, fused=fused)
    predicted, traced = predict(make, step), trace(make, step)
    at_best = estimate(traced, DEVICES[ON], PRECISION)
    row |= {"macs": traced.macs("forward"), "step_ms": round(at_best.ms, 3), "forward_ms": round(at_best.forward_ms, 3)}
    row |= {"training_bytes": predicted.training, "inference_bytes": predicted.inference, "status": "predicted"}
    return row | _measured(make, fused) | {"gpu": measure} if measure else row


def _measured(make: Callable[[], Any], fused: bool) -> dict[str, Any]:
    """A real training step on the GPU, alone there: peak bytes, then milliseconds."""
    import torch

    from tps_lab.measure.memory import is_out_of_memory
    from tps_lab.measure.step import Step, prepared
    from tps_lab.measure.timing import interleaved

    model = make()
    with alone("gpu"):
        try:
            # the step has a copy: nothing else may hold the model, or its weights would count twice
            step, _ = prepared(model.cuda(), Step(1, precision=PRECISION, fused=fused))
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


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Wait until no other process of this user is inside `alone(what)`, and keep them out.

    The lock goes with the process that holds it, however it ends.
    """
    file = Path(tempfile.gettempdir(), f"tps-lab-{os.getuid()}-{what}.lock")
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # unlocks, too


def build(
    out: Path,
    cells: Sequence[Mapping[str, Any]],
    advance: Callable[[int, str | None], None] = lambda step, news: None,
    measure: str = "",
    jobs: int = 1,
) -> Path:
    """Compute the cells that `out/cells.jsonl` does not hold yet, then write report.md, over_frames.png and cells.csv.

    Args:
        measure: the name of the GPU at hand, to run every cell there, too, in a fresh process.
        jobs: processes at once. On the GPU they take turns: meanwhile the others predict.

    Raises:
        InputError: less than one job.

    Returns:
        The path of report.md.
    """
    if jobs < 1:
        raise InputError(f"jobs must be 1 or more, got {jobs}")
    # what a GPU measured stays on the page wherever it is made again: of one GPU, or times would not compare
    known = kept(file := out / "cells.jsonl")
    gpus = Counter(one["measure"] for one in known if "measure" in one)
    gpu = measure or max(gpus, key=lambda name: gpus[name], default="")
    on_gpu = [{**given, "measure": gpu} for given in cells]
    wanted = [one if measure or one in known else dict(given) for one, given in zip(on_gpu, cells, strict=True)]
    # the answer is about fused attention: should this be cut short, that is there
    order = sorted(range(len(wanted)), key=lambda i: not wanted[i]["fused"])
    in_turn = kept_cells(file, [wanted[i] for i in order], cell, "measure" if measure or jobs > 1 else None, jobs)
    rows: dict[int, dict[str, Any]] = {}
    for i, row in zip(order, in_turn, strict=True):
        rows[i] = row
        advance(len(rows), None)
    return write(out, [rows[i] for i in sorted(rows)])


def write(out: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The report's files from its rows."""
    from tps_lab.measure.roofline import DEVICES

    device = DEVICES[ON].name
    shown = [row for row in rows if row.get("macs")]
    time, memory = _best(shown)
    clock = "measured" if time == "measured_ms" else f"at best, roofline, {device}"
    over_frames(shown, time, clock, memory).savefig(out / "over_frames.png", dpi=110)
    write_csv(out / "cells.csv", rows, COLUMNS)
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row["status"].startswith("failed"):
            way = "fused" if row["fused"] else "unfused"
            named = f"{row['label']} {way} with {row['frames']} frames of {row['size']}²"
            failed.setdefault(row["status"].removeprefix("failed: "), []).append(named)
    return write_page(
        HERE / "template.md", out, answer=answer(shown), failed=failed, rows=rows, device=device, backbone=BACKBONE,
        precision=PRECISION, measured=[row for row in rows if row.get("measured_ms")],
        starved=[row for row in rows if row["status"] == "out of memory"],
        gpu=next((row["gpu"] for row in rows if row.get("gpu")), ""),
        tables={size: tables([row for row in shown if row["size"] == size]) for size in _sizes(shown)},
    )  # fmt: skip


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

    predicted = time_in != "measured_ms"
    pays = "is predicted to pay" if predicted else "pays"
    (slower, time), (hungrier, memory) = beyond(time_in, "in time"), beyond(memory_in, "in memory")
    if slower and hungrier:
        verdict = f"Yes: against joint attention TPS still pays {time} and {memory}."
    elif slower or hungrier:
        still, no_more = (time, memory) if slower else (memory, time)
        verdict = f"Yes, but against joint attention TPS {pays} only {still}, no longer {no_more}."
    else:
        verdict = "No: joint attention costs hardly more than TPS, in time or in memory."
    both = ("Joint", "TPS-C")
    timed = [n for n in lengths if all(of[label, n, True].get("measured_ms") for label in both)]
    times = [f"{ratio('measured_ms', n):.1f} at {n}" for n in timed]
    on_a_gpu = f" Measured on a GPU, fused, it takes this many times as long, at so many frames: {listed(times)}."
    takes = "is predicted to take" if predicted else "takes"
    figures = (
        f" At {last} frames of {size}² joint {takes} {ratio(time_in, last):.1f} times as long as TPS with fused "
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
    figures += on_a_gpu if predicted and timed else ""
    return verdict + figures + (f" The others, fused, at {last} frames: {'; '.join(others)} of TPS." if others else "")


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({row["size"] for row in rows})


def tables(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of one size of frames: title, frames, and label → entries, for every cost that any row has."""
    lengths = sorted({row["frames"] for row in rows})
    of = {(row["label"], row["frames"], row["fused"]): row for row in rows}
    found = []
    for title, key, divisor in (
        ("Training step at best, ms", "step_ms", 1.0),
        ("Training step measured, ms", "measured_ms", 1.0),
        ("Peak memory predicted, GiB", "training_bytes", 2**30),
        ("Peak memory measured, GiB", "measured_bytes", 2**30),
        ("Multiply-adds, G", "macs", 1e9),
    ):
        ways = (True,) if key == "macs" else (True, False)
        lines = {
            label: [" / ".join(_entry(of.get((label, n, fused)), key, divisor) for fused in ways) for n in lengths]
            for label in dict.fromkeys(row["label"] for row in rows)
        }
        if any(row.get(key) for row in rows):
            found.append(
                {"title": title + ("" if key == "macs" else ": fused / unfused"), "frames": lengths, "lines": lines}
            )
    return found


def _entry(row: Mapping[str, Any] | None, key: str, divisor: float) -> str:
    if row is None or not row.get(key):
        return "–" if row is None or row["status"] != "out of memory" else "out of memory"
    value = row[key] / divisor
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_GPU_SIZES_GB = (24, 80)


@styled
def over_frames(rows: Sequence[Mapping[str, Any]], time: str, clock: str, memory: str) -> Figure:
    """A row of panels for every cost, a column for every size of frames; both axes logarithmic.

    Args:
        rows: of `cell`: attention, label, frames, size, fused, macs, and the next two.
        time, memory: the columns with milliseconds and bytes of a training step.
        clock: what the milliseconds are, for the axis, such as "roofline, H100".
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    # column → what the axis says, what it is divided by
    costs = (
        ("macs", "Multiply-adds per clip (T)", 1e12),
        (memory, "Peak memory, training (GiB)", 2**30),
        (time, f"Training step (ms)\n{clock}", 1.0),
    )
    sizes = sorted({row["size"] for row in rows})
    labels = list(dict.fromkeys(row["label"] for row in rows))
    used = dict(zip(labels, looks(labels), strict=True))
    figure = Figure(figsize=(4.3 * len(sizes) + 0.4, 9.6), layout="constrained")
    grid = figure.subplots(len(costs), len(sizes), sharex=True, sharey="row", squeeze=False)
    for panels, (key, title, divisor) in zip(grid, costs, strict=True):
        for ax, size in zip(panels, sizes, strict=True):
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            plain_log(ax.xaxis, ax.yaxis)
            for label in labels:
                for fused in (True, False):
                    chosen = [r for r in rows if (r["label"], r["size"], r["fused"]) == (label, size, fused)]
                    chosen = [r for r in chosen if r.get(key)]
                    look, lengths = used[label], [row["frames"] for row in chosen]
                    how = points(look, 5.5, look.colour) | {
                        "linestyle": "-" if fused else (0, (2, 2)),
                        "linewidth": 1.4,
                    }
                    how["markerfacecolor"] = look.colour if fused else "white"
                    ax.plot(lengths, [row[key] / divisor for row in chosen], **how, clip_on=False)
            if key == memory:
                _gpu_sizes(ax)
        panels[0].set_ylabel(title)
    for ax, size in zip(grid[0], sizes, strict=True):
        ax.set_title(f"frames of {size}²")
    frames = sorted({row["frames"] for row in rows})
    for ax in grid[-1]:
        ax.set_xlabel("Frames")
        ax.set_xticks(frames, [str(number) for number in frames])
        ax.minorticks_off()
    handles = [
        Line2D([], [], color=used[label].colour, marker=used[label].marker, markersize=6, label=label)
        for label in labels
    ]
    plain: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 5}
    handles += [
        Line2D([], [], **plain, label="fused"),
        Line2D([], [], **plain, markerfacecolor="white", linestyle=(0, (2, 2)), label="unfused"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5, handlelength=2.4)
    return figure


def _gpu_sizes(ax: Axes) -> None:
    for gb in _GPU_SIZES_GB:
        ax.axhline(gb * 1e9 / 2**30, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            f"{gb} GB", (0, gb * 1e9 / 2**30), xycoords=("axes fraction", "data"), xytext=(3, 2),
            textcoords="offset points", ha="left", va="bottom", fontsize=7.5, color=QUIET,
        )  # fmt: skip


def main(
    out: Annotated[Path, typer.Option(help="Where the page goes; cells that are there are not computed again.")] = HERE,
    frames: Annotated[list[int] | None, typer.Option(min=1, help="Frames per clip; several times for several.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes at once; on a GPU they take turns.")] = 1,
    quiet: bool = False,
) -> None:
    """Does TPS still pay now that attention is fused? Predicted; measured too where there is a GPU."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    cells = grid(sorted(set(frames)) if frames else FRAMES)
    with advancing("cells", len(cells), quiet) as advance:
        print(build(out, cells, advance, measure=gpu, jobs=jobs))


if __name__ == "__main__":
    command(main)
