"""The command that says what a model costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tps_lab.cli._shared import Json, app, count, print_json, save_picture
from tps_lab.errors import InputError


@app.command(epilog="Example: tps-lab cost --backbone vit_small_patch16_224 --attention tps --pattern C --frames 8")
def cost(
    backbone: Annotated[str, typer.Option(help="See: tps-lab list backbones.")] = "vit_micro",
    attention: Annotated[str, typer.Option(help="See: tps-lab list attention.")] = "tps",
    pattern: Annotated[str | None, typer.Option(help="Of a patch-shift variant.")] = None,
    frames: Annotated[int, count("Frames per clip.")] = 8,
    tubelet: Annotated[int, count("Frames per token along time.")] = 1,
    size: Annotated[int | None, count("Height and width in pixels.", high=16_384)] = None,
    batch: Annotated[int, count("Clips per step, for memory and throughput.", high=1_000_000)] = 1,
    classes: Annotated[int, count("Outputs of the head.", 0, 1_000_000)] = 1000,
    paper: Annotated[bool, typer.Option("--paper", help="Published multiply-adds beside ours; nothing else.")] = False,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16: memory by part.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or sgd (momentum): as --precision.")] = None,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Gradient checkpointing: likewise.")] = False,
    unfused: Annotated[bool, typer.Option("--unfused", help="Attention with its scores in memory: likewise.")] = False,
    views: Annotated[str | None, typer.Option(help="Crops x clips of a test, such as 3x4: multiplied apart.")] = None,
    device_model: Annotated[
        list[str] | None, typer.Option(help="a100, h100, rtx4090, t4 or cpu: roofline times.")
    ] = None,
    breakdown: Annotated[bool, typer.Option("--breakdown", help="Where it goes.")] = False,
    save: Annotated[Path | None, typer.Option(help="Picture of the breakdown: .png, .svg, .pdf.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Run it: latency, memory and a third counter.")] = False,
    json_: Json = False,
) -> None:
    """What a model costs: parameters, multiply-adds, peak memory; counted and predicted without running it.

    With --measure it runs: multiply-adds by three counters, peak memory and latency as they are here. With
    --precision, --optimizer, --checkpointing or --unfused: peak memory on a GPU by part, and the largest batch
    that fits. With --device-model, --breakdown or --save: what the model needs and what kernels run, bytes
    moved and roofline times.
    """
    if paper:
        from tps_lab.measure import paper as published

        rows = published.table()
        if json_:
            print_json(rows)
        else:
            print(published.text(rows))
        return
    from tps_lab.attention import parse
    from tps_lab.backbones import create_model
    from tps_lab.cli import listing
    from tps_lab.measure import best_device
    from tps_lab.measure import cost as costs_of

    if batch < 1:
        raise InputError(f"batch must be 1 or more, got {batch}")
    variant = parse(attention, **({} if pattern is None else {"pattern": pattern}))

    def make() -> Any:
        return create_model(backbone, variant, frames=frames, tubelet=tubelet, size=size, num_classes=classes)

    from tps_lab.measure.ledger import ledger, views_of
    from tps_lab.measure.ledger import text as ledger_text

    count = views_of(views)
    if device_model or breakdown or save:
        _without_running(
            make, {"backbone": backbone, "attention": str(variant), "batch": batch, "views": count},
            {"devices": device_model or (), "precision": precision or "fp32", "fused": not unfused,
             "checkpointing": checkpointing}, breakdown or save is not None, save, json_,
        )  # fmt: skip
        return
    if precision or optimizer or checkpointing or unfused:
        from tps_lab.measure.many import memory_facts
        from tps_lab.measure.predict import Setting, counts, predict_batches

        setting = Setting(batch, precision or "fp32", optimizer or "adamw", checkpointing, not unfused)
        predicted = memory_facts(backbone, str(variant), counts(make), *predict_batches(make, setting))
        if json_:
            print_json(predicted)
        else:
            print(listing.memory_text(predicted))
        return
    if measure:
        model = make().to(best_device())
    else:
        import torch

        with torch.device("meta"):
            model = make()
    shape = {"clip_shape": list(model.clip_shape), "batch": batch}  # type: ignore[arg-type]
    facts = {"backbone": backbone, "attention": str(variant), **shape, **costs_of(model, batch=batch, measured=measure)}
    try:
        work, _ = ledger(make)
        facts |= {"work": work["work"], "traffic_bytes": work["traffic_bytes"]}
    except NotImplementedError as error:  # an operator that nobody reviewed, by name
        work, facts["missing"] = None, {**facts["missing"], "work": str(error)}
    facts |= {"views": count, "macs_all_views": None if facts["macs"] is None else count * facts["macs"]}
    if json_:
        print_json(facts)
    else:
        print(listing.cost_text(facts))
        if work is not None:
            print("\n" + ledger_text(work, None, count))


def _without_running(
    make: Any, given: dict[str, Any], how: dict[str, Any], with_parts: bool, save: Path | None, as_json: bool
) -> None:
    from tps_lab.errors import unknown
    from tps_lab.measure.ledger import ledger, text
    from tps_lab.measure.predict import PRECISIONS

    if how["precision"] not in PRECISIONS:
        raise unknown("precision", how["precision"], PRECISIONS)
    try:
        facts, parts = ledger(make, given["batch"], **how)
    except NotImplementedError as error:
        raise InputError(f"{given['backbone']}, {given['attention']}: {error}") from error
    if save is not None:
        from tps_lab import viz

        save_picture(viz.breakdown(parts, f"{given['backbone']}, {given['attention']}").figure, save)
    executed = facts["work"]["executed"]["forward"]
    facts = given | facts | {"macs": executed, "macs_all_views": given["views"] * executed}
    facts |= {
        "macs_by_counter": facts["work"]["by_counter"]["forward"],
        "macs_status": facts["work"]["status"]["forward"],
    }
    if as_json:
        print_json(facts)
        return
    print(f"{given['backbone']}, {given['attention']}\n\nparameters     {facts['params'] / 1e6:.3f} M\n")
    print(text(facts, parts if with_parts else None, given["views"]))
    if save is not None:
        print(save)
