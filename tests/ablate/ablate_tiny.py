"""Grids that run in a second or two."""

from pathlib import Path

import yaml

from tps_lab.ablate import executors, scheduler
from tps_lab.ablate.grid import load

TINY = {
    "data": "opposites(train=48, val=12, test=24, frames=5, size=16)",
    "recipe.steps": 6,
    "recipe.batch": 4,
    "recipe.validate_every": 2,
}
COST = {"params": 1, "macs": 1, "missing": {}}


def write(folder: Path, **changes) -> Path:
    content = {
        "title": "Tiny",
        "question": "Does it run?",
        "base": TINY,
        "vary": {"product": {"attention": ["spatial", "tps(pattern=A)"]}},
        "scales": {"small": {"seeds": 2}},
    }
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return file


def run(file, out, executor=None, costs=COST, **settings):
    grid = load(file, settings=settings.pop("set_", None))
    executor = executor or executors.Inline()
    chosen = scheduler.Settings(
        **{"timeout_seconds": grid.timeout_seconds, "checkpoint_seconds": 0} | settings,
        costs=dict.fromkeys(grid.cells, costs),
    )
    try:
        return scheduler.run(grid, grid.cells, out, executor, chosen)
    finally:
        executor.close()


VARIABLE = ("train_seconds", "copied_from")  # of a row: when, not what


def figures(states):
    return {s.cell.id: {k: v for k, v in (s.row or {}).items() if k not in VARIABLE} for s in states}
