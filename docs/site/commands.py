"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import re
from typing import Any

from made import Made


def make(made: Made) -> None:
    import typer

    import tps_lab.cli  # noqa: F401
    from tps_lab.cli._shared import app

    program = typer.main.get_command(app)
    parts = [
        "# Command line",
        "",
        f"This page is made from the commands. There are {len(program.commands)}; each has `--help`. "
        "Exit codes: 0 done, 1 some runs failed (the rest is kept), 2 bad input, 130 interrupted.",
        "",
        *_options(program),
    ]
    for name, command in sorted(program.commands.items()):
        inside = getattr(command, "commands", {"": command})
        for second, one in inside.items():
            parts += [f"## tps-lab {name} {second}".rstrip(), "", *_told(one, f"{name} {second}".strip())]
    made.page("reference/commands.md", "\n".join(parts) + "\n")


def _told(command: Any, name: str) -> list[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["tps-lab", name, *(_argument(p) for p in arguments), "[OPTIONS]"])
    about, _, example = (command.help or "").partition(" Example")
    examples = f"Example{example}" if example else command.epilog or ""
    parts = ["```", usage, "```", "", _escaped(about), ""]
    lines = re.split(r",\s+(?=tps-lab |torchrun )", re.sub(r"^Examples?:\s", "", examples).strip())
    if examples:
        parts += ["Examples:" if len(lines) > 1 else "Example:", "", "```sh", *lines, "```", ""]
    return [*parts, *_options(command)]


def _argument(parameter: Any) -> str:
    shown = parameter.metavar or parameter.name.upper()
    return shown if parameter.required else f"[{shown}]"


def _options(command: Any) -> list[str]:
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    if not shown:
        return []
    rows = [f"| {_name(p)} | {_escaped(p.help or '')} | {_default(p)} |" for p in shown]
    return ["| | | default |", "|---|---|---|", *rows, ""]


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`".replace("|", "\\|")
    return ", ".join(f"`{one}`" for one in [*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "must be given"
    if value is None or value is False or callable(value) or value in ((), []):
        return ""
    return f"`{value}`"


def _escaped(text: str) -> str:
    words = " ".join(text.split())
    return words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")
