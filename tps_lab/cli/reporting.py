"""Commands that compare what ran: report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tps_lab import files
from tps_lab.cli._shared import Force, Json, app, exit_if, finish, print_json, say
from tps_lab.errors import InputError


@app.command(
    epilog="tps-lab report reports/quickstart/runs --out reports/mine, "
    "tps-lab report runs/ablations --grids ablations --out reports/ablations"
)
def report(
    out: Annotated[Path, typer.Option(help="Where index.html, report.md and results.csv go.")],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUNS",
            help="Run folders, or folders that hold them. With --grids and no folder, only the overview is rewritten.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    about: Annotated[
        Path | None,
        typer.Option(
            help="A grid file: show only its cells, with its question, names, baseline and the paper's numbers."
        ),
    ] = None,
    grids: Annotated[
        Path | None, typer.Option(help="A folder of grid files: a report on each in OUT/GRID, and an overview.")
    ] = None,
    scale: Annotated[str, typer.Option(help="Scale of the grids: small or paper.")] = "small",
    baseline: Annotated[str | None, typer.Option(help="Label or case that the others are compared with.")] = None,
    fewer: Annotated[bool, typer.Option("--fewer", help="Also replace pages that show more runs.")] = False,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Compare runs on one page; also as Markdown, CSV and LaTeX.

    The page needs no network and no other file.
    """
    from tps_lab import report as pages
    from tps_lab.report import grids as reports
    from tps_lab.report import render
    from tps_lab.results import runs

    if grids is not None and (about or title or baseline):
        raise InputError("--grids takes title, question and baseline from the grid files, not from other options")
    if not folders and grids is None:
        raise InputError("name run folders, or with --grids a folder of grid files")
    folders = folders or []
    render.check(out, force)
    command = runs.command()
    left_out: list[runs.LeftOut] = []
    if grids is not None:
        with files.writing(out, within=True):
            overview = reports.build_all(folders, grids, out, scale, command, left_out.append, force, fewer)
        facts = overview.facts() | {"left_out": [one.plain() for one in left_out]}
        print_json(facts) if json_ else say(overview.text())
        exit_if(left_out)
        return
    grid = reports.chosen(folders, about, scale, left_out.append)
    found = list(grid.runs) if grid else runs.find(*folders, on_damaged=left_out.append)
    said: dict[str, Any] = {k: v for k, v in {"title": title, "baseline": baseline}.items() if v is not None}
    said |= {"command": command, "left_out": tuple(map(str, left_out)), "force": force}
    with files.writing(out, within=True):
        page = reports.build(grid, out, fewer=fewer, **said) if grid else pages.build(found, out, **said)
    finish(found, page, json_, by_status=False, left_out=left_out)
    exit_if(left_out)


@app.command(epilog="tps-lab compare reports/before/runs reports/after/runs --out reports/difference")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Runs from one commit or machine.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Runs from another commit or machine.")],
    out: Annotated[Path | None, typer.Option(help="Also write a page, Markdown and CSV to this folder.")] = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """What changed between two sets of runs: B minus A.

    Runs of the same configuration are compared with each other.
    """
    from tps_lab.report import render, versus
    from tps_lab.results import runs

    if out is not None:
        render.check(out, force)
    left_out: list[runs.LeftOut] = []
    a, b = (runs.find(folder, on_damaged=left_out.append) for folder in (first, second))
    found = versus.versus(a, b, str(first), str(second))
    if out is not None:
        with files.writing(out, within=True):
            versus.write(found, out, runs.command(), tuple(map(str, left_out)))
    if json_:
        print_json(versus.facts(found) | {"left_out": [one.plain() for one in left_out]})
    else:
        say(versus.text(found))
        if out is not None:
            say(out / "index.html")
    exit_if(left_out)
