"""The studio as a page in the browser, for people who do not know Jupyter: Voilà, on this machine only."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tps_lab.errors import InputError

HOST = "127.0.0.1"  # never anything that others can reach


def serve(pattern: str, port: int | None = None, browser: bool = True) -> int:
    """Show the studio in the browser until Ctrl-C.

    Args:
        pattern: the tile to begin with.
        port: None takes 8866, or another if it is taken.
        browser: open it; otherwise its address is only printed (by the caller).

    Returns:
        The server's exit code.

    Raises:
        InputError: a package is missing, the pattern is none or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="tps-lab-studio-") as folder:
        command = server(Path(folder), pattern, port, browser)
        with subprocess.Popen(command) as process:
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.terminate()
                return process.wait()


def server(folder: Path, pattern: str, port: int | None, browser: bool) -> Sequence[str]:
    """The command that serves the studio; writes what it serves into `folder`."""
    from tps_lab.studio.widget import _begin

    for package in ("voila", "anywidget"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"the studio's page needs {package}; install it with: pip install 'tps_lab[studio]'")
    _begin(pattern, {})
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "studio",
                "metadata": {},
                "outputs": [],
                "source": f"import tps_lab.viz\n\ntps_lab.viz.studio({pattern!r})",
            }
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "title": "Mosaic studio",
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    file = folder / "Mosaic studio.ipynb"
    file.write_text(json.dumps(notebook), encoding="utf-8")
    options = [f"--Voila.ip={HOST}", f"--port={free_port(port)}", "--show_tracebacks=False"]
    return [sys.executable, "-m", "voila", str(file), *options, *([] if browser else ["--no-browser"])]


def free_port(wanted: int | None) -> int:
    """`wanted`, or a free one near 8866.

    Raises:
        InputError: the wanted one is taken.
    """
    for port in [wanted] if wanted else [*range(8866, 8876), 0]:
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise InputError(f"port {wanted} is taken; leave --port out and a free one is found")
