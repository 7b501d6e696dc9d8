"""What a shift costs on this machine, beside a copy, beside spatial attention, and beside what one would pick instead.

`python reports/speed/make.py` measures and makes the page; stopped, it goes on where it was, and the cells of other
machines stay on it. Whatever has a ratio is timed in turn with what it is compared with, A B B A, so that a machine
that slows down slows down for both. The interval is that of the median over rounds (sign test), which one slow
minute does not move. Forty minutes, of which `--only shift` takes five; `--quick` tries everything out in
build/speed.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from study import advancing, command, kept_cells, write_page  # noqa: E402

from tps_lab import children  # noqa: E402
from tps_lab.results.runs import processor  # noqa: E402

Figure = dict[str, Any]

SHAPES = {
    "small (64,8,4,4,64)": (64, 8, 4, 4, 64),
    "ViT-S (4,8,14,14,384)": (4, 8, 14, 14, 384),
    "ViT-B (8,8,14,14,768)": (8, 8, 14, 14, 768),
    "Swin-T (2,16,56,56,96)": (2, 16, 56, 56, 96),
}
# name → backbone, options, batch
STEPS: dict[str, tuple[str, dict[str, int], int]] = {
    "ViT-S/16, 8 frames": ("vit_small_patch16_224", {"frames": 8}, 1),
    "vit_micro, batch 32": ("vit_micro", {}, 32),
}
# those of `tps-lab list backbones` that take longest, and Swin-T at the paper's length, as tps-lab takes them
COSTS: dict[str, tuple[str, ...]] = {
    "Swin-T, 32 frames": ("swin_tiny_patch4_window7_224", "--frames", "32", "--tubelet", "2"),
    "Swin v2-T, 32 frames": ("swinv2_tiny_window8_256", "--frames", "32", "--tubelet", "2"),
    "PST-B": ("pst_base",),
    "Swin-L, 384²": ("swin_large_patch4_window12_384",),
    "MaxViT-XL, 512²": ("maxvit_xlarge_tf_512",),
    "EVA giant, 560²": ("eva_giant_patch14_560",),
}
STARTS = {"import tps_lab": ("-c", "import tps_lab"), "tps-lab --help": ("-m", "tps_lab.cli", "--help")}
WHOLE = {
    "make quickstart, after the install": ("-m", "tps_lab.cli", "quickstart", "--quiet", "--out"),
    "make test": ("-m", "pytest", "-n", "3", "--dist", "worksteal", "--basetemp"),
}


@dataclass(frozen=True)
class Target:
    """At most this, and the interval's end below `upper` if there is one."""

    most: float
    upper: float | None = None

    def __str__(self) -> str:
        return f"≤ {self.most:g}" + ("" if self.upper is None else f", all of the interval < {self.upper:g}")

    def met(self, figure: Figure) -> bool:
        high = figure.get("high")
        return figure["value"] <= self.most and (self.upper is None or (high is not None and high < self.upper))


def target(part: str, name: str, what: str) -> Target | None:
    """What a figure shall reach; None where it stands for comparison."""
    if part == "shift":
        return Target(1.15) if "ours" in what else None
    if part == "step" and "copies" not in what:
        return Target(1.01, 1.03) if "ViT-S" in name else Target(1.03)
    if part == "compiled":
        return Target(1.02) if "bytes" in what else Target(1)  # an index is read, 8 bytes a token
    if part == "whole":
        return Target(360) if "test" in name else Target(200)
    return {"cost": Target(10), "predictions": Target(45)}.get(part)


# ---------------------------------------------------------------------- the parts


def shift(name: str, seconds: float) -> list[Figure]:
    """Pattern C alone, forward and backward, each way in pairs with the copy: no way shall slow whoever follows."""
    from instead import COPY, WAYS, both_passes

    figures = []
    for way in (way for way in WAYS if way != COPY):
        ways = (COPY, way)
        timed = in_places(lambda ways=ways: {each: both_passes(each, SHAPES[name]) for each in ways}, seconds)
        figures.append(ratio(f"{way}, × a plain copy", timed[way], timed[COPY]))
    return figures


