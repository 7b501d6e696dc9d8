"""Commands that compare what ran: report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tps_lab.cli._shared import Json, app, finish, print_json, read_yaml
from tps_lab.errors import InputError


@app.command(epilog="Example: tps-lab report runs reports/quickstart/runs --out reports/mine")
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUNS…", help="Run folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option(help="Where index.html, report.md and results.csv go.")],
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="A grid file: its title, question, baseline and the paper's numbers are shown.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Label or case that the others are compared with.")] = None,
    json_: Json = False,
) -> None:
    """Compare runs in one self-contained page, as Markdown, as CSV and as a LaTeX table."""
    from tps_lab import report as pages
    from tps_lab import runs
    from tps_lab.report import time_use

    found = runs.find(*folders)
    said = pages.said_about(read_yaml(about))
    said |= {k: v for k, v in {"title": title, "baseline": baseline}.items() if v is not None}
    said |= {"extra_figures": time_use.pictures(found)}
    try:
        page = pages.build(found, out, command=runs.environment()["command"], **said)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    finish(found, page, json_, by_status=False)


@app.command(epilog="Example: tps-lab compare reports/before/runs reports/after/runs --out reports/difference")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Runs, of one commit or machine.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Runs of another.")],
    out: Annotated[Path | None, typer.Option(help="Where a page, Markdown and CSV go, if wanted.")] = None,
    json_: Json = False,
) -> None:
    """Two result sets: what differs between runs of the same configurations, B minus A."""
    from tps_lab import runs
    from tps_lab.report import versus

    found = versus.versus(runs.find(first), runs.find(second), str(first), str(second))
    if out is not None:
        try:
            versus.write(found, out, runs.environment()["command"])
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    if json_:
        print_json(versus.facts(found))
    else:
        print(versus.text(found))
        if out is not None:
            print(out / "index.html")
