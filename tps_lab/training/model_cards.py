"""A model card beside every checkpoint: what it was trained on and how, what it scores, whose the data is.

README.md for people and model hubs, card.json for programs. Written from the run's own folder, so that
it can be written again; nothing in it is typed by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tps_lab import files
from tps_lab.results import runs
from tps_lab.text import code, markdown, without_network

_OF_MODEL = ("name", "backbone", "attention", "frames", "size", "tubelet", "params", "macs")


def write(folder: Path, row: dict[str, Any], config: dict[str, Any], licence: str, is_video: bool) -> None:
    """Write README.md and card.json into a run's folder.

    Args:
        row: of the run; it need not be on disk yet.
        config: as in config.yaml.
        licence: whose the data is, and on which terms.
        is_video: whether its clips are from videos, so that the model can be asked about one.

    Raises:
        OSError: they cannot be written.
    """
    environment = runs.Run(folder).environment
    content = {
        "model": {key: row.get(key) for key in _OF_MODEL},
        "weights_from": config.get("weights") or "random",
        "data": {
            "text": config.get("data"),
            "licence": licence,
            "is_video": is_video,
            "classes": row.get("classes"),
            "notes": row.get("data_notes", []),
        },
        "recipe": config.get("recipe", {}),
        "seed": config.get("seed"),
        "row": row,
        "environment": environment,
    }  # fmt: skip
    files.write_whole(folder / "card.json", json.dumps(content, indent=2))
    files.write_whole(folder / "README.md", text(content, folder.name))


def text(card: dict[str, Any], folder: str) -> str:
    """The card as Markdown, with the head that model hubs read."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tps_lab.training"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"md": markdown, "code": code, "without_network": without_network}
    template = environment.get_template("model_card.md.j2")
    return template.render(card, folder=folder, settings=runs.flat(card["recipe"]))
