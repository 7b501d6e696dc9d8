"""The command line, called in this process: a fresh one spends seconds on imports before it does anything.

What it prints and how it exits are those of a process of its own. Tests of start-up, signals, terminals and plugins
start real ones.
"""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from tps_lab import cli


def here(*arguments, cwd: Path | str = ".", **environment) -> subprocess.CompletedProcess:
    """`tps-lab ARGUMENTS` in the folder `cwd`, with these variables of the environment besides."""
    words, out, err = ["tps-lab", *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, {name: str(value) for name, value in environment.items()}),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
