"""What the pages of `python reports/<page>/make.py` share: cells that are kept, a page from its template, a command.

A stopped command goes on where it was: each cell is kept as it comes. Run as a script, this file computes one
cell of one page in a process of its own: `python reports/study.py FILE FUNCTION`, the arguments as JSON on stdin.
"""

from __future__ import annotations

import csv
import importlib.util
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from tps_lab import children
from tps_lab.errors import InputError

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
        cell: a file's function from arguments to a row.
        fresh_without: compute in a fresh process each; the argument that a failed cell's row leaves out.
        jobs: how many fresh processes at once.
    """
    known = _read(_in_a_folder(file))
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


def kept(file: Path) -> list[dict[str, Any]]:
    """The cells of which `file` holds a row that did not fail."""
    return [json.loads(key) for key in _read(file)]


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
    run = children.python("-W", "ignore", __file__, Path(inspect.getfile(cell)).resolve(), cell.__name__)
    done = subprocess.run(run, input=json.dumps(given), capture_output=True, text=True, env=children.environment())
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {key: value for key, value in given.items() if key != without} | {"status": f"failed: {last}"}


def tested(folder: Path) -> list[Any]:
    """The finished runs that a published page keeps, without the trials of its tuning, which saw no test clip."""
    from tps_lab.results.runs import find

    return [run for run in find(folder) if run.row["status"] == "done" and run.row.get("top1_pct") is not None]


def load(page: str | Path) -> ModuleType:
    """The module that makes a page: the name of its folder, or a file."""
    file = Path(__file__).parent / page / "make.py" if isinstance(page, str) else page
    name = f"study_{file.parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_page(template: Path, out: Path, **values: Any) -> Path:
    """`out/report.md` from a jinja2 template and its values."""
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    page = _in_a_folder(out / "report.md")
    page.write_text(environment.from_string(template.read_text()).render(values))
    return page


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """All rows; without columns those that any row has."""
    with _in_a_folder(file).open("w", newline="") as opened:
        writer = csv.DictWriter(opened, columns or list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)


def _in_a_folder(file: Path) -> Path:
    """The file, in a folder that is there by now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def advancing(what: str, total: int, quiet: bool) -> Any:
    """A progress bar where there is a terminal; inside it, a function of (done, news)."""
    from tps_lab import progress

    return progress.for_this_terminal(quiet).run(what, total)


def command(main: Callable[..., Any]) -> None:
    """Run a function as a command; bad input is one line and exit code 2."""
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except (InputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent)]
    function = getattr(load(Path(sys.argv[1])), sys.argv[2])
    print(json.dumps(function(**json.load(sys.stdin))))
