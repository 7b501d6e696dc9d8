"""What a recipe's options do to a training, each against something that it must equal."""

import shutil
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import COST, TINY

from tps_lab import InputError, create_model, data, recipes, zoo
from tps_lab.ablate.identity import cell_hash
from tps_lab.cli._shared import run_values
from tps_lab.training.checkpoints import Checkpoints
from tps_lab.training.config import Recipe, make
from tps_lab.training.feed import ClipOrder, Feed
from tps_lab.training.loop import parameter_groups
from tps_lab.training.train import build, train


def weights(tmp_path, name, **changed):
    run = train(make(TINY | changed), tmp_path / name, cost=COST)
    assert run.row["status"] == "done", run.row["reason"]
    return load_file(run.path / "model.safetensors")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("plain"), "plain")


def same(one, other, tolerance=0.0):
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one) <= tolerance


def test_accumulated_parts_add_up_to_the_batch(tmp_path):
    # one step, as AdamW makes much of rounding: a weight moves by its gradient's sign
    losses = []
    for name, parts in (("1", 1), ("3", 3)):  # 8 = 3 + 3 + 2
        values = TINY | {"recipe.steps": 2, "recipe.validate_every": 1, "recipe.compute.accumulate": parts}
        run = train(make(values), tmp_path / name, cost=COST)
        losses.append([line["loss"] for line in run.metrics])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_checkpointing_changes_no_result(tmp_path, plain):
    assert same(plain, weights(tmp_path, "checkpointing", **{"recipe.compute.checkpointing": True}), 1e-6)


def test_reading_processes_change_no_bit(tmp_path, plain):
    assert same(plain, weights(tmp_path, "workers", workers=2))


def test_the_average_is_that_of_the_weights_and_is_what_is_kept(tmp_path, plain):
    averaged = weights(tmp_path, "ema", **{"recipe.ema": 1e-9})  # hardly any memory: the last weights
    assert same(plain, averaged, 1e-6)
    assert not same(plain, weights(tmp_path, "slow", **{"recipe.ema": 0.9}), 1e-6)


