"""Tiny runs end where they ended before: numerics change with a new `version`, or not at all.

`outcomes.json` holds, for every variant, family and drawn data set, the versions and the losses of the
first steps. If this test fails and the change was meant, raise the `version` of what changed (then its
published cells are run again) and store the new losses: `python tests/test_outcomes.py`. A thing that
is new is stored by the same command.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tps_lab.ablate.cell import deterministic
from tps_lab.ablate.identity import versions
from tps_lab.attention import variants
from tps_lab.training.config import make
from tps_lab.training.train import train

STORED = Path(__file__).with_name("outcomes.json")
# Losses of another CPU's kernels differ by 1e-5 after so few steps; two variants, or a step of the
# recipe left out, by far more.
TOLERANCE = 3e-4
# Of one family an AMD EPYC's second loss is 6e-4 from a Xeon's; of the others, none is 3e-4 away.
LOOSER = {"family tiny_vit": 1e-3}
CLIPS = "train=32, val=24, test=24"
EIGHT = f"opposites(frames=8, {CLIPS})"
TINY = "embed_dim=16, depth=2, num_heads=2"
SWIN = "img_size=24, patch_size=4, embed_dim=16, depths=(2,2), num_heads=(1,2), window_size=3)"
SMALLER = {"local": "local(window_frames=4, window=2)"}  # than a clip of 8 frames of 3×3 patches, or it is joint
FAMILIES = {
    "vit_micro_cls": "vit_micro_cls",
    "swin_micro": "swin_micro",
    "swin v2": f"swinv2_tiny_window8_256({SWIN}",
    "beit": f"beit_base_patch16_224(img_size=24, patch_size=8, {TINY})",
    "eva": f"eva02_tiny_patch14_224(img_size=24, patch_size=8, {TINY})",
    "pvt": "pvt_v2_b0(depths=(1,1,1,1), embed_dims=(8,8,16,16), num_heads=(1,1,2,2))",
    "tiny_vit": "tiny_vit_5m_224(depths=(1,1,2,1), embed_dims=(8,16,16,16), num_heads=(1,2,2,2), "
    "window_sizes=(2,2,2,3))",
}
DRAWN = ("counting", "digit", "direction", "first", "match", "opposites", "order", "rhythm", "speed", "still")


def runs():
    for name, variant in variants().items():
        backbone = "vit_micro_cls" if variant.needs_class_token else "vit_micro"
        yield f"variant {name}", {"attention": SMALLER.get(name, name), "backbone": backbone, "data": EIGHT}
    for name, backbone in FAMILIES.items():
        size = 32 if name in ("pvt", "tiny_vit") else 24
        yield (
            f"family {name}",
            {"attention": "tps", "backbone": backbone, "data": f"opposites(frames=8, size={size}, {CLIPS})"},
        )
    for name in DRAWN:
        yield f"data {name}", {"attention": "joint", "data": f"{name}({CLIPS})"}
    yield "recipe", {"attention": "tps", "data": EIGHT, "recipe.ema": 0.5, "recipe.steps": 6,
        "recipe.compute.accumulate": 2, "recipe.rates.layer_decay": 0.7, "recipe.regularise.mixup": 0.5,
        "recipe.regularise.label_smoothing": 0.1}  # fmt: skip


RUNS = dict(runs())


def outcome(values):
    """Versions, and loss of every step and of the validation after it."""
    recipe = {"recipe.steps": 3, "recipe.batch": 8, "recipe.warmup": 0.2, "recipe.validate_every": 1}
    config = make(recipe | values)
    with TemporaryDirectory() as out, deterministic(True):
        run = train(config, Path(out), cost={"macs": None})
        assert run.row["status"] == "done", run.row["reason"]
        return {"versions": versions(config), "losses": [round(line["loss"], 6) for line in run.metrics]}


@pytest.mark.parametrize("name", RUNS)
def test_same_numbers_or_a_new_version(name):
    stored = json.loads(STORED.read_text())
    assert name in stored, "new: store its losses with python tests/test_outcomes.py"
    now, then = outcome(RUNS[name]), stored[name]
    assert now["versions"] == then["versions"], "a new version: store its losses with python tests/test_outcomes.py"
    assert now["losses"] == pytest.approx(then["losses"], rel=LOOSER.get(name, TOLERANCE)), (
        "other numbers than this version had: raise `version` of what changed, then python tests/test_outcomes.py"
    )


def stored_anew():
    """What is stored, with what is new or has a new version run again; the rest stays as it was."""
    before = json.loads(STORED.read_text()) if STORED.exists() else {}
    for name, values in RUNS.items():
        if name in before and before[name]["versions"] == versions(make(values)):
            yield name, before[name]
        else:
            yield name, outcome(values)


if __name__ == "__main__":
    STORED.write_text(json.dumps(dict(stored_anew()), indent=1) + "\n")
