"""The command `cost`: what variants cost, one in detail or several side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_lab import files
from tps_lab.cli._shared import Json, Quiet, amount, app, check_picture, count, print_json, save_picture, say
from tps_lab.errors import InputError
from tps_lab.lazy import uncollected

if TYPE_CHECKING:
    from tps_lab.attention import Variant
    from tps_lab.measure.step import Step
    from tps_lab.measure.timing import Compared
    from tps_lab.measure.trace import Part

_MOST_DRAWN = 6  # panels of a picture
# what `cost` says of a model by options of its own
_SAID = {
    "name": "it stands before the bracket, as in vit_micro(depth=2)",
    "attention": "give the variant as {}",
    "frames": "give --frames {}",
    "tubelet": "give --tubelet {}",
    "size": "give --size {}",
    "num_classes": "give --classes {}",
    "pretrained": "weights have no part in what a model costs",
}


@app.command(
    epilog="Examples: tps-lab cost spatial tps joint --backbone vit_base_patch16_224 --batch 8 --precision bf16, "
    "tps-lab cost tps divided --save memory.png, "
    "tps-lab cost spatial tps --backbone vit_small_patch16_224 --measure"
)
def cost(
    attention: Annotated[
        list[str] | None, typer.Argument(metavar="[ATTENTION]...", help="See: tps-lab list attention; or all.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="See: tps-lab list backbones.")] = "vit_micro",
    same: Annotated[list[str] | None, typer.Option("--attention", help="The same as ATTENTION.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Shift pattern, for patch-shift variants.")] = None,
    frames: Annotated[int | None, count("Frames per clip. [default: the backbone's]")] = None,
    tubelet: Annotated[int | None, count("Frames per token along time.")] = None,
    size: Annotated[int | None, count("Height and width in pixels.", high=16_384)] = None,
    batch: Annotated[int, count("Clips per step, for memory and throughput.", high=1_000_000)] = 1,
    classes: Annotated[int, count("Outputs of the head.", 0, 1_000_000)] = 1000,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    optimizer: Annotated[str, typer.Option(help="adamw or sgd (momentum).")] = "adamw",
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Gradient checkpointing.")] = False,
    unfused: Annotated[bool, typer.Option("--unfused", help="Attention that stores its scores in memory.")] = False,
    views: Annotated[
        str | None, typer.Option(help="Crops x clips of a test, such as 3x4; their total is shown separately.")
    ] = None,
    device_model: Annotated[
        list[str] | None, typer.Option(help="a100, h100, rtx4090, t4 or cpu: roofline times.")
    ] = None,
    breakdown: Annotated[bool, typer.Option("--breakdown", help="Show costs by operation and by stage.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="Only compare published multiply-adds with ours.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the models: latency, memory and a third count of multiply-adds.")
    ] = False,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Measure with torch.compile; compile time is shown separately.")
    ] = False,
    graphs: Annotated[bool, typer.Option("--graphs", help="Measure replayed CUDA graphs.")] = False,
    rounds: Annotated[int, count("Measured rounds at most.", low=2)] = 40,
    seconds: Annotated[float, amount("About how long each of the three timings may take.")] = 20.0,
    save: Annotated[
        Path | None,
        typer.Option(help="Picture of memory over a step, or of --breakdown (.png, .svg, .pdf); all figures (.json)."),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """What variants cost: parameters, multiply-adds, memory and time.

    Counts and predicts within seconds, without running a model. Peak memory is that of a GPU, split into parts, with
    the largest batch that fits. --measure runs the models in turn (A B B A …) on this machine: latency, training step,
    peak memory, and each time as a multiple of the first variant's.
    """
    if paper:
        from tps_lab.measure import paper as published

        rows = published.table()
        print_json(rows) if json_ else say(published.text(rows))
        return
    from tps_lab.measure.cost_figures import views_of
    from tps_lab.measure.step import Step
    from tps_lab.training.config import backbone_parts

    step = Step(batch, True, precision, optimizer, checkpointing, not unfused)
    chosen = _chosen([*(attention or ()), *(same or ())] or ["tps"], pattern)
    by_name = "all" not in (attention or ())
    if (compile_ or graphs) and not measure:
        raise InputError("--compile and --graphs need --measure")
    _check_save(save, chosen, breakdown, by_name)
    name, options = backbone_parts(backbone)

    def maker(variant: Variant) -> Callable[[], Any]:
        from tps_lab.backbones import _options, create_model

        _options.refuse_ours(options, variant, _SAID)
        shape: dict[str, Any] = {"frames": frames, "tubelet": tubelet, "size": size, "num_classes": classes}
        return lambda: create_model(name, variant, **shape, **options)

    count_ = views_of(views)
    found, impossible = _counted(chosen, maker, step, tuple(device_model or ()), json_ or quiet, by_name)
    rows = [{"backbone": backbone, "attention": str(variant), **facts} for variant, facts, _ in found]
    timed: dict[str, Compared] = {}
    if measure:
        possible = [variant for variant, _, _ in found]
        how = replace(step, compile="inductor" if compile_ else None, graphs=graphs)
        timed = _measured(possible, maker, how, rows, rounds, seconds, json_ or quiet)
    for row, (_, _, parts) in zip(rows, found, strict=True):
        row |= {"views": count_, "macs_all_views": None if row["macs"] is None else count_ * row["macs"]}
        row |= {"breakdown": [part.row() for part in parts]} if breakdown else {}
    facts = _facts(rows, impossible, timed, several=len(rows) > 1 or bool(impossible))
    if save is not None:
        _save(save, found, maker, step, breakdown, facts, timed)
    if json_:
        print_json(facts)
    else:
        say(_text(rows, impossible, timed, [parts for _, _, parts in found] if breakdown else None, batch))
        if save is not None:
            say(save)
    if any(compared.failures for compared in timed.values()):
        raise typer.Exit(1)


Found = tuple["Variant", dict[str, Any], "list[Part]"]


def _chosen(names: list[str], pattern: str | None) -> list[Variant]:
    """The variants that were named, each once; a pattern goes to those that have one."""
    from tps_lab.attention import parse, variants

    names = list(variants()) if "all" in names else names
    found = [parse(name) for name in dict.fromkeys(names)]
    if pattern is None:
        return found
    patterned = {index for index, variant in enumerate(found) if "pattern" in type(variant).options()} or {0}
    return [parse(variant, pattern=pattern) if i in patterned else variant for i, variant in enumerate(found)]


@uncollected()
def _counted(
    chosen: list[Variant], maker: Any, step: Step, devices: tuple[str, ...], quiet: bool, strict: bool
) -> tuple[list[Found], dict[str, str]]:
    """Every variant, and those that the backbone cannot have, with why.

    Raises:
        InputError: variants were named, and the backbone can have none of them.
    """
    from tps_lab import progress
    from tps_lab.measure.cost_figures import count_and_predict

    found: list[Found] = []
    impossible: dict[str, str] = {}
    quiet = quiet or len(chosen) == 1  # done before one has read the bar
    with progress.for_this_terminal(quiet).run("counting", len(chosen)) as advance:
        for done, variant in enumerate(chosen, 1):
            try:
                found.append((variant, *count_and_predict(maker(variant), step, devices)))
            except InputError as error:
                impossible[str(variant)] = str(error)
            advance(done, None)
    if strict and not found:
        raise InputError(next(iter(impossible.values())))
    return found, impossible


def _measured(
    chosen: list[Variant], maker: Any, step: Step, rows: list[dict[str, Any]], rounds: int, seconds: float, quiet: bool
) -> dict[str, Compared]:
    """Run the models in turn, and lay what was measured over what was counted and predicted."""
    from tps_lab import progress
    from tps_lab.measure import best_device
    from tps_lab.measure.cost_figures import NOT_MEASURED, TIMED, measured
    from tps_lab.training.forecast import check_held

    needed = max((row["peak_memory_bytes"] or {}).get("training", 0) for row in rows)
    check_held(needed, step.batch, "--measure", "a smaller --batch")  # else the system ends this without a word
    models = {str(variant): maker(variant)().to(best_device()) for variant in chosen}
    with progress.for_this_terminal(quiet).run("measuring", len(TIMED) + len(models)) as advance:
        figures, timed = measured(models, step, None, rounds, seconds, advance)
    for row, found in zip(rows, figures.values(), strict=True):
        row["predicted_memory_bytes"] = row["peak_memory_bytes"]
        missing = {figure: why for figure, why in row["missing"].items() if figure not in NOT_MEASURED}
        row |= found | {"missing": missing | found["missing"]}
    return timed


def _facts(
    rows: list[dict[str, Any]], impossible: dict[str, str], timed: Mapping[str, Compared], several: bool
) -> dict[str, Any]:
    """For `--json`: one variant's facts, or rows of several; and how the timings compare."""
    facts = {"rows": rows, "impossible": impossible} if several else rows[0]
    if timed:
        first = next(iter(timed.values()))
        facts |= {
            "baseline": first.baseline,
            "ratio": {
                figure: {name: ratio.row() for name, ratio in found.ratios.items()} for figure, found in timed.items()
            },
            "failures": {figure: found.failures for figure, found in timed.items() if found.failures},
            "conditions": first.conditions,
        }
    return facts


