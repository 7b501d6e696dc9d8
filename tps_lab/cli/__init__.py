"""The command line: parse, call, print. Everything it does is a function elsewhere.

Commands stand in the modules beside this one; `_help.GROUPS` says in which order `--help` lists them.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import pairwise
from typing import Any

import typer

from tps_lab.children import LARGE_PAGES
from tps_lab.cli._shared import app
from tps_lab.errors import InputError, nearest
from tps_lab.lazy import end_quickly
from tps_lab.text import short

# isort: off
# importing registers the commands
from tps_lab.cli import running, using, look, measuring  # noqa: F401
from tps_lab.cli import reporting, data  # noqa: F401
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line: exit 0 done, 1 some runs failed, 2 bad input, 130 interrupted."""
    end_quickly()
    for name, value in LARGE_PAGES.items():
        os.environ.setdefault(name, value)
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
        if type(error).__name__ == "NoArgsIsHelpError":  # a group's name alone: the message is its help
            print(error.format_message())
            sys.exit(0)
        _fail(_usage(error), 2)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    if number := re.search(r"for '(?:.* / )?(-*[\w-]+)': Input should be a valid (integer|number)", said):
        said = f"{number[1]} must be a {'whole ' * (number[2] == 'integer')}number{_given(number[1])}"
    quoted = re.findall(r"'([^']*)'", said)  # the argument, what was given, what there is
    near = nearest(quoted[1], quoted[2:]) if "is not one of" in said else None
    hint = f"; did you mean '{near}'?" if near else ""
    return f"{said}{hint} (see: {getattr(context, 'command_path', 'tps-lab')} --help)"


def _given(option: str) -> str:
    """What stands after an option on the command line."""
    found = [after for name, after in pairwise(sys.argv) if name == option]
    found += [given.partition("=")[2] for given in sys.argv if given.startswith(f"{option}=")]
    return f", got {found[0]}" if found else ""


def _fail(message: str, code: int) -> None:
    print("tps-lab: " + short(message, 2000), file=sys.stderr)
    sys.exit(code)
