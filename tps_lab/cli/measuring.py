"""Commands that measure or predict: cost, validate-memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tps_lab.cli._shared import Json, Quiet, app, print_json
from tps_lab.errors import InputError


@app.command(epilog="Example: tps-lab cost --backbone vit_small_patch16_224 --attention tps --pattern C --frames 8")
def cost(
    backbone: Annotated[str, typer.Option(help="See: tps-lab list backbones.")] = "vit_micro",
    attention: Annotated[str, typer.Option(help="See: tps-lab list attention.")] = "tps",
    pattern: Annotated[str | None, typer.Option(help="Of a patch-shift variant.")] = None,
    frames: Annotated[int, typer.Option(help="Frames per clip.")] = 8,
    tubelet: Annotated[int, typer.Option(help="Frames per token along time.")] = 1,
    size: Annotated[int | None, typer.Option(help="Height and width in pixels.")] = None,
    batch: Annotated[int, typer.Option(help="Clips per step, for memory and throughput.")] = 1,
    classes: Annotated[int, typer.Option(help="Outputs of the head.")] = 1000,
    paper: Annotated[bool, typer.Option("--paper", help="Published multiply-adds beside ours; nothing else.")] = False,
    precision: Annotated[
        str | None, typer.Option(help="fp32, bf16 or fp16: predicts memory, measures nothing.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or sgd (momentum): as --precision.")] = None,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Gradient checkpointing: likewise.")] = False,
    unfused: Annotated[bool, typer.Option("--unfused", help="Attention with its scores in memory: likewise.")] = False,
    json_: Json = False,
) -> None:
    """What a model costs: parameters, multiply-adds by three counters, peak memory, latency.

    With --precision, --optimizer, --checkpointing or --unfused: peak memory on a GPU, predicted
    without one and without memory for weights.
    """
    if paper:
        from tps_lab.measure import paper as published

        rows = published.table()
        if json_:
            print_json(rows)
        else:
            print(published.text(rows))
        return
    from tps_lab import listing
    from tps_lab.attention import parse
    from tps_lab.backbones import create_model
    from tps_lab.measure import best_device
    from tps_lab.measure import cost as measured

    if batch < 1:
        raise InputError(f"batch must be 1 or more, got {batch}")
    variant = parse(attention, **({} if pattern is None else {"pattern": pattern}))

    def make() -> Any:
        return create_model(backbone, variant, frames=frames, tubelet=tubelet, size=size, num_classes=classes)

    if precision or optimizer or checkpointing or unfused:
        from tps_lab.measure.predict import Setting, predict_batches

        setting = Setting(batch, precision or "fp32", optimizer or "adamw", checkpointing, not unfused)
        predicted = listing.memory_facts(backbone, str(variant), *predict_batches(make, setting))
        if json_:
            print_json(predicted)
        else:
            print(listing.memory_text(predicted))
        return
    model = make()
    model = model.to(best_device())
    shape = {"clip_shape": list(model.clip_shape), "batch": batch}  # type: ignore[arg-type]
    facts = {"backbone": backbone, "attention": str(variant), **shape, **measured(model, batch=batch)}
    if json_:
        print_json(facts)
    else:
        print(listing.cost_text(facts))


@app.command("validate-memory", epilog="Example: tps-lab validate-memory --out reports/memory")
def validate_memory(
    out: Annotated[Path, typer.Option(help="Where report.md and the cells go; what is there is not run again.")],
    cells: Annotated[int | None, typer.Option(help="Only the first so many.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Peak memory predicted against measured, over a grid, on the device at hand."""
    from tps_lab import progress
    from tps_lab.measure import best_device
    from tps_lab.measure.validate import grid, validate

    if cells is not None and cells < 1:
        raise InputError(f"cells must be 1 or more, got {cells}")
    device = best_device().type
    wanted = grid(large=device == "cuda")[:cells]
    try:
        with progress.for_this_terminal(quiet or json_).run("cells", len(wanted)) as advance:
            summary = validate(out, device, wanted, advance)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    if json_:
        print_json(summary)
    else:
        print(
            f"{summary['measured']} of {summary['cells']} cells: median error {summary['median_error_pct']} %, "
            f"95th percentile {summary['p95_error_pct']} %"
        )
        print(out / "report.md")
    if summary["measured"] < summary["cells"]:
        raise typer.Exit(1)
