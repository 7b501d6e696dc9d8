"""The command line: parse, call, print. Everything it does is a function elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tps_lab import plugins
from tps_lab.errors import InputError, unknown

app = typer.Typer(
    name="tps-lab",
    help="What does a way of mixing space and time buy, and what does it cost?",
    epilog="Begin with: tps-lab quickstart",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key, e.g. recipe.lr=0.001.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.callback()
def _plugins(
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file that defines variants or data sets of your own.")
    ] = None,
) -> None:
    for file in plugin or []:
        plugins.load(file)


@app.command(epilog="Example: tps-lab quickstart --seeds 3 --out reports/mine")
def quickstart(
    seeds: Annotated[int, typer.Option(help="Runs per variant; 3 or more give intervals over seeds.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the report and its runs.")] = Path("reports/quickstart"),
    full: Annotated[bool, typer.Option("--full", help="Twice the steps, more variants and patterns.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run finished runs again.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time. [default: one per core, or one on a GPU]")] = None,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure attention variants on moving digits, and compare them in a report."""
    from tps_lab import progress
    from tps_lab.quickstart import quickstart as run

    shown = progress.for_this_terminal(quiet or json_)
    outcome = run(out, seeds, full, again, jobs, shown, **_pairs(set_))
    _finish(outcome.runs, outcome.page, json_)
    if outcome.stopped:
        raise typer.Exit(130)


@app.command("list", epilog="Example: tps-lab list attention")
def list_(
    what: Annotated[
        Literal["patterns", "attention", "backbones", "data", "ablations", "all"], typer.Argument(help="What to list.")
    ] = "all",
    json_: Json = False,
) -> None:
    """What there is: patterns, attention variants, backbones, data sets."""
    from tps_lab import listing

    kinds = list(listing.KINDS) if what == "all" else [what]
    found = {kind: listing.KINDS[kind]() for kind in kinds}
    if json_:
        _print_json(found if what == "all" else found[what])
    else:
        print(listing.text(found, short=what == "all"))


@app.command(epilog='Examples: tps-lab pattern C --grid 7x7, tps-lab pattern "0 1 / -1 0" --save mosaic.png')
def pattern(
    tile: Annotated[str, typer.Argument(help="A name (see: tps-lab list patterns) or a tile's text.")],
    grid: Annotated[str, typer.Option(help="Patches, height x width.")] = "7x7",
    frames: Annotated[int, typer.Option(help="Frames of the clip.")] = 16,
    border: Annotated[str, typer.Option(help="circular, zero or edge.")] = "circular",
    save: Annotated[Path | None, typer.Option(help="Save the mosaic as a picture (.png, .svg, .pdf).")] = None,
    json_: Json = False,
) -> None:
    """A shift pattern: its tile, what it mixes, how far it reaches."""
    from tps_lab import listing
    from tps_lab.patterns import ShiftPattern

    chosen = ShiftPattern.parse(tile)
    height, width = _grid(grid)
    facts = listing.pattern_facts(chosen, height, width, frames, border)
    if save is not None:
        from tps_lab import viz

        _save(viz.mosaic(chosen, grid=(height, width)).figure, save)
    if json_:
        _print_json(facts)
    else:
        print(listing.pattern_text(chosen, facts))
        if save is not None:
            print(f"saved {save}")


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
            _print_json(rows)
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
            _print_json(predicted)
        else:
            print(listing.memory_text(predicted))
        return
    model = make()
    model = model.to(best_device())
    shape = {"clip_shape": list(model.clip_shape), "batch": batch}  # type: ignore[arg-type]
    facts = {"backbone": backbone, "attention": str(variant), **shape, **measured(model, batch=batch)}
    if json_:
        _print_json(facts)
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
        _print_json(summary)
    else:
        print(
            f"{summary['measured']} of {summary['cells']} cells: median error {summary['median_error_pct']} %, "
            f"95th percentile {summary['p95_error_pct']} %"
        )
        print(out / "report.md")
    if summary["measured"] < summary["cells"]:
        raise typer.Exit(1)


