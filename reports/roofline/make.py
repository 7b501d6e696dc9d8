"""Roofline estimates against measured times of many models on this CPU: `python reports/roofline/make.py`."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tps_lab.viz.style import QUIET, looks, new_axes, plain_log, points, styled

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, write_csv, write_page  # noqa: E402

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
    from tps_lab.measure.step import Step
    from tps_lab.measure.trace import trace

    cpu = this_cpu()
    rows, calls = [], []
    for done, (backbone, attention, frames, size) in enumerate(models, 1):

        def make(given: Any = (backbone, attention, frames, size)) -> Any:
            return create_model(given[0], given[1], frames=given[2], size=given[3], num_classes=100)

        for work in WORKS:
            model = make().train(work == "training")
            traced = trace(make, Step(training=work == "training"))
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


@styled
def picture(rows: Sequence[Mapping[str, Any]], ax: Any = None) -> Any:
    """Measured milliseconds against a roofline's estimate, both logarithmic; on the line they are equal.

    Args:
        rows: of `check`: attention, work, estimated_ms, measured_ms. Inference is
            drawn filled, training open.
        ax: where to draw; None makes a figure.
    """
    ax = new_axes(6.6, 4.2) if ax is None else ax
    names = list(dict.fromkeys(str(row["attention"]) for row in rows))
    for name, used in zip(names, looks(names), strict=True):
        for work in ("inference", "training"):
            chosen = [row for row in rows if row["attention"] == name and row["work"] == work]
            fill, label = (used.colour, name) if work == "inference" else ("white", None)
            both = [row["estimated_ms"] for row in chosen], [row["measured_ms"] for row in chosen]
            ax.plot(*both, **points(used, 6.5, used.colour), markerfacecolor=fill, label=label)
    everything = [row[key] for row in rows for key in ("estimated_ms", "measured_ms")]
    ends = (min(everything) / 1.5, max(everything) * 1.5)
    ax.plot(ends, ends, color=QUIET, linewidth=1)
    ax.plot(ends, [2 * end for end in ends], color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.text(ends[1], ends[1], " equal", color=QUIET, va="top", fontsize=8)
    ax.text(ends[1], 2 * ends[1], " twice", color=QUIET, va="bottom", fontsize=8)
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_log(ax.xaxis, ax.yaxis)
    ax.set_xlabel("roofline estimate (ms)")
    ax.set_ylabel("measured (ms)")
    ax.set_title("filled: inference, open: forward and backward", fontweight="normal", fontsize=9, color=QUIET)
    ax.legend(loc="center left", bbox_to_anchor=(1.06, 0.5), fontsize=8, handletextpad=0.3)
    return ax


def publish(found: dict[str, Any], out: Path) -> Path:
    """report.md, roofline.png and cells.csv."""
    import torch

    rows, cpu = found["rows"], found["device"]
    write_csv(out / "cells.csv", rows)
    drawn: Any = picture(rows).figure
    drawn.savefig(out / "roofline.png")

    def farthest(work: str) -> dict[str, Any]:
        return max((row for row in rows if row["work"] == work), key=lambda row: max(row["ratio"], 1 / row["ratio"]))

    return write_page(
        HERE / "template.md", out, device=cpu, torch=torch.__version__, python=platform.python_version(), rows=rows,
        clock="CPU time of the one thread" if torch.get_num_threads() == 1 else "wall time",
        agreement=found["agreement"], farthest=farthest, name=_name,
        predictors={"estimated_ms": "roofline", "macs": "multiply-adds", "bytes": "bytes moved", "kernels": "kernels"},
    )  # fmt: skip


def main(
    out: Annotated[Path, typer.Option(help="Where report.md, roofline.png and cells.csv go.")] = HERE,
    models: Annotated[int | None, typer.Option(min=3, help="Only the first so many.")] = None,
    quiet: bool = False,
) -> None:
    """Roofline estimates against measured times of many models on this CPU: do they order models rightly?"""
    chosen = MODELS[:models]
    with advancing("models", len(chosen), quiet) as advance:
        found = check(advance, chosen)
    for work, fit in found["agreement"].items():
        ranks = fit["estimated_ms"]
        print(f"{work}: Spearman {ranks['spearman']:.3f}, Kendall {ranks['kendall']:.3f} over {fit['models']} models; "
              f"measured is {fit['median_ratio']:.2f} times the estimate; {len(fit['misses'])} misses")  # fmt: skip
    print(publish(found, out))


if __name__ == "__main__":
    command(main)