def test_smoothing_and_mixing_train(tmp_path, plain):
    for how in ({"label_smoothing": 0.1}, {"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}):
        assert not same(plain, weights(tmp_path, str(how), **{"recipe.regularise": how}))


def test_bf16_trains(tmp_path):
    weights(tmp_path, "bf16", **{"recipe.precision": "bf16"})


def test_a_resumed_feed_hands_out_what_the_first_would_have():
    clips = data.parse("opposites(train=20, val=2, test=2, frames=4, size=16)").opened()
    for workers in (0, 2):
        feed = Feed(clips, ClipOrder(20, 8, 3), torch.device("cpu"), workers=workers)
        batches = iter(feed)
        [next(batches) for _ in range(3)]
        state = feed.state()
        expected = next(batches)[0]
        order = ClipOrder(20, 8, 99)
        order.set_state(state)
        assert torch.equal(next(iter(Feed(clips, order, torch.device("cpu"))))[0], expected)


def test_every_clip_comes_once_in_an_epoch():
    order = ClipOrder(10, 4, 0)
    seen = torch.cat([order.next() for _ in range(5)])
    assert sorted((seen[:10]).tolist()) == list(range(10))
    assert sorted((seen[10:] - 10).tolist()) == list(range(10))


def test_epochs_are_steps_of_the_data():
    recipe = Recipe(epochs=3, warmup_epochs=0.6, batch=8).resolved(80)
    assert (recipe.steps, recipe.validate_every) == (30, 10)
    assert recipe.warmup == pytest.approx(0.2)
    for bad in (Recipe(epochs=0.01, batch=8), Recipe(epochs=1, warmup_epochs=2), Recipe(warmup_epochs=1)):
        with pytest.raises(InputError, match=r"recipe\."):
            bad.resolved(80)


def test_the_backbone_learns_more_slowly_and_tables_do_not_decay():
    model = create_model("swin_micro", "tps", pattern="A", frames=4, num_classes=3)
    recipe = Recipe(lr=1.0, rates={"backbone": 0.1, "decay_bias_tables": False})
    groups = parameter_groups(model, recipe)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == sum(1 for _ in model.parameters())
    for name, p in model.named_parameters():
        lr, decay = found[id(p)]
        assert lr == pytest.approx(1.0 if ".head.fc." in name else 0.1), name
        assert (decay == 0) == (p.ndim == 1 or "table" in name or name.endswith("_embed")), name
    assert groups[0]["lr"] == 1.0  # what is logged


def test_deeper_layers_learn_faster():
    model = create_model("vit_micro", "tps", pattern="A", frames=4, num_classes=3)
    groups = parameter_groups(model, Recipe(lr=1.0, rates={"layer_decay": 0.5}))
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    named = {name: rate[id(p)] for name, p in model.named_parameters()}
    blocks = [named[f"image_model.blocks.{i}.mlp.fc1.weight"] for i in range(4)]
    assert all(a == pytest.approx(b / 2) for a, b in pairwise(blocks))
    assert named["image_model.patch_embed.proj.weight"] < blocks[0]
    assert named["image_model.head.weight"] == 1.0


def test_options_left_alone_are_no_part_of_a_runs_identity():
    assert make({}).content()["recipe"].keys() == {
        "steps", "batch", "lr", "weight_decay", "beta2", "warmup", "clip_norm", "precision", "validate_every",
    }  # fmt: skip
    assert make({}).identity == "98715e17"  # as in published runs
    assert make({"workers": 3}).identity == make({}).identity
    for changed in ({"recipe.ema": 0.9}, {"recipe.rates.backbone": 0.1}, {"recipe.epochs": 3}, {"weights": "timm"}):
        assert make(changed).identity != make({}).identity
    assert make({"recipe.rates.backbone": 1.0}).identity == make({}).identity
    zero, minus_zero = (make({"recipe.warmup": w, "recipe.rates.backbone": w}) for w in (0.0, -0.0))
    assert (minus_zero.identity, str(minus_zero.recipe)) == (zero.identity, str(zero.recipe))


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_differ_by_mechanism_only(name):
    values = recipes.read(name)
    config = make(values)
    other = make(values | {"attention": "spatial"})
    assert {k: v for k, v in config.content().items() if k != "attention"} == {
        k: v for k, v in other.content().items() if k != "attention"
    }
    recipe = config.recipe.resolved(64_000)
    assert (recipe.steps, recipe.lr, recipe.batch) == (30_000, 1e-3, 64)
    assert recipe.rates.backbone == 0.1
    assert recipe.regularise.drop_path == 0.1
    assert (
        recipe.regularise.label_smoothing
        == {"ssv1": 0.1, "ssv2": 0.1, "diving48": 0.02, "k400": 0}[name.rpartition("_")[2]]
    )


def test_an_option_said_later_wins_over_its_own_key_before(tmp_path):
    (tmp_path / "first.yaml").write_text("attention: tps\nattention.pattern: A\ndata.frames: 8\ndata.size: 16\n")
    (tmp_path / "second.yaml").write_text(f"like: {tmp_path / 'first.yaml'}\ndata: opposites(frames=12)\n")
    config = make(recipes.read(tmp_path / "second.yaml"))
    assert (str(config.attention), str(config.data)) == ("tps(pattern=A)", "opposites(frames=12, size=16)")

    def said(*options, pattern=None, frames=None, attention=None):
        config = make(run_values(tmp_path / "first.yaml", None, attention, pattern, None, frames, list(options)))
        return str(config.attention), str(config.data)

    assert said(attention="tps(pattern=B)") == ("tps(pattern=B)", "opposites(frames=8, size=16)")
    assert said(pattern="B", frames=12) == ("tps(pattern=B)", "opposites(frames=12, size=16)")
    assert said("attention=tps+tcs", "data.frames=20", pattern="B") == (
        "tps+tcs(pattern=B)",
        "opposites(frames=20, size=16)",
    )
    assert said("attention.pattern=D", pattern="B")[0] == "tps(pattern=D)"


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(InputError, match="did you mean 'pst_tiny_ssv2'"):
        recipes.read("pst_tiny_ssv3")
    with pytest.raises(InputError, match=r"cannot read /nowhere\.yaml"):
        recipes.read("/nowhere.yaml")


# ---------------------------------------------------------------------- weights to begin with


def test_an_image_models_weights_come_from_a_file(tmp_path):
    import timm

    image_model = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=64, depth=2, num_heads=4, mlp_ratio=2,
        class_token=False, global_pool="avg", num_classes=7,
    )  # fmt: skip
    state = image_model.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "a.safetensors")
    torch.save({"model": state}, tmp_path / "a.pth")
    clips = data.parse("video-folder(path=samples, frames=4, size=16)")  # only named: its shape is what matters
    stub = type("Stub", (), {"clip_shape": (3, 4, 16, 16), "classes": ("a", "b"), "spec": clips})()
    for file in ("a.safetensors", "a.pth"):
        model = build(make(TINY | {"weights": f"image:{tmp_path / file}"}), stub)
        assert torch.equal(model.image_model.blocks[1].mlp.fc1.weight, state["blocks.1.mlp.fc1.weight"])
        assert model.num_classes == 2
    with pytest.raises(InputError, match="does not hold the weights"):
        build(make(TINY | {"weights": f"image:{tmp_path / 'a.pth'}", "backbone": "vit_micro(depth=3)"}), stub)