def limit(name: str, seconds: float) -> list[Figure]:
    """Where the time of a shift goes, forward only: its calls, the order of its rows, the rows, fresh memory."""
    import torch

    from tps_lab.attention._gather import gather_rows
    from tps_lab.attention.patch_shift import shift_patches

    shape = SHAPES[name]
    own = torch.arange(math.prod(shape[:-1]))
    shifted = shift_patches(own.view(*shape[:-1], 1).double(), "C").long().flatten()

    def work() -> dict[str, Callable[[], Any]]:
        x, kept = torch.randn(shape), torch.empty(shape)
        x_RC, kept_RC = x.flatten(0, -2), kept.flatten(0, -2)
        return {
            "a plain copy": x.clone,
            "the whole call": lambda: shift_patches(x, "C"),
            "its rows alone": lambda: gather_rows(x_RC, shifted),
            "as many rows in their own order": lambda: gather_rows(x_RC, own),
            "a plain copy into kept memory": lambda: kept.copy_(x),
            "its rows into kept memory": lambda: torch.index_select(x_RC, 0, shifted, out=kept_RC),
        }

    timed = in_places(work, seconds)
    base = timed.pop("a plain copy")
    return [ratio(f"{way}, × a plain copy", calls, base) for way, calls in timed.items()]


def step(name: str, seconds: float) -> list[Figure]:
    """A training step with TPS, in turn with the same model's with spatial attention; and with copies for shifts."""
    from instead import with_plain_copies

    from tps_lab import create_model

    backbone, options, batch = STEPS[name]
    models = {each: create_model(backbone, each, num_classes=174, **options) for each in ("spatial", "tps")}  # type: ignore[arg-type]
    models["plain copies instead of shifts"] = with_plain_copies(
        create_model(backbone, "tps", num_classes=174, **options)  # type: ignore[arg-type]
    )
    return in_turn(models, batch, seconds)


def beside(name: str, seconds: float) -> list[Figure]:
    """A training step of what one could train on a clip of 16 frames, 224², all on the same random clip."""
    import timm
    from instead import OnFrames, with_released_shift
    from torchvision.models.video import swin3d_t

    from tps_lab import create_model

    swin = "swin_tiny_patch4_window7_224"

    def ours(attention: str) -> Any:
        return create_model(swin, attention, frames=16, tubelet=2, num_classes=174)

    models = {
        "spatial": ours("spatial"),
        "tps": ours("tps"),
        "tps, by clone and roll (released code)": with_released_shift(ours("tps")),
        "timm's Swin-T on every second frame": OnFrames(timm.create_model(swin, num_classes=174), 2),
        "torchvision's swin3d_t": swin3d_t(num_classes=174),
    }
    return in_turn(models, 1, seconds)


def compiled(name: str, seconds: float) -> list[Figure]:
    """What inductor makes of a step with TPS and without: counted, nothing is timed."""
    from compiled import MODELS
    from compiled import beside as counts

    family, _, what = name.partition(", ")
    assert family in MODELS
    found = counts(family, what == "training step")
    return [
        {"what": f"{kind}, × spatial", "value": found["tps"][key] / found["spatial"][key],
         "shown": f"{found['tps'][key]:,} / {found['spatial'][key]:,}"}
        for kind, key in (("kernels", "kernels"), ("loops", "loops"), ("bytes", "bytes"))
    ]  # fmt: skip


def cost(name: str, seconds: float) -> list[Figure]:
    """`tps-lab cost` of one clip, the whole process."""
    return processes(("-m", "tps_lab.cli", "cost", "tps", "--json", "--backbone", *COSTS[name]), seconds, most=3)


def start(name: str, seconds: float) -> list[Figure]:
    return processes(STARTS[name], seconds, most=7)


def whole(name: str, seconds: float) -> list[Figure]:
    if name == "make test":
        os.environ["OMP_NUM_THREADS"] = "1"  # as the Makefile has it
    with tempfile.TemporaryDirectory() as folder:
        return processes((*WHOLE[name], f"{folder}/out"), seconds, most=1)


def predictions(name: str, seconds: float) -> list[Figure]:
    import many

    before = time.perf_counter()
    assert len(many.predictions(many.hundred())) == 100
    return [{"what": "seconds", "value": time.perf_counter() - before}]


