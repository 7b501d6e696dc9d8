"""One run from configuration to row, whatever happens on the way."""

import json
import math
import shutil
import signal
import types
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from stopping import StopAt

from tps_lab import InputError
from tps_lab.data import batch_of, parse, ready
from tps_lab.progress import Progress
from tps_lab.results import runs
from tps_lab.training import checkpoints
from tps_lab.training.config import Recipe, make
from tps_lab.training.model import describe
from tps_lab.training.train import build, learning_rate, train

SMALL = {
    "data": "opposites(train=64, val=24, test=24)",
    "recipe.steps": 4,
    "recipe.batch": 8,
    "recipe.validate_every": 3,
}
COST = {"params": 1, "macs": 1, "missing": {}}  # what it costs is measured elsewhere


def test_a_run_leaves_a_whole_folder(tmp_path):
    config = make(SMALL | {"attention": "tps(pattern=A)", "seed": 5})
    run = train(config, tmp_path)
    assert {file.name for file in run.path.iterdir()} == {
        "README.md", "card.json", "config.yaml", "environment.json", "metrics.jsonl", "model.safetensors",
        "predictions.safetensors", "row.json",
    }  # fmt: skip
    row = run.row
    assert row["status"] == "done"
    assert row["label"] == "TPS-A"
    assert row["ceiling_pct"] == 50
    assert row["macs_status"] == "agreed"
    assert row["missing"] == {}
    assert row["peak_memory_bytes"]["training"] > row["peak_memory_bytes"]["inference"] > 0
    assert row["latency_ms"]["median"] > 0
    assert 0 <= row["top1_pct"] <= row["top5_pct"] <= 100
    assert len(row["per_class_pct"]) == 12
    assert len(row["per_pair_pct"]) == 6
    assert [(m["step"], m["split"]) for m in run.metrics] == [(3, "train"), (3, "val"), (4, "train"), (4, "val")]
    assert run.environment["torch"] == torch.__version__
    predicted, labels = run.predictions
    assert 100 * (predicted == labels).mean() == pytest.approx(row["top1_pct"], abs=1e-4)
    assert make(run.config) == config  # the folder says how to run it again


@pytest.mark.parametrize(("asked", "said"), [(None, False), (True, True), ("sines", True), ("zeros", "zeros")])
def test_a_row_says_how_the_embedding_of_time_starts(asked, said):
    config = make(SMALL | {"attention": "tps", "temporal_position": asked})
    clips = ready(config.data)
    assert describe(config, clips, build(config, clips))["temporal_position"] == said


def test_the_rate_beside_a_loss_is_the_one_that_step_was_made_with(tmp_path):
    config = make(SMALL | {"recipe.validate_every": 1, "recipe.warmup": 0.5})
    run = train(config, tmp_path, cost=COST)
    written = [line["lr"] for line in run.metrics if line["split"] == "train"]
    assert written == [config.recipe.lr * learning_rate(step, config.recipe) for step in range(4)]


def test_a_notebook_draws_the_validation_accuracy_that_is_recorded(tmp_path):
    from tps_lab.viz.live import LiveCurves

    live = LiveCurves()
    run = train(make(SMALL), tmp_path, cost=COST, progress=live)
    ((steps, values),) = live.curves.values()
    recorded = [(m["step"], m["top1_pct"]) for m in run.metrics if m["split"] == "val"]
    assert list(zip(steps, values, strict=True)) == recorded
    assert any(value != round(value, 1) for value in values)  # not as a line says it


def test_the_saved_weights_give_the_row_back(tmp_path):
    from tps_lab.measure.accuracy import evaluate

    config = make(SMALL)
    run = train(config, tmp_path, cost=COST)
    clips = parse(config.data).opened()
    model = build(config, clips)
    model.load_state_dict(load_file(run.path / "model.safetensors"))
    assert evaluate(model, clips, "test").top1_pct == run.row["top1_pct"]


