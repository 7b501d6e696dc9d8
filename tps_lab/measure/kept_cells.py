"""Cells of a published table, each kept as it comes: a stopped command goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def kept_cells(
    file: Path,
    cells: Iterable[Mapping[str, Any]],
    cell: Callable[..., Row],
    fresh_without: str | None = None,
    jobs: int = 1,
) -> Iterator[Row]:
    """The row of every cell, in order; those that `file` (JSON lines) does not hold yet are computed and added to it.

    A cell that failed is a row, too, but the next call tries it again.

    Args:
        cells: the arguments of `cell`, plain values.
        cell: a module's function from arguments to a row.
        fresh_without: compute in a fresh process each; the argument that a failed cell's row leaves out.
        jobs: how many fresh processes at once.
    """
    known = _read(file)
    wanted = list(cells)
    todo = list({_key(given): given for given in wanted if _key(given) not in known}.values())
    pool = ThreadPoolExecutor(jobs)
    try:
        coming: Iterator[Row] = (
            (cell(**given) for given in todo)
            if fresh_without is None
            else pool.map(lambda given: _in_fresh_process(cell, given, fresh_without), todo)
        )
        for given in wanted:
            if _key(given) not in known:
                known[_key(given)] = row = next(coming)
                with file.open("a") as log:
                    log.write(json.dumps({"cell": given, "row": row}) + "\n")
            yield known[_key(given)]
    finally:
        pool.shutdown(cancel_futures=True)


def _read(file: Path) -> dict[str, Row]:
    """What is kept, without cells that failed, and without a last line that a kill cut short."""
    known: dict[str, Row] = {}
    text = file.read_text() if file.exists() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not str(entry["row"].get("status", "")).startswith("failed"):
            known[_key(entry["cell"])] = entry["row"]
    if text and not text.endswith("\n"):
        file.write_text(text + "\n")
    return known


def _key(cell: Mapping[str, Any]) -> str:
    return json.dumps(cell, sort_keys=True)


def _in_fresh_process(cell: Callable[..., Row], given: Mapping[str, Any], without: str) -> Row:
    code = f"import json, sys; from {cell.__module__} import {cell.__name__} as cell; "
    code += "print(json.dumps(cell(**json.load(sys.stdin))))"
    run = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(run, input=json.dumps(given), capture_output=True, text=True)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {key: value for key, value in given.items() if key != without} | {"status": f"failed: {last}"}
