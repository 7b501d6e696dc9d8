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

from tps_lab import plugins
from tps_lab.children import LARGE_PAGES
from tps_lab.cli._shared import app
from tps_lab.errors import InputError, nearest, shortened
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
    _open_output()
    for name, value in LARGE_PAGES.items():
        os.environ.setdefault(name, value)
    try:
        if empty := [given for given in sys.argv[1:] if re.fullmatch(r"(--[\w-]+=)?", given)]:
            raise InputError(f"{empty[0] or 'an argument'} is empty; was a variable not set?")
        # a pattern's tile may begin with a minus sign, and is no option
        arguments = [f" {given}" if re.match(r"-\d+[ /,]", given) else given for given in sys.argv[1:]]
        # not standalone: what a command raises comes out here, and an exit code is returned
        code = app(arguments, standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", 130)
    except typer.Exit as done:
        code = done.exit_code
    except OSError as error:
        _fail(_refused(error), 2)
    except Exception as error:
        # click's own usage errors: unknown options, commands and missing arguments
        if not hasattr(error, "format_message"):
            if plugins.is_theirs(error):
                _fail(f"a plugin fails: {plugins.told(error)}", 2)
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # a group's name alone: the message is its help
            print(error.format_message())
            sys.exit(0)
        _fail(_usage(error), 2)
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more, and complains
        if isinstance(error, BrokenPipeError):
            sys.exit(141)
        _fail(_refused(error), 2)
    sys.exit(code if isinstance(code, int) else 0)


def _open_output() -> None:
    """Output goes somewhere, and what a terminal cannot show is a question mark there, no end of the program."""
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _refused(error: OSError) -> str:
    """What the system would not do, to a file or to the output."""
    what = f"cannot use {shortened(str(error.filename))}" if error.filename else "cannot write the output"
    return f"{what}: {error.strerror or error}"


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
