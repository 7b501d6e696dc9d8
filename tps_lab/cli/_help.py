"""What `--help` looks like: commands in groups, a line each, and options as people read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from textwrap import wrap
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

F = TypeVar("F", bound=Callable[..., Any])

# what `tps-lab --help` lists, in this order; a summary fits a line of 80 columns
GROUPS = {
    "Start here": ("quickstart", "list"),
    "Before any training": ("pattern", "studio", "explain", "certify", "cost"),
    "Train and test": ("data", "train", "evaluate", "ablate"),
    "Compare what ran": ("report", "compare"),
    "Use a trained model": ("predict", "export"),
}


class App(typer.Typer):
    """Typer with this help; a command's `epilog` holds examples, with commas between them."""

    def command(self, name: str | None = None, **more: Any) -> Callable[[F], F]:  # type: ignore[override]
        return super().command(name, cls=_Command, **more)


class _Command(TyperCommand):
    """No library's names of types, no break inside a word, and examples that can be copied."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            records = [p.get_help_record(ctx) for p in self.get_params(ctx) if p.param_type_name == kind]
            rows = [(_without_type(record[0], kind == "argument"), record[1]) for record in records if record]
            if rows:
                with formatter.section(title):
                    _two_columns(rows, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        examples = re.split(r", (?=tps-lab )", re.sub("^Examples?: ", "", self.epilog or ""))
        with formatter.section("Examples" if len(examples) > 1 else "Example"):
            for example in examples:
                formatter.write("  " + " \\\n    ".join(_lines(example, formatter.width - 6)) + "\n")


class Groups(TyperGroup):
    """Commands by what they are for."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # typer would end without a word
            raise typer.Abort from None
        except BrokenPipeError:  # whoever read the output has seen enough, as `head` has; a shell's code for that
            raise typer.Exit(141) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        names = self.list_commands(ctx)
        more = tuple(name for name in names if name not in chain(*GROUPS.values()))
        for title, several in (*GROUPS.items(), ("More", more)):
            if several:
                with formatter.section(title):
                    rows = [(name, self.commands[name].get_short_help_str(200)) for name in several]
                    _two_columns(rows, formatter, max(map(len, names)))


def _two_columns(rows: list[tuple[str, str]], formatter: Any, wide: int = 0) -> None:
    wide = max(wide, *(len(name) for name, _ in rows if len(name) <= 24), 4)
    for name, about in rows:
        first, *others = _lines(about, formatter.width - wide - 4) or [""]
        name = f"{name:<{wide}}  " if len(name) <= wide else f"{name}\n{'':<{wide + 4}}"
        formatter.write("\n".join([f"  {name}{first}".rstrip(), *(f"{'':<{wide + 4}}{line}" for line in others), ""]))


def _lines(text: str, width: int) -> list[str]:
    return wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _without_type(name: str, entirely: bool) -> str:
    """An option "--out <path>" as "--out PATH"; of an argument the name alone."""
    name, _, kind = name.partition(" <")
    kind = kind.removeprefix("list[").strip("[]>").upper()
    return name if entirely or not kind else f"{name} {'TEXT' if kind == 'STR' else kind}"
