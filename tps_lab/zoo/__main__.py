"""Makes models of the zoo again: trains, rounds the weights, tests them as rounded, writes folder and card.

python -m tps_lab.zoo                      # all that are missing
python -m tps_lab.zoo opposites/tps        # this one, whatever is there
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tps_lab import data, files, zoo
from tps_lab.errors import InputError
from tps_lab.progress import Progress
from tps_lab.results import runs
from tps_lab.training import model_cards
from tps_lab.training.config import make
from tps_lab.training.train import restore, train

_SCRATCH = Path("build/zoo")
_KEPT = ("config.yaml", "metrics.jsonl")


def publish(run: runs.Run, name: str) -> Path:
    """A finished run as a model of the zoo; returns its folder."""
    import torch
    from safetensors.torch import load_file, save_file

    from tps_lab.measure.accuracy import accuracy, predict

    folder = Path(zoo.__file__).parent / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in _KEPT:
        shutil.copyfile(run.path / file, folder / file)
    where = run.environment | {"command": f"python -m tps_lab.zoo {name}"}
    files.write_whole(folder / "environment.json", json.dumps(where, indent=2) + "\n")
    weights = {key: value.half().contiguous() for key, value in load_file(run.path / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    clips = data.parse(run.config["data"]).opened()
    logits, labels = predict(restore(runs.Run(folder), clips), clips, "test")
    found = accuracy(logits, labels, clips)
    row = run.row | {"top1_pct": round(found.top1_pct, 2), "id": name}
    row |= {key: getattr(found, key) for key in ("per_class_pct", "per_pair_pct") if key in row}
    if found.top5_pct is not None:
        row["top5_pct"] = round(found.top5_pct, 2)
    runs.write_predictions(folder, torch.argmax(logits, 1).numpy(), labels.numpy())
    model_cards.write(folder, row, run.config, data.parse(run.config["data"]).licence, is_video=False)
    card = (folder / "README.md").read_text()
    use, _, _ = card.partition("## Use")
    files.write_whole(
        folder / "README.md",
        f'{use}## Use\n\n`tps_lab.zoo.load("{name}")` gives the model. Its weights are stored in half precision, and '
        f"the accuracy above is that of the rounded weights.\n`python -m tps_lab.zoo {name}` makes it again.\n",
    )
    files.write_whole(folder / "row.json", json.dumps(row, indent=2) + "\n")
    return folder


def main(wanted: list[str]) -> None:
    missing = [name for name in zoo.MODELS if not (Path(zoo.__file__).parent / name / "row.json").is_file()]
    for name in wanted or missing:
        if name not in zoo.MODELS:
            zoo.run(name)  # raises, with the nearest name
        run = train(make(zoo.MODELS[name]), _SCRATCH, progress=Progress())
        print(publish(run, name))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
