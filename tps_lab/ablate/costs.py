"""What cells cost: measured once for all that cost the same, in turn, before any of them runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tps_lab import files
from tps_lab.ablate.grid import Cell
from tps_lab.results import runs, schema
from tps_lab.workers import opened


def cost_key(cell: Cell) -> tuple[Any, ...]:
    """Cells with the same key cost the same: model, clips and batch are alike."""
    config = cell.config
    shape = opened(config.data).clip_shape, len(opened(config.data).classes)
    return (
        *(config.attention, config.backbone, config.tubelet, config.temporal_position, *shape),
        *(config.recipe.batch, config.recipe.precision),
    )


def measured(
    cells: Sequence[Cell], out: Path, seconds: float = 10.0, say: Callable[[str], None] = lambda text: None
) -> dict[Cell, dict[str, Any]]:
    """The cost columns of every cell's row, from this machine; kept in `out` for the next time.

    Args:
        seconds: about how long each of the three timings may take.
    """
    from tps_lab import measure
    from tps_lab.training.train import build

    by_key: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cost_key(cell), []).append(cell)
    found = {key: cost for key in by_key if (cost := _read(_file(out, key)))}
    # models that are timed in turn get clips of one shape and batches of one size
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for key, (cell, *_) in by_key.items():
        if key not in found:
            groups.setdefault((opened(cell.config.data).clip_shape, cell.config.recipe.batch), []).append(key)
    for (shape, batch), keys in groups.items():
        say(f"measuring what {len(keys)} models cost, in turn …")
        models = {
            str(key): build(by_key[key][0].config, opened(by_key[key][0].config.data)).to(measure.best_device())
            for key in keys
        }
        for key, cost in zip(keys, measure.costs(models, shape, batch, seconds).values(), strict=True):
            found[key] = cost
            with suppress(OSError):
                files.write_whole(files.folder(out / ".costs") / _file(out, key).name, json.dumps(cost))
    return {cell: found[key] for key, group in by_key.items() for cell in group}


def _file(out: Path, key: tuple[Any, ...]) -> Path:
    import torch

    where = torch.cuda.get_device_name() if torch.cuda.is_available() else runs.environment()["cpu"]
    name = hashlib.sha256(repr((key, where)).encode()).hexdigest()[:12]
    return out / ".costs" / f"{name}.json"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return schema.checked(files.read_json(file), "planned", file.name)
    except (OSError, files.Damaged):
        return None
