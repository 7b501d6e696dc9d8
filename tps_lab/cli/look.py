"""Commands that look at what there is: list, pattern, explain, certify, studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tps_lab import files
from tps_lab.cli._shared import (
    Json,
    Set,
    app,
    check_picture,
    count,
    print_json,
    run_values,
    save_picture,
    say,
    say_pattern,
)
from tps_lab.errors import InputError, shortened
from tps_lab.patterns import ShiftPattern


@app.command("list", epilog="tps-lab list attention")
def list_(
    what: Annotated[
        Literal["patterns", "attention", "backbones", "data", "ablations", "recipes", "settings", "executors", "all"],
        typer.Argument(
            metavar="WHAT", help="patterns, attention, backbones, data, ablations, recipes, settings or executors."
        ),
    ] = "all",
    json_: Json = False,
) -> None:
    """List what you can choose: patterns, variants, backbones, …

    Without WHAT, a line for each; with it, their options too.
    """
    from tps_lab.cli import listing

    found = {kind: listing.entries(kind) for kind in (listing.KINDS if what == "all" else (what,))}
    if json_:
        print_json(found if what == "all" else found[what])
    else:
        say(listing.text(found, short=what == "all"))


@app.command(epilog='tps-lab pattern C --grid 7x7, tps-lab pattern "0 1 / -1 0" --save mosaic.png')
def pattern(
    tile: Annotated[str, typer.Argument(help="A name (see: tps-lab list patterns) or a tile's text.")],
    grid: Annotated[str, typer.Option(help="Patches, height x width.")] = "7x7",
    frames: Annotated[int, count("Frames of the clip.")] = 16,
    border: Annotated[str, typer.Option(help="circular, zero or edge.")] = "circular",
    save: Annotated[Path | None, typer.Option(help="Save the mosaic as a picture (.png, .svg, .pdf).")] = None,
    json_: Json = False,
) -> None:
    """Show a shift pattern: its tile, what it mixes, its reach."""
    from tps_lab.cli import listing

    chosen = ShiftPattern.parse(tile)
    height, width = _grid(grid)
    facts = listing.pattern_facts(chosen, height, width, frames, border)
    if save is not None:
        from tps_lab import viz

        save_picture(viz.mosaic(chosen, grid=(height, width)).figure, save)
    if json_:
        print_json(facts)
    else:
        say_pattern(chosen, facts)
        if save is not None:
            print(f"saved {save}")


def _grid(text: str) -> tuple[int, int]:
    from tps_lab.specs import whole

    height, _, width = text.lower().partition("x")
    sides = whole(height), whole(width)
    if not all(side is not None and 1 <= side <= 1_000 for side in sides):
        raise InputError(f"--grid {shortened(text)!r} is not of the form HEIGHTxWIDTH, 1 to 1,000 each, e.g. 7x7")
    return sides[0] or 1, sides[1] or 1


@app.command(epilog="tps-lab explain --attention tps --pattern A --data 'order(gap=4)'")
def explain(
    config: Annotated[
        str | None, typer.Argument(help="A YAML file with any of a run's keys, or a recipe (tps-lab list recipes).")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="See: tps-lab list backbones.")] = None,
    attention: Annotated[str | None, typer.Option(help="See: tps-lab list attention.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Shift pattern, for a patch-shift variant.")] = None,
    frames: Annotated[int | None, count("Frames per clip.")] = None,
    depth: Annotated[int | None, count("Number of blocks. [default: the backbone's]", high=1_000)] = None,
    data: Annotated[str | None, typer.Option(help="See: tps-lab list data.")] = None,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """What a model cannot learn from its data, and why."""
    from tps_lab.explain import explain as explained
    from tps_lab.training.config import make

    found = explained(make(run_values(config, backbone, attention, pattern, data, frames, set_)), depth)
    if json_:
        print_json(found.facts())
    else:
        say(found.text())


@app.command(epilog="tps-lab certify transformers:vivit --save vivit.png")
def certify(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.py:FACTORY|RUN",
            help="A known model (--known), an attention variant, timm:ANY (frame by frame), a run's folder, or a "
            "function in a Python file that returns a model. The file's code is run: name only files you trust.",
        ),
    ] = "",
    known: Annotated[bool, typer.Option("--known", help="List the models that are known by name.")] = False,
    shape: Annotated[
        str | None, typer.Option(help="Shape of one clip, e.g. 3x8x32x32; for a model from a file.")
    ] = None,
    axes: Annotated[str | None, typer.Option(help="Order of axes: CTHW, TCHW, …; guessed where that is safe.")] = None,
    values: Annotated[
        str | None, typer.Option(help="Range of pixel values, e.g. 0,1. [default: normally distributed]")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Also give its ceiling on a data set (tps-lab list data).")] = None,
    save: Annotated[Path | None, typer.Option(help="Save the picture (.png, .svg, .pdf).")] = None,
    badge: Annotated[Path | None, typer.Option(help="Save a badge (.svg).")] = None,
    json_: Json = False,
) -> None:
    """Can a video model see the order of frames? No training needed.

    The answer is about the architecture, found with random weights. A run folder's trained model is also tried on
    its test clips. Give a clip's shape and axes without the batch.
    """
    from tps_lab import viz
    from tps_lab.explain import subjects

    if known:
        print_json(subjects.listed()) if json_ else say(subjects.text())
        return
    if not model:
        raise InputError("name a model; tps-lab certify --known lists some")
    if badge is not None:
        if badge.suffix != ".svg":
            raise InputError(f"a badge is an .svg file, not {badge}")
        files.check_file(badge)
    if save is not None:
        check_picture(save)
    found = subjects.certify(model, _numbers(shape, "3x8x32x32", int), axes, _interval(values), data)
    if save is not None:
        save_picture(viz.certificate(found).figure, save)
    if badge is not None:
        with files.writing(badge):
            files.write_whole(badge, viz.badge(found))
    if json_:
        print_json(found.facts())
    else:
        say(found.text())


def _numbers(text: str | None, example: str, kind: type) -> tuple[Any, ...] | None:
    between = "x" if "x" in example else ","
    try:
        return None if text is None else tuple(kind(part) for part in text.lower().split(between))
    except ValueError:
        raise InputError(f"{text!r} is not of the form {example}") from None


def _interval(text: str | None) -> tuple[float, float] | None:
    from tps_lab.explain.bench import is_interval

    found = _numbers(text, "0,1", float)
    if found is not None and not is_interval(found):
        raise InputError(f"--values {text!r} is not a finite interval such as 0,1")
    return found


@app.command(epilog='tps-lab studio, tps-lab studio B, tps-lab studio C "0 1 / -1 2"')
def studio(
    pattern: Annotated[str, typer.Argument(help="A tile to begin with: a name, or rows like '0 1 / -1 0'.")] = "C",
    beside: Annotated[str, typer.Argument(help="The second tile, shown beside it.")] = "A",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Draw shift patterns in the browser and watch what they do.

    Opens one page that needs no server.
    """
    import webbrowser

    from tps_lab.viz.studio_page import address

    found = address(pattern, beside)
    if browser and not webbrowser.open(found):
        print("no browser was found here; open this address in one:")
    print(found)
