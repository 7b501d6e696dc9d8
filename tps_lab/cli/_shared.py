"""What the commands share: the application, option types, reading what was given and printing what came out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tps_lab import files, plugins
from tps_lab.cli._help import App, Groups
from tps_lab.errors import InputError, shortened, unknown
from tps_lab.text import printable, terminal_width, wrapped

if TYPE_CHECKING:
    from tps_lab.results.runs import LeftOut

app = App(
    cls=Groups,
    name="tps-lab",
    help="What does each way of mixing space and time buy, and what does it cost?",
    epilog="Begin with: tps-lab quickstart",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key, e.g. recipe.lr=0.001; all: tps-lab list settings."),
]


def count(help: str, low: int = 1, high: int = 10_000) -> Any:
    """An option that is a whole number in a range."""
    return _number(help, low, high, "N")


def amount(help: str) -> Any:
    """An option that is a number from 0 to a million, or several; nan is in none."""
    return _number(help, 0, 1e6, "X")


def _number(help: str, low: float, high: float, metavar: str) -> Any:
    def checked(param: typer.CallbackParam, given: Any) -> Any:
        for value in given if isinstance(given, (list, tuple)) else [] if given is None else [given]:
            if not low <= value <= high:
                wanted = f"{high:,.15g} or less" if value > high else f"{low:,.15g} or more"
                raise InputError(f"{param.opts[0]} must be {wanted}, got {value}")
        return given

    return typer.Option(callback=checked, help=help, metavar=metavar)


Timing = Annotated[float, amount("About how long each of three rounds that time all models may take.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files in --out even if no report wrote them.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.callback()
def _plugins(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A Python file with your own variants, patterns, data sets or metrics."),
    ] = None,
) -> None:
    for file in plugin or []:
        plugins.read(file)


def finish(
    finished: list[Any], page: Path, as_json: bool, by_status: bool = True, left_out: Sequence[LeftOut] = ()
) -> None:
    if as_json:
        more = {"left_out": [one.plain() for one in left_out]} if left_out else {}
        print_json({"report": str(page), "rows": [run.row for run in finished], **more})
    else:
        print_table(finished)
        say(page)
    if by_status:
        exit_by_status(finished)


def exit_if(left_out: Sequence[LeftOut]) -> None:
    """Name the runs that were left out, and exit with 1 if there are any."""
    for one in left_out:
        say(f"left out: {one}", err=True)
    if left_out:
        raise typer.Exit(1)


def say(what: object, err: bool = False) -> None:
    """Print text as text: what a run's label or a folder's name would tell the terminal to do is left out.

    Lines that are longer than the terminal are broken between words.
    """
    print(wrapped(printable(what, lines=True), terminal_width()), file=sys.stderr if err else sys.stdout)


def say_pattern(pattern: Any, facts: dict[str, Any]) -> None:
    """A pattern's tile and mosaic in the colours of its pictures, where the terminal has colours."""
    from tps_lab.cli.listing import pattern_text

    most = terminal_width()
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        say(pattern_text(pattern, facts, most))
        return
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    from tps_lab.viz.mosaics import ink_on, offset_colour

    largest = max(8, *map(abs, pattern.offsets))  # one colour for one offset, as in pictures

    def paint(offset: int, word: str) -> str:
        ground = "#" + "".join(f"{round(255 * part):02x}" for part in offset_colour(offset, largest))
        return Style(color=ink_on(offset, largest), bgcolor=ground).render(word)

    lines = pattern_text(pattern, facts, most, paint).splitlines()
    text = Text.from_ansi("\n".join(line if "\x1b" in line else wrapped(line, most) for line in lines))
    Console(highlight=False).print(text, soft_wrap=True)


def exit_by_status(finished: list[Any]) -> None:
    statuses = {run.row["status"] for run in finished}
    for run in finished:
        if run.row["status"] == "failed":
            say(f"failed: {run.row.get('label')}, seed {run.row.get('seed')}: {run.row.get('reason')}", err=True)
    if "interrupted" in statuses:
        raise typer.Exit(130)
    if "failed" in statuses:
        raise typer.Exit(1)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(finished: list[Any]) -> None:
    from tps_lab.report.tables import text_table

    say(text_table(finished))


def pairs(given: list[str] | None, option: str = "--set") -> dict[str, str]:
    """KEY=VALUE, the values as text; text in quotes is the text inside them."""
    from tps_lab.specs import unquoted

    values = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{option} {shortened(pair)!r} is not of the form KEY=VALUE")
        values[key.strip()] = unquoted(value.strip() if value.strip()[:1] in ("'", '"') else value)
    return values


def settings(given: list[str] | None) -> dict[str, Any]:
    """KEY=VALUE, each value as the type of its key has it."""
    from tps_lab.training.config import typed

    return {key: typed(key, text) for key, text in pairs(given).items()}


def run_values(
    config: str | Path | None, backbone: str | None, attention: str | None, pattern: str | None, data: str | None,
    frames: int | None, changed: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    """A run's keys from a file, from options and from --set, the later ones over the earlier."""
    from tps_lab import data as data_sets
    from tps_lab import recipes
    from tps_lab.attention import parse
    from tps_lab.training.config import RunConfig, over

    given = {"backbone": backbone, "attention": attention, "data": data}
    values = {} if config is None else recipes.read(config)
    said = settings(changed)
    if "recipe.steps" in said:  # whoever says steps does not mean the file's epochs
        said = {"recipe.epochs": None, "recipe.warmup_epochs": None} | said
    # --pattern and --frames change these, whatever says them
    wholes: dict[str, Any] = {key: said.pop(key) for key in ("attention", "data") if key in said}
    values = over(over(values, {k: v for k, v in given.items() if v is not None}), wholes)
    if pattern is not None:
        whole = parse(values.get("attention", RunConfig().attention), pattern=pattern)
        values = over(values, {"attention": str(whole)})
    if frames is not None:
        values = over(values, {"data": str(data_sets.parse(values.get("data", RunConfig().data), frames=frames))})
    return over(values, said)


def check_picture(file: Path, *also: str) -> None:
    """Refuse, before anything is drawn, a file that no picture could be written into.

    Args:
        also: endings that this command takes for something else than a picture.
    """
    formats = (".png", ".svg", ".pdf", *also)
    if file.name in formats:
        raise InputError(f"{file} is an ending without a name: give, for example, picture{file.name}")
    if file.suffix not in formats:
        raise unknown("picture format", file.suffix or file.name, formats)
    files.check_file(file)


def save_picture(figure: Any, file: Path) -> None:
    check_picture(file)
    with files.writing(file), files.whole(file) as half:
        figure.savefig(half)