PARTS: dict[str, tuple[Callable[[str, float], list[Figure]], tuple[str, ...], str]] = {
    "shift": (shift, tuple(SHAPES), "The shift alone"),
    "limit": (limit, tuple(SHAPES), "Where the time of a shift goes, forward"),
    "step": (step, tuple(STEPS), "A training step"),
    "beside": (beside, ("Swin-T, a clip of 16 frames of 224²",), "Beside what one would pick instead: a training step"),
    "compiled": (
        compiled,
        ("ViT, forward", "ViT, training step", "Swin, forward", "Swin, training step"),
        "Compiled by inductor, counted",
    ),
    "start": (start, tuple(STARTS), "Starting, the whole process"),
    "cost": (cost, tuple(COSTS), "`tps-lab cost`, the whole process"),
    "predictions": (predictions, ("100 predictions of peak memory",), "Predictions"),
    "whole": (whole, tuple(WHOLE), "Whole commands"),
}


# ---------------------------------------------------------------------- how it is timed


def in_turn(models: Mapping[str, Any], batch: int, seconds: float) -> list[Figure]:
    """Training steps in turn, beside that of the first model."""
    from tps_lab.measure.step import Step
    from tps_lab.measure.timing import timings_of

    base, *others = models
    timed = timings_of(models, Step(batch), models[base].clip_shape, repeats=200, seconds=seconds)
    return [ratio(f"{name}, × {base}", timed[name].calls, timed[base].calls) for name in others]


def in_places(make: Callable[[], dict[str, Callable[[], Any]]], seconds: float, places: int = 10) -> dict[str, Any]:
    """Milliseconds of each piece of work, in turn, from tensors that lie elsewhere each time.

    Where they lie decides what a small copy finds in the cache: alone it made the same ratio 1.05 or 1.42.
    """
    import torch

    from tps_lab.measure.timing import interleaved

    calls: dict[str, list[float]] = {}
    for place in range(places):
        aside = torch.ones(place * 1_000_003)
        for name, timing in interleaved(make(), 100, seconds=seconds / places, device="cpu").items():
            calls.setdefault(name, []).extend(timing.calls)
        del aside
    return calls


def ratio(what: str, calls: Sequence[float], base: Sequence[float]) -> Figure:
    from tps_lab.measure.timing import paired_ratio

    found = paired_ratio(calls, base).row()
    shown = f"{statistics.median(calls):.4g} / {statistics.median(base):.4g} ms"
    return {"what": what, "value": found.pop("median"), **found, "shown": shown}


def processes(arguments: tuple[str, ...], seconds: float, most: int) -> list[Figure]:
    """Whole processes one after another, for at most so many seconds: their wall clock's and their processors'."""
    wall: list[float] = []
    cpu: list[float] = []
    while not wall or (len(wall) < most and sum(wall) < seconds):
        before, used = time.perf_counter(), processor_seconds()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, cwd=HERE.parents[1])
        wall.append(time.perf_counter() - before)
        cpu.append(processor_seconds() - used)
    return [
        {"what": "seconds", "value": statistics.median(wall), "rounds": len(wall),
         "shown": f"{statistics.median(cpu):.1f} s of processors"}
    ]  # fmt: skip


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cell(part: str, name: str, threads: int, machine: str, seconds: float) -> dict[str, Any]:
    """The figures of one name of a part, and under what conditions they were measured."""
    import torch

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    before = round(os.getloadavg()[0], 1)
    figures = PARTS[part][0](name, seconds)
    load = f"{before} to {os.getloadavg()[0]:.1f}"
    return {"figures": figures, "torch": torch.__version__, "load": load, "date": time.strftime("%Y-%m-%d")}


# ---------------------------------------------------------------------- the page


