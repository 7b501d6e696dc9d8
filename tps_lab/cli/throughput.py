"""The command `throughput`: the model or its reader, which is slower?"""

from __future__ import annotations

from typing import Annotated

import typer

from tps_lab.cli._shared import Json, Set, amount, app, count, print_json, run_values


@app.command(epilog="Example: tps-lab throughput --config pst_tiny_ssv2 --set data.path=FOLDER --model-speed 120")
def throughput(
    config: Annotated[str | None, typer.Option(help="A YAML file, or a recipe (tps-lab list recipes).")] = None,
    backbone: Annotated[str | None, typer.Option(help="See: tps-lab list backbones.")] = None,
    attention: Annotated[str | None, typer.Option(help="See: tps-lab list attention.")] = None,
    data: Annotated[str | None, typer.Option(help="See: tps-lab list data.")] = None,
    workers: Annotated[list[int] | None, count("Reading processes to try; several times.", 0, 512)] = None,
    model_speed: Annotated[
        float, amount("Clips per second of the model where it will be trained; 0 measures it here.")
    ] = 0.0,
    seconds: Annotated[float, amount("About how long each measurement takes.")] = 10.0,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Is the model or the reading of clips the limit, and how many reading processes would do?"""
    from tps_lab import data as data_sets
    from tps_lab.training.config import make
    from tps_lab.training.throughput import throughput as measured

    wanted = make(run_values(config, backbone, attention, None, data, None, set_))
    found = measured(wanted, data_sets.parse(wanted.data).opened(), seconds, tuple(workers or ()), model_speed)
    print_json(found.plain()) if json_ else print(found.text())