@app.command(epilog="Example: tps-lab train --attention tps --pattern A --data opposites --seed 1 --out runs")
def train(
    backbone: Annotated[str | None, typer.Option(help="See: tps-lab list backbones.")] = None,
    attention: Annotated[str | None, typer.Option(help="See: tps-lab list attention.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Of a patch-shift variant.")] = None,
    data: Annotated[str | None, typer.Option(help="See: tps-lab list data.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and of the order of clips.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with any of the keys.")] = None,
    set_: Set = None,
    out: Annotated[Path, typer.Option(help="Where the run's folder goes.")] = Path("runs"),
    again: Annotated[bool, typer.Option("--again", help="Run again even if it is done.")] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure one model; leaves a run folder."""
    from tps_lab import progress, runs
    from tps_lab.attention import parse
    from tps_lab.config import RunConfig, make

    given = {"backbone": backbone, "attention": attention, "data": data, "seed": seed}
    values = _yaml(config) | {k: v for k, v in given.items() if v is not None} | _pairs(set_)
    if pattern is not None:
        values["attention"] = str(parse(values.get("attention", RunConfig().attention), pattern=pattern))
    wanted = make(values)
    if runs.is_done(out / wanted.folder) and not again:
        print(f"already done (--again runs it again): {out / wanted.folder}", file=sys.stderr)
        run = runs.Run(out / wanted.folder)
    else:
        from tps_lab.train import train as run_training

        run = run_training(wanted, out, progress=progress.for_this_terminal(quiet or json_))
    if json_:
        _print_json(run.row)
    else:
        _print_table([run])
        print(run.path)
    _exit_by_status([run])


@app.command(epilog="Example: tps-lab explain --attention tps --pattern A --data 'order(gap=4)'")
def explain(
    config: Annotated[Path | None, typer.Argument(help="A YAML file with any of a run's keys.")] = None,
    backbone: Annotated[str | None, typer.Option(help="See: tps-lab list backbones.")] = None,
    attention: Annotated[str | None, typer.Option(help="See: tps-lab list attention.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Of a patch-shift variant.")] = None,
    frames: Annotated[int | None, typer.Option(help="Of the clips.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Blocks; the backbone's own if not given.")] = None,
    data: Annotated[str | None, typer.Option(help="See: tps-lab list data.")] = None,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Before any training: what a model cannot learn of its data, and why."""
    from tps_lab.config import make
    from tps_lab.explain import explain as explained

    found = explained(make(_run_values(config, backbone, attention, pattern, data, frames, set_)), depth)
    if json_:
        _print_json(found.facts())
    else:
        print(found.text())


def _run_values(
    config: Path | None, backbone: str | None, attention: str | None, pattern: str | None, data: str | None,
    frames: int | None, pairs: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    """A run's keys from a file, from options and from --set, the later ones over the earlier."""
    from tps_lab import data as data_sets
    from tps_lab.attention import parse
    from tps_lab.config import RunConfig

    given = {"backbone": backbone, "attention": attention, "data": data}
    values = _yaml(config) | {k: v for k, v in given.items() if v is not None} | _pairs(pairs)
    if pattern is not None:
        values["attention"] = str(parse(values.get("attention", RunConfig().attention), pattern=pattern))
    if frames is not None:
        values["data"] = str(data_sets.parse(values.get("data", RunConfig().data), frames=frames))
    return values


@app.command(epilog="Example: tps-lab report runs reports/quickstart/runs --out reports/mine")
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUNS…", help="Run folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option(help="Where index.html, report.md and results.csv go.")],
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="A grid file: its title, question, baseline and the paper's numbers are shown.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Label or case that the others are compared with.")] = None,
    json_: Json = False,
) -> None:
    """Compare runs in one self-contained page, as Markdown, as CSV and as a LaTeX table."""
    from tps_lab import report as pages
    from tps_lab import runs

    found = runs.find(*folders)
    said = pages.said_about(_yaml(about))
    said |= {k: v for k, v in {"title": title, "baseline": baseline}.items() if v is not None}
    try:
        page = pages.build(found, out, command=runs.environment()["command"], **said)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    _finish(found, page, json_, by_status=False)