@pytest.mark.parametrize("attention", ["spatial", "tps+tcs", "divided"])
def test_a_video_model_begins_with_the_image_model_that_ships(attention):
    small = "opposites(frames=8, train=4, val=4, test=4)"
    model = build(
        make({"attention": attention, "data": small, "weights": "zoo:still/spatial", "temporal_position": False}),
        data.parse(small).opened(),
    )
    image_model = zoo.load("still/spatial")  # one frame, ten classes
    still = data.parse("still(train=4, val=4, test=64)").opened().batch("test", torch.arange(64))[0]
    with torch.no_grad():
        frozen = model.eval().forward_features(still.expand(-1, -1, 8, -1, -1))
        alone = image_model.forward_features(still)
    if attention != "divided":  # whose steps along time start with weights of their own
        torch.testing.assert_close(frozen.unflatten(1, (8, -1))[:, 2], alone, atol=1e-4, rtol=1e-4)
    assert model.num_classes == 12


def test_cells_that_begin_with_other_shipped_weights_are_other_cells(tmp_path, monkeypatch):
    config = make({"weights": "zoo:still/spatial"})
    before = cell_hash(config)
    assert before != cell_hash(make({}))
    shutil.copytree(zoo.run("still/spatial").path, tmp_path / "still/spatial")
    monkeypatch.setattr("tps_lab.results.shipped._ZOO", tmp_path)
    assert cell_hash(config) == before
    with (tmp_path / "still/spatial/model.safetensors").open("ab") as file:
        file.write(b" ")
    assert cell_hash(config) != before


def test_a_runs_weights_are_taken_over_and_a_misfit_is_named(tmp_path):
    run = train(make(TINY), tmp_path, cost=COST)
    clips = data.parse(TINY["data"]).opened()
    model = build(make(TINY | {"weights": f"run:{run.path}", "seed": 5}), clips)
    stored = load_file(run.path / "model.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match="do not fit this model"):
        build(make(TINY | {"weights": f"run:{run.path}", "backbone": "vit_micro(depth=4)"}), clips)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tim", "did you mean 'timm'"),
        ("image:/nowhere.pth", "there is no"),
        ("official:", "expected one of timm"),
        ("zoo:still", "did you mean 'still/spatial'"),
    ],
)
def test_bad_weights_are_named(text, says):
    clips = type("Stub", (), {"clip_shape": (3, 4, 16, 16), "classes": ("a", "b")})()
    with pytest.raises(InputError, match=says):
        build(make(TINY | {"weights": text}), clips)


def test_weights_that_would_run_code_are_refused(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}))
    clips = type("Stub", (), {"clip_shape": (3, 4, 16, 16), "classes": ("a", "b")})()
    with pytest.raises(InputError, match="weights only"):
        build(make(TINY | {"weights": f"image:{tmp_path / 'evil.pth'}"}), clips)
    assert not (tmp_path / "ran").exists()


def test_a_stop_asked_for_is_kept_to_the_step(tmp_path):
    config = make(TINY)
    whole = train(config, tmp_path, cost=COST, checkpoints=Checkpoints(tmp_path / "whole", steps=100))
    checkpoints = Checkpoints(tmp_path / "cut", seconds=1e9)
    checkpoints.stopping = True
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, cost=COST, checkpoints=checkpoints)
    assert checkpoints.newest_step() == 1
    cut = train(config, tmp_path, cost=COST, checkpoints=Checkpoints(tmp_path / "cut", seconds=1e9))
    one, other = (load_file(run.path / "model.safetensors") for run in (whole, cut))
    assert same(one, other)