def cells(quick: bool) -> list[dict[str, Any]]:
    """All, of this machine."""
    found = []
    for part, (_, names, _) in PARTS.items():
        numbers = {"limit": {1}, "shift": {1, children.cores()}, "step": {1, children.cores()}}.get(
            part, {children.cores()}
        )
        seconds = 1.0 if quick else {"shift": 10.0, "limit": 10.0, "step": 90.0, "beside": 200.0}.get(part, 60.0)
        found += [
            {"part": part, "name": name, "threads": threads, "machine": processor(), "seconds": seconds}
            for name in names
            for threads in sorted(numbers)
        ]
    return found


def rows(entries: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[list[str]]:
    """The lines of a part's table."""
    found = []
    for given, row in entries:
        part = given["part"]
        threads = f", {given['threads']} thread{'s' * (given['threads'] > 1)}" if part in ("shift", "step") else ""
        name = given["name"] + threads
        if "figures" not in row:
            found.append([name, "", row["status"], "", ""])
        for figure in row.get("figures", []):
            wanted, seconds = target(part, given["name"], figure["what"]), figure["what"] == "seconds"
            value = f"{figure['value']:.3g} s" if seconds else f"{figure['value']:.3f}"
            between = "" if figure.get("low") is None else f" ({figure['low']:.3f} to {figure['high']:.3f})"
            many = [f"{figure['rounds']} rounds"] if figure.get("rounds", 1) > 1 else []
            measured = ", ".join(([figure["shown"]] if "shown" in figure else []) + many)
            held = "" if wanted is None else f"{wanted}: {'held' if wanted.met(figure) else '**missed**'}"
            what = "" if seconds else figure["what"]
            found.append([name, what, value + between, measured, held])
            name = ""
    return found


def conditions(entries: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """With which torch, under what load and when the rows of a table were measured."""
    if not (measured := [row for _, row in entries if "load" in row]):
        return ""
    loads = [float(load) for row in measured for load in row["load"].split(" to ")]
    days = sorted({row["date"] for row in measured})
    with_torch = " and ".join(sorted({row["torch"] for row in measured}))
    return f"torch {with_torch}; load {min(loads):g} to {max(loads):g}; {' to '.join(days[:: len(days) - 1 or 1])}"


def page(file: Path, out: Path) -> Path:
    """report.md from all cells that are kept, those of other machines too; of two of one kind the later one."""
    kept: dict[str, dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]] = {}
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        given = entry["cell"]
        kept.setdefault(given["machine"], {})[given["part"], given["name"], given["threads"]] = given, entry["row"]
    cores = {machine: max(threads for _, _, threads in entries) for machine, entries in kept.items()}
    tables = {
        f"{machine}, {cores[machine]} core{'s' * (cores[machine] > 1)}": {
            title: (conditions(of_part), rows(of_part))
            for part, (_, _, title) in PARTS.items()
            if (of_part := [entry for key, entry in entries.items() if key[0] == part])
        }
        for machine, entries in kept.items()
    }
    return write_page(HERE / "template.md", out, machines=tables)


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Parts: {', '.join(PARTS)}; all by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A second each, in build/speed.")] = False,
    page_only: Annotated[bool, typer.Option("--page", help="Measure nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure what is not measured yet, and write report.md. Ends with 1 if a compiled shift costs a kernel."""
    os.environ.update(dict.fromkeys(children.LARGE_PAGES, "0"))  # as a user of the library has it
    from tps_lab.errors import unknown

    if wrong := [part for part in only or () if part not in PARTS]:
        raise unknown("part", wrong[0], PARTS)
    out = HERE.parents[1] / "build" / "speed" if quick else HERE
    file, costs_kernels = out / "cells.jsonl", False
    wanted = [each for each in cells(quick) if not only or each["part"] in only]
    if not page_only:
        with advancing("measuring", len(wanted), quiet) as advance:
            for done, row in enumerate(kept_cells(file, wanted, cell, fresh_without="seconds"), 1):
                given = wanted[done - 1]
                advance(done, row.get("status") or f"{given['part']}, {given['name']}: measured")
                costs_kernels |= given["part"] == "compiled" and any(
                    not wanted_.met(figure)
                    for figure in row.get("figures", [])
                    if (wanted_ := target("compiled", given["name"], figure["what"]))
                )
    print(page(file, out))
    if costs_kernels:
        raise typer.Exit(1)


if __name__ == "__main__":
    command(main)
