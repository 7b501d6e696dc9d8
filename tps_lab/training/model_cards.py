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

_USE = """```python
import tps_lab

tps_lab.predict("clip.mp4", "{folder}").top(5)
```

`tps_lab.train.restore(tps_lab.runs.Run(Path("{folder}")))` gives the model itself. `model.safetensors` holds tensors
only: no code is run by loading it."""

_USE_OF_DRAWN = (
    "`tps_lab.train.restore(run)` gives the model; `model.safetensors` holds tensors only: loading runs no code."
)

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
    row, data, recipe, where = card["row"], card["data"], card["recipe"], card["environment"]
    model = card["model"]
    lines = [
        "---",
        "library_name: tps_lab",
        "license: other",
        "tags: [video-classification, temporal-patch-shift]",
        "---",
        "",
        f"# {markdown(model['name'])} on {markdown(data['text'])}",
        "",
        f"{code(model['backbone'])} with attention {code(model['attention'])}: clips of {model['frames']} "
        f"frame{'s' if model['frames'] > 1 else ''} of {model['size']}×{model['size']} pixels, "
        f"tubelets of {model['tubelet']}"
        + (f"; {model['params']:,} parameters" if model["params"] else "")
        + (f", {model['macs']:,} multiply-adds per clip" if model["macs"] else "")
        + f". Weights to begin with: {markdown(card['weights_from'])}.",
        "",
        "## Accuracy",
        "",
        *_accuracy(row),
        "",
        "## Data",
        "",
        f"{code(data['text'])}, {len(data['classes'] or ())} classes. {markdown(data['licence'])}",
        "",
        *(f"* {markdown(note)}" for note in data["notes"]),
        "",
        "## Recipe",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {markdown(key)} | {markdown(value)} |" for key, value in runs.flat(recipe).items()),
        f"| seed | {card['seed']} |",
        "",
        f"Trained by {code(without_network(where.get('command', '')))} at commit {where.get('commit')}, "
        f"{where.get('date', '')}, on {where.get('gpu') or where.get('cpu')}; torch {where.get('torch')}, "
        f"timm {where.get('timm')}. {row.get('train_seconds')} s of training.",
        "",
        "## Use",
        "",
        _USE.format(folder=folder) if data["is_video"] else _USE_OF_DRAWN,
        "",
    ]
    return "\n".join(lines)


def _accuracy(row: dict[str, Any]) -> list[str]:
    if row.get("top1_pct") is None:
        return [f"None: the run is {row['status']} ({row['reason']})."]
    found = [f"Top-1 {row['top1_pct']} % of {row['test_clips']} test clips (one view, one seed)."]
    if row.get("top5_pct") is not None:
        found[0] += f" Top-5 {row['top5_pct']} %."
    found[0] += f" Chance is {row['chance_pct']:.1f} %."
    if row.get("ceiling_pct") is not None:
        found.append(
            f"A model blind to the order of frames reaches at most {row['ceiling_pct']:.0f} %: {row['ceiling_reason']}."
        )
    if row["status"] != "done":
        found.append(f"The run is {row['status']}: {row['reason']}.")
    return ["\n\n".join(found)]