def test_the_same_seed_trains_the_same_weights_to_the_bit(tmp_path):
    weights = []
    for folder in ("a", "b"):
        run = train(make(SMALL), tmp_path / folder, cost=COST)
        weights.append(load_file(run.path / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_ctrl_c_leaves_a_usable_result(tmp_path):
    run = train(make(SMALL), tmp_path, cost=COST, progress=StopAt(2, KeyboardInterrupt()))
    assert run.row["status"] == "interrupted"
    assert "after 1 of 4 steps" in run.row["reason"]
    assert run.row["top1_pct"] is not None
    assert (run.path / "model.safetensors").exists()
    assert not runs.is_done(run.path)


def test_an_error_is_a_failed_row_with_its_reason(tmp_path):
    run = train(make(SMALL), tmp_path, cost=COST, progress=StopAt(2, RuntimeError("out of paper")))
    assert run.row["status"] == "failed"
    assert run.row["reason"] == "RuntimeError: out of paper"
    assert "top1_pct" not in run.row


def test_a_loss_that_is_no_number_fails(tmp_path):
    run = train(make(SMALL | {"recipe.lr": 1e30, "recipe.warmup": 0, "recipe.clip_norm": 1e30}), tmp_path, cost=COST)
    assert run.row["status"] == "failed"
    assert "the loss is" in run.row["reason"]


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("test", [False, True])
def test_a_folder_that_is_taken_away_meanwhile_ends_the_run_and_is_not_made_again(tmp_path, test, moved):
    config = make(SMALL)
    folder, elsewhere = tmp_path / config.folder, tmp_path / "elsewhere"

    class TakeAway(Progress):
        @contextmanager
        def run(self, label, steps):
            def advance(step, news):
                if step == 2:
                    folder.rename(elsewhere)
                    folder.mkdir() if moved else shutil.rmtree(elsewhere)
                assert step < 3  # nothing is trained for nobody

            yield advance

    with pytest.raises(InputError, match=f"{config.folder} was taken away while its run wrote there"):
        train(config, tmp_path, cost=COST, progress=TakeAway(), test=test)
    assert list(folder.iterdir()) == [] if moved else not folder.exists()


def test_an_unfinished_folder_is_set_aside_not_lost(tmp_path):
    config = make(SMALL)
    folder = tmp_path / config.folder
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    train(config, tmp_path, cost=COST)
    assert (tmp_path / ".earlier" / f"{config.folder}.1" / "notes.txt").read_text() == "mine"
    assert len(runs.load(tmp_path)) == 1


def test_results_read_back_as_a_frame(tmp_path):
    measured = COST | {"latency_ms": {"median": 2.0, "iqr": 0.1}, "peak_memory_bytes": {"training": 9, "inference": 5}}
    for seed in (0, 1):
        train(make(SMALL | {"seed": seed}), tmp_path, cost=measured)
    frame = runs.load(tmp_path)
    assert frame["seed"].tolist() == [0, 1]
    assert {"top1_pct", "latency_ms.median", "peak_memory_bytes.training"} <= set(frame.columns)


def test_a_half_written_row_does_not_count(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "row.json.part").write_text('{"status": "do')
    with pytest.raises(InputError, match="no finished run"):
        runs.find(tmp_path)


@pytest.mark.parametrize("name", ["name", "attention", "tubelet", "temporal_position", "frames", "size", "num_classes",
                                  "in_chans", "pretrained", "pattern"])  # fmt: skip
def test_what_is_said_elsewhere_is_no_option_of_a_backbone(name):
    for values in ({f"backbone.{name}": 4}, {"backbone": f"vit_micro({name}=4)"}):
        with pytest.raises(InputError, match=f"backbone option {name}: "):
            make(values)


def test_identity_is_the_whole_configuration():
    same = [make({"attention": "tps"}), make({"attention": "tps(pattern=C, every=2)"}), make({"name": "mine"})]
    assert len({config.identity for config in same}) == 1
    others = [make({"seed": 1}), make({"recipe.lr": 0.1}), make({"attention": "tps(pattern=A)"}), make({"tubelet": 2})]
    assert len({config.identity for config in [*same, *others]}) == 5


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"recipe.step": 3}, "did you mean 'recipe.steps'"),
        ({"atention": "tps"}, "did you mean 'attention'"),
        ({"recipe.steps": 0}, "recipe.steps = 0"),
        ({"recipe.lr": "fast"}, "recipe.lr = 'fast'"),
        ({"attention": "tsp"}, "unknown attention variant 'tsp'"),
        ({"data": "opposite"}, "did you mean 'opposites'"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_bad_settings_are_named(values, says):
    with pytest.raises(InputError, match=says):
        make(values)


def test_warm_up_then_cosine_to_zero():
    recipe = Recipe(steps=100, warmup=0.1)
    factors = [learning_rate(step, recipe) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert all(math.isfinite(f) and 0 <= f <= 1 for f in factors)


def test_rows_are_plain_json(tmp_path):
    run = train(make(SMALL), tmp_path, cost=COST)
    assert json.loads(json.dumps(run.row)) == run.row


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_step_under_way_end(number, capsys):
    if number == signal.SIGHUP and signal.getsignal(number) != signal.SIG_DFL:
        pytest.skip("the terminal may close: this runs under nohup")
    asked, before = types.SimpleNamespace(stopping=False), signal.getsignal(number)
    with checkpoints.stopped_by_signals(asked):
        signal.raise_signal(number)
        assert asked.stopping
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before
    assert capsys.readouterr().err.startswith("stopping after this step")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"classes": ("a", "a")}, r"classes must be names, each another, got \('a', 'a'\)"),
        ({"clip_shape": (3, 16, 16)}, r"clip_shape must be \(C, T, H, W\), got \(3, 16, 16\)"),
        ({"ceiling": 50}, "ceiling is a share from 0 to 1, such as 0.5, got 50"),
        ({"clips_per_scene": 0}, "clips_per_scene must be a whole number, 1 or more, got 0"),
        ({"pairs": ((0, 12),)}, "pairs must be of labels from 0 to 11"),
        ({"size": lambda split: 0}, r"size\('train'\) must be a number of clips, got 0"),  # its order would never come
        ({"size": lambda split: 8.0}, r"size\('train'\) must be a number of clips, got 8.0"),
    ],
)
def test_clips_that_cannot_be_are_refused(changed, says):
    clips = parse(SMALL["data"]).opened()
    vars(clips).update(changed)
    spec = types.SimpleNamespace(opened=lambda: clips)
    with pytest.raises(InputError, match=says):
        ready(spec)
    with pytest.raises(InputError, match="opened must give Clips, got None"):
        ready(types.SimpleNamespace(opened=lambda: None))


def test_clips_and_labels_are_as_many_as_asked_for():
    clips = parse(SMALL["data"]).opened()
    batch, index = clips.batch, torch.arange(8)
    assert len(batch_of(clips, "test", index, "cpu")[0]) == 8
    for changed in (
        lambda x, y: (x[1:], y[1:]),
        lambda x, y: (x[:, :, 1:], y),
        lambda x, y: (x, y[:, None]),
        lambda x, y: (x, y * 1.0),
    ):
        clips.batch = lambda *given, changed=changed: changed(*batch(*given))
        with pytest.raises(InputError, match=r"OppositeClips.batch must give clips \(8, 3, 16, 24, 24\) and labels"):
            batch_of(clips, "test", index, "cpu")
