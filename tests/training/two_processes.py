"""What the processes of a two-process test run; started by `torchrun`."""

import json
import sys
from pathlib import Path

import torch
from stopping import StopAt, Stopped

from tps_lab.training.checkpoints import Checkpoints
from tps_lab.training.config import make
from tps_lab.training.train import train

# dropout and cutmix, so that every process's own random numbers matter; accumulation and the average too
CONFIG = {
    "data": "opposites(train=48, val=12, test=24, frames=5, size=16)",
    "attention": "tps(pattern=A)",
    "backbone": "vit_micro(drop_path_rate=0.5, depth=2)",
    "recipe.steps": 6,
    "recipe.batch": 8,
    "recipe.validate_every": 2,
    "recipe.ema": 0.9,
    "recipe.regularise": {"cutmix": 1.0, "label_smoothing": 0.1},
    "recipe.compute.accumulate": 2,
}
COST = {"params": 1, "macs": 1, "missing": {}}


def main(out):
    """Uninterrupted in one folder; in another stopped after steps 3 and 4 (the last checkpoint is older)."""
    torch.set_num_threads(1)
    config = make(CONFIG)
    train(config, out, cost=COST, checkpoints=Checkpoints(out / "whole", steps=100))
    for step in (4, 5):
        try:
            train(config, out, cost=COST, progress=StopAt(step), checkpoints=Checkpoints(out / "cut", steps=1))
        except Stopped:
            if torch.distributed.get_rank() == 0:
                (out / f"stopped-{step}").write_text(json.dumps([p.name for p in (out / "cut").glob("checkpoint-*")]))
    train(config, out, cost=COST, checkpoints=Checkpoints(out / "cut", steps=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