def _text(
    rows: list[dict[str, Any]], impossible: dict[str, str], timed: Mapping[str, Compared],
    parts: list[list[Part]] | None, batch: int,
) -> str:  # fmt: skip
    from tps_lab.cli import cost_text

    if len(rows) == 1 and not impossible:
        return cost_text.one(rows[0], parts[0] if parts else None)
    text = [cost_text.several(rows, impossible)]
    text += [cost_text.timings(timed, batch)] if timed else []
    for row, its in zip(rows, parts or (), strict=False):
        text.append(f"{row['attention']}\n{cost_text.where_it_goes(its, batch)}")
    return "\n\n".join(text)


def _check_save(save: Path | None, chosen: list[Variant], breakdown: bool, by_name: bool) -> None:
    """Refuse, before anything is counted, a picture that could not be drawn."""
    if save is None:
        return None
    if save.suffix == ".json":
        return files.check_file(save) if save.parent.is_dir() else files.check_folder(save.parent)
    if breakdown and len(chosen) > 1:
        raise InputError("--save draws the breakdown of one variant")
    if not by_name or len(chosen) > _MOST_DRAWN:
        raise InputError(f"--save draws 1 to {_MOST_DRAWN} variants that are named")
    return check_picture(save, ".json")


def _save(
    file: Path, found: list[Found], maker: Any, step: Step, breakdown: bool, facts: dict[str, Any],
    timed: Mapping[str, Compared],
) -> None:  # fmt: skip
    from tps_lab import viz

    if file.suffix == ".json":
        calls = {figure: {name: list(timing.calls) for name, timing in compared.timings.items()}
                 for figure, compared in timed.items()}  # fmt: skip
        with files.writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(file, json.dumps(facts | ({"calls_ms": calls} if calls else {}), indent=1))
    elif breakdown:
        ((variant, _, parts),) = found
        save_picture(viz.breakdown(parts, f"{facts['backbone']}, {variant}").figure, file)
    else:
        from tps_lab.measure.predicted_memory import timeline

        shown = {variant.label: timeline(maker(variant), step) for variant, _, _ in found}
        save_picture(viz.memory_over_step(shown).figure, file)
