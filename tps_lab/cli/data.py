"""Commands about data: data show, data check, data make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tps_lab.cli._help import App
from tps_lab.cli._shared import Json, Quiet, Set, app, check_picture, count, pairs, print_json, save_picture, say
from tps_lab.errors import InputError

data = App(
    help="Show clips; check a collection of videos; render simulated ones.",
    epilog="Example: tps-lab data show order --save order.png",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data, name="data")


@data.command("show", epilog="tps-lab data show 'opposites(hidden=0.8)' --save clips.png")
def show(
    name: Annotated[str, typer.Argument(metavar="DATA", help="See: tps-lab list data.")],
    save: Annotated[Path, typer.Option(help="The picture to make (.png, .svg, .pdf).")],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="train, val or test.")] = "test",
    clips: Annotated[int, count("Clips to show, a row for each.", high=50)] = 6,
    frames: Annotated[int, count("Frames to show of each, evenly spaced.", high=50)] = 16,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Draw clips of a data set as a model gets them, as film strips.

    They are of many classes. What frame order can tell of them: tps-lab explain --data DATA.
    """
    from tps_lab import data as data_sets
    from tps_lab import viz

    check_picture(save)
    spec = data_sets.parse(name, **pairs(set_))
    opened = data_sets.ready(spec)
    save_picture(viz.film_strips(opened, split, clips, frames, title=str(spec)), save)
    sizes = {which: int(opened.size(which)) for which in data_sets.SPLITS}
    if json_:
        print_json(
            {"data": str(spec), "classes": list(opened.classes), "clips": sizes, "shape": list(opened.clip_shape)}
        )
        return
    parts = ", ".join(f"{size:,} {which}" for which, size in sizes.items())
    for note in opened.notes:
        say(note)
    print(f"classes: {len(opened.classes)}; clips: {parts}, each {'×'.join(map(str, opened.clip_shape))}")
    print(f"saved {save}")


@data.command("check", epilog="tps-lab data check videos/ssv2 --kind ssv2 --fix-list usable.txt")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The collection's folder; nothing in it is changed.")],
    kind: Annotated[
        str | None, typer.Option(help="ssv1, ssv2, diving48, kinetics400, …; detected if not given.")
    ] = None,
    frames: Annotated[int, count("Clips with fewer frames count as short.")] = 1,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every frame: slow, but finds damage inside files.")
    ] = False,
    fix_list: Annotated[
        Path | None, typer.Option(help="Write the usable clips to this new file, to be read with only=FILE.")
    ] = None,
    jobs: Annotated[int | None, count("Files at a time. [default: one per core]")] = None,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a collection of videos against the official lists.

    Compares the sizes of splits, and lists clips that are missing, unreadable, too short or not of the listed length,
    and clips per class.
    """
    from tps_lab import files, progress
    from tps_lab.data import check as checks
    from tps_lab.data._listing import write_usable

    if fix_list is not None:
        files.check_file(fix_list)
    shown = progress.for_this_terminal(quiet or json_)
    found = checks.check(folder, kind, frames, decode, jobs or 0, shown, **pairs(set_))
    facts = found.facts()
    if fix_list is not None:
        facts["fix_list"] = {"file": str(fix_list), "clips": write_usable(fix_list, found.usable())}
    if json_:
        print_json(facts)
        return
    say(checks.text(facts))
    if fix_list is not None:
        print(f"wrote {facts['fix_list']['clips']} usable clips to {fix_list}")


@data.command("make", epilog="tps-lab data make manipulation")
def make(
    name: Annotated[str, typer.Argument(metavar="DATA", help='A simulated data set, such as "manipulation(size=48)".')],
    jobs: Annotated[int | None, count("Processes at a time. [default: one per core]")] = None,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Render a simulated data set once, for trainings to read.

    Stop it at any time; the same command continues where it stopped.
    """
    from tps_lab import data as data_sets
    from tps_lab import progress
    from tps_lab.data import Simulated, _make

    spec = data_sets.parse(name, **pairs(set_))
    if not isinstance(spec, Simulated):
        simulated = ", ".join(k for k, cls in data_sets.data_sets().items() if issubclass(cls, Simulated))
        raise InputError(f"{spec.name} needs no rendering; simulated data sets are {simulated}")
    made = _make.make(spec, jobs or 0, progress.for_this_terminal(quiet or json_))
    if json_:
        print_json(made)
        return
    print(f"{made['scenes']:,} scenes, {made['bytes'] / 2**20:,.0f} MiB in {made['folder']}")
    dropped = ", ".join(f"{n} of {kind}" for kind, n in made["dropped"].items())
    print(f"failed episodes, dropped and played again: {dropped or 'none'}")
    print(f"content {made['content'][:16]}, with " + ", ".join(f"{k} {v}" for k, v in made["made_with"].items()))
