"""What the commands share: the application, option types, reading what was given and printing what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

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
Timing = Annotated[float, typer.Option(min=0, help="About how long each of the three timings of all models may take.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.callback()
def _plugins(
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file that defines variants or data sets of your own.")
    ] = None,
) -> None:
    for file in plugin or []:
        plugins.load(file)


def finish(finished: list[Any], page: Path, as_json: bool, by_status: bool = True) -> None:
    if as_json:
        print_json({"report": str(page), "rows": [run.row for run in finished]})
    else:
        print_table(finished)
        print(page)
    if by_status:
        exit_by_status(finished)


def exit_by_status(finished: list[Any]) -> None:
    statuses = {run.row["status"] for run in finished}
    if "interrupted" in statuses:
        raise typer.Exit(130)
    if "failed" in statuses:
        raise typer.Exit(1)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(finished: list[Any]) -> None:
    from rich.console import Console

    from tps_lab.report.tables import text_table

    console = Console()
    console = console if console.is_terminal else Console(width=110)
    console.print(text_table(finished))


def print_rich(what: Any) -> None:
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=140)).print(what)


def pairs(given: list[str] | None) -> dict[str, Any]:
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


def run_values(
    config: str | Path | None, backbone: str | None, attention: str | None, pattern: str | None, data: str | None,
    frames: int | None, changed: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    """A run's keys from a file, from options and from --set, the later ones over the earlier."""
    from tps_lab import data as data_sets
    from tps_lab import recipes
    from tps_lab.attention import parse
    from tps_lab.config import RunConfig

    given = {"backbone": backbone, "attention": attention, "data": data}
    values = {} if config is None else recipes.read(config)
    settings = pairs(changed)
    if "recipe.steps" in settings:  # whoever says steps does not mean the file's epochs
        settings = {"recipe.epochs": None, "recipe.warmup_epochs": None} | settings
    values |= {k: v for k, v in given.items() if v is not None} | settings
    if pattern is not None:
        values["attention"] = str(parse(values.get("attention", RunConfig().attention), pattern=pattern))
    if frames is not None:
        values["data"] = str(data_sets.parse(values.get("data", RunConfig().data), frames=frames))
    return values


def save_picture(figure: Any, file: Path) -> None:
    formats = (".png", ".svg", ".pdf")
    if file.suffix not in formats:
        raise unknown("picture format", file.suffix or str(file), formats)
    try:
        figure.savefig(file)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error
