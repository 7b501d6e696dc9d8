"""Commands that put several variants side by side: memory, latency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tps_lab.cli._shared import Json, Quiet, amount, app, count, print_json, save_picture
from tps_lab.errors import InputError

_Backbone = Annotated[str, typer.Option(help="See: tps-lab list backbones.")]
_Variants = Annotated[list[str] | None, typer.Argument(metavar="[ATTENTION]...", help="See: tps-lab list attention.")]
_Frames = Annotated[int | None, count("Frames per clip; the backbone's own by default.")]
_Tubelet = Annotated[int | None, count("Frames per token along time.")]
_Size = Annotated[int | None, count("Height and width in pixels.", high=16_384)]
_Precision = Annotated[str, typer.Option(help="fp32, bf16 or fp16.")]
_MOST_DRAWN = 6  # panels of a picture


@app.command(
    epilog="Examples: tps-lab memory spatial tps joint --backbone vit_base_patch16_224 --batch 8 --precision bf16, "
    "tps-lab memory tps divided --save memory.png"
)
def memory(
    attention: _Variants = None,
    backbone: _Backbone = "vit_base_patch16_224",
    frames: _Frames = None,
    tubelet: _Tubelet = None,
    size: _Size = None,
    batch: Annotated[int, count("Clips per step.", high=1_000_000)] = 8,
    precision: _Precision = "fp32",
    optimizer: Annotated[str, typer.Option(help="adamw or sgd (momentum).")] = "adamw",
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Gradient checkpointing.")] = False,
    unfused: Annotated[bool, typer.Option("--unfused", help="Attention with its scores in memory.")] = False,
    every_way: Annotated[bool, typer.Option("--every-way", help="Fused and not, checkpointed and not.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(help="Picture of memory over a training step: .png, .svg, .pdf; of 6 variants at most."),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Peak memory of several variants on a GPU, predicted without one: parts, and the largest batch that fits.

    Without names: every variant that the backbone can have.
    """
    from tps_lab import progress
    from tps_lab.measure import many, tables

    if save is not None and (not attention or len(attention) > _MOST_DRAWN or every_way):
        raise InputError(f"--save draws 1 to {_MOST_DRAWN} variants that are named, one way")
    ways = [(c, f) for f in (True, False) for c in (False, True)] if every_way else [(checkpointing, not unfused)]
    with progress.for_this_terminal(quiet or json_).run("variants", many.count(attention, ways)) as advance:
        rows, impossible = many.predicted(
            attention, backbone, {"frames": frames, "tubelet": tubelet, "size": size},
            {"batch": batch, "precision": precision, "optimizer": optimizer}, ways, advance,
        )  # fmt: skip
    if attention and not rows:
        raise InputError(next(iter(impossible.values())))
    if save is not None:
        from tps_lab import viz

        (way,) = ways
        possible = [name for name in attention or () if name not in impossible]
        shown = many.timelines(
            possible, backbone, {"frames": frames, "tubelet": tubelet, "size": size},
            {"batch": batch, "precision": precision, "optimizer": optimizer, "checkpointing": way[0], "fused": way[1]},
        )  # fmt: skip
        save_picture(viz.memory_over_step(shown).figure, save)
    if json_:
        print_json({"rows": rows, "impossible": impossible})
    else:
        print(tables.memory_table(rows, impossible))
        if save is not None:
            print(save)


@app.command(epilog="Example: tps-lab latency spatial tps joint --backbone vit_small_patch16_224 --frames 8 --training")
def latency(
    attention: _Variants = None,
    backbone: _Backbone = "vit_micro",
    frames: _Frames = None,
    tubelet: _Tubelet = None,
    size: _Size = None,
    batch: Annotated[int, count("Clips.", high=100_000)] = 1,
    training: Annotated[bool, typer.Option("--training", help="A training step instead of inference.")] = False,
    precision: _Precision = "fp32",
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile; its time stands apart.")] = False,
    graphs: Annotated[bool, typer.Option("--graphs", help="Replay CUDA graphs.")] = False,
    rounds: Annotated[int, count("At most so many rounds that count.")] = 40,
    seconds: Annotated[float, amount("About how long it may take.")] = 60.0,
    save: Annotated[Path | None, typer.Option(help="All calls and conditions as JSON, into this file.")] = None,
    json_: Json = False,
) -> None:
    """Several variants timed in turn (A B B A …), and how many times as long as the first each takes."""
    from tps_lab.measure import many, tables

    facts = many.timed(
        attention or ["spatial", "tps", "divided", "joint"], backbone,
        {"frames": frames, "tubelet": tubelet, "size": size},
        {"what": "training step" if training else "inference", "batch": batch, "precision": precision,
         "compile": "inductor" if compile_ else None, "graphs": graphs},
        rounds, seconds,
    )  # fmt: skip
    calls = facts.pop("calls_ms")
    if save is not None:
        many.save(save, facts | {"calls_ms": calls})
    if json_:
        print_json(facts)
    else:
        print(tables.latency_text(facts))
    if facts["failures"]:
        raise typer.Exit(1)