@app.command(epilog="Example: tps-lab studio B")
def studio(
    pattern: Annotated[str, typer.Argument(help="The tile to begin with: a name, or rows like '0 1 / -1 0'.")] = "C",
    port: Annotated[int | None, typer.Option(help="Port on this machine. [default: 8866, or another free one]")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Open the mosaic studio as a page in the browser: change a pattern and watch what it does."""
    from tps_lab.studio.page import serve

    if code := serve(pattern, port, browser):
        raise typer.Exit(code)


@app.command(epilog="Example: tps-lab ablate ablations/patterns.yaml --dry-run")
def ablate(
    file: Annotated[Path, typer.Argument(metavar="GRID", help="A grid file; see: tps-lab list ablations.")],
    scale: Annotated[str, typer.Option(help="small (minutes on two cores) or paper (GPUs).")] = "small",
    out: Annotated[Path | None, typer.Option(help="Results folder. [default: runs/ablations/GRID-SCALE]")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List cells and what they will cost; run nothing.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these cases: names, CASE/SEED, or patterns with *.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many cells.")] = None,
    executor: Annotated[str, typer.Option(help="inline, local, ray or slurm.")] = "local",
    executor_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the executor, e.g. partition=gpu.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Cells at a time. [default: one per core, or one per GPU]")] = None,
    deterministic: Annotated[bool, typer.Option(help="One thread a cell, the same bits every time.")] = True,
    checkpoint_seconds: Annotated[float, typer.Option(help="Between checkpoints.")] = 60.0,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a grid of runs that answers one question; run again, it goes on from where it was."""
    from tps_lab import ablate as ablations

    asked = ablations.Asked(
        file=file,
        scale=scale,
        out=out,
        only=tuple(only or ()),
        limit=limit,
        executor=executor,
        executor_options=_pairs(executor_set),
        jobs=jobs,
        deterministic=deterministic,
        checkpoint_seconds=checkpoint_seconds,
        settings=_pairs(set_),
        quiet=quiet or json_,
    )
    if dry_run:
        plan = ablations.plan(asked)
        _print_json(plan.plain()) if json_ else _print_rich(plan.table())
        return
    outcome = ablations.run(asked)
    if json_:
        _print_json(outcome.plain())
    else:
        _print_rich(outcome.table())
        for state in outcome.states:
            if state.status == "failed":
                print(f"failed: {state.cell.case}, seed {state.cell.seed}: {state.reason}")
        print(outcome.out)
    if any(state.status == "failed" for state in outcome.states):
        raise typer.Exit(1)


@app.command(epilog="Example: tps-lab compare reports/before/runs reports/after/runs --out reports/difference")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Runs, of one commit or machine.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Runs of another.")],
    out: Annotated[Path | None, typer.Option(help="Where a page, Markdown and CSV go, if wanted.")] = None,
    json_: Json = False,
) -> None:
    """Two result sets: what differs between runs of the same configurations, B minus A."""
    from tps_lab import runs
    from tps_lab.report import versus

    found = versus.versus(runs.find(first), runs.find(second), str(first), str(second))
    if out is not None:
        try:
            versus.write(found, out, runs.environment()["command"])
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    if json_:
        _print_json(versus.facts(found))
    else:
        print(versus.text(found))
        if out is not None:
            print(out / "index.html")


def main() -> None:
    """Run the command line: exit 0 done, 1 some runs failed, 2 bad input, 130 interrupted."""
    try:
        # not standalone: what a command raises comes out here, and an exit code is returned
        code = app(standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", 130)
    except typer.Exit as done:
        code = done.exit_code
    except Exception as error:
        # click's own usage errors: unknown options, commands and missing arguments
        if not hasattr(error, "format_message"):
            raise
        _fail(_usage(error), 2)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", "tps-lab")
    return f"{error.format_message()} (see: {command} --help)"


def _fail(message: str, code: int) -> None:
    print("tps-lab: " + " ".join(message.split("\n")), file=sys.stderr)
    sys.exit(code)


def _finish(finished: list[Any], page: Path, as_json: bool, by_status: bool = True) -> None:
    if as_json:
        _print_json({"report": str(page), "rows": [run.row for run in finished]})
    else:
        _print_table(finished)
        print(page)
    if by_status:
        _exit_by_status(finished)


def _exit_by_status(finished: list[Any]) -> None:
    statuses = {run.row["status"] for run in finished}
    if "interrupted" in statuses:
        raise typer.Exit(130)
    if "failed" in statuses:
        raise typer.Exit(1)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(finished: list[Any]) -> None:
    from rich.console import Console

    from tps_lab.report.tables import text_table

    console = Console()
    console = console if console.is_terminal else Console(width=110)
    console.print(text_table(finished))


def _print_rich(what: Any) -> None:
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=140)).print(what)


def _pairs(given: list[str] | None) -> dict[str, Any]:
    import yaml

    values = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair!r} is not of the form KEY=VALUE")
        parsed = yaml.safe_load(value) if value else ""
        # YAML reads 1e-3 as text; people mean the number
        try:
            values[key] = float(parsed) if isinstance(parsed, str) else parsed
        except ValueError:
            values[key] = parsed
    return values


def _yaml(file: Path | None) -> dict[str, Any]:
    import yaml

    if file is None:
        return {}
    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} must hold keys and values, e.g. 'attention: tps'")
    return values


def _grid(text: str) -> tuple[int, int]:
    height, x, width = text.lower().partition("x")
    if not (x and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f"--grid {text!r} is not of the form HEIGHTxWIDTH, e.g. 7x7")
    return int(height), int(width)


def _save(figure: Any, file: Path) -> None:
    formats = (".png", ".svg", ".pdf")
    if file.suffix not in formats:
        raise unknown("picture format", file.suffix or str(file), formats)
    try:
        figure.savefig(file)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error
