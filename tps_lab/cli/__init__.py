"""The command line: parse, call, print. Everything it does is a function elsewhere.

Commands stand in the modules beside this one; `--help` lists them in the order of these imports.
"""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from typing import Any

import typer

from tps_lab.cli._shared import app
from tps_lab.errors import InputError, nearest
from tps_lab.text import short

# isort: off
# importing registers the commands
from tps_lab.cli import running, using, look, measuring, side_by_side  # noqa: F401
from tps_lab.cli import testing, reporting, data, throughput  # noqa: F401
# isort: on

__all__ = ["app", "main"]


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
    context = getattr(error, "ctx", None)
    said = _plainly(error.format_message().replace("Value error, ", "").rstrip("."))
    quoted = re.findall(r"'([^']*)'", said)  # the argument, what was given, what there is
    near = nearest(quoted[1], quoted[2:]) if "is not one of" in said else None
    hint = f"; did you mean '{near}'?" if near else ""
    return f"{said}{hint} (see: {getattr(context, 'command_path', 'tps-lab')} --help)"


# as libraries word the ends of a range, and as people do
_RANGES = {
    "greater than or equal to": "{} or more",
    "less than or equal to": "{} or less",
    "greater than": "more than {}",
    "less than": "less than {}",
}


def _plainly(said: str) -> str:
    """A number out of its range, in the words of all other errors: option, range, what was given."""
    found = re.search(r"for '(?:.* / )?(-*[\w-]+)': Input should be (.* than(?: or equal to)?) (\S+)", said)
    if found is None or found[2] not in _RANGES:
        return said
    option, wanted = found[1], _RANGES[found[2]].format(found[3])
    given = next((after for name, after in pairwise(sys.argv) if name == option), None)
    given = given or next((a.partition("=")[2] for a in sys.argv if a.startswith(f"{option}=")), None)
    return f"{option} must be {wanted}" + (f", got {given}" if given else "")


def _fail(message: str, code: int) -> None:
    print("tps-lab: " + short(message, 2000), file=sys.stderr)
    sys.exit(code)
