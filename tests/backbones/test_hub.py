"""Models saved for others: a folder gives the same model again, and says in one line why it cannot."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import HfApi, ModelCard
from safetensors.torch import load_file, save_file

import tps_lab
from tps_lab import InputError, create_model, videoize, zoo
from tps_lab.backbones.swin import VideoSwin

MADE: dict[str, Any] = {
    "vit": lambda: create_model("vit_micro", "tps", pattern="A", every=1, frames=6, num_classes=5, size=24),
    "vit with options": lambda: create_model(
        "vit_micro_cls", "divided", frames=4, tubelet=2, num_classes=3, in_chans=1, depth=2, num_heads=2, drop_rate=0.3
    ),
    "swin": lambda: create_model("swin_micro", "tps+tcs", pattern="A", frames=4, num_classes=5, position_bias="frame0"),
    "swin v2": lambda: create_model(
        "swinv2_tiny_window8_256", "spatial", frames=2, temporal_window=2,
        size=64, embed_dim=24, depths=(1, 2), num_heads=(2, 4), window_size=4, num_classes=2, temporal_position=True,
    ),
    "pyramid": lambda: create_model("pvt_v2_b0", "tps", pattern="A", frames=4, num_classes=2, size=32),
    "of a timm model": lambda: videoize(timm.create_model("vit_tiny_patch16_224"), "joint", frames=2, size=32),
    "of the zoo": lambda: zoo.load("opposites/tps+tcs"),
}  # fmt: skip


def by_chance(model: Any) -> Any:
    """Every weight of its own, so that none that is lost goes unseen; in eval mode."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=random))
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    clip = torch.randn(2, *model.clip_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(clip)


@pytest.mark.parametrize("name", MADE)
def test_a_saved_model_comes_back_and_answers_alike(name: str, tmp_path: Path) -> None:
    model = by_chance(MADE[name]())
    state = torch.get_rng_state()
    model.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    found = tps_lab.VideoModel.from_pretrained(tmp_path)
    assert type(found) is type(model)
    assert not found.training
    assert torch.equal(logits(found), logits(model))
    assert found.config() == model.config() == json.loads((tmp_path / "config.json").read_text())


def test_the_folder_says_in_words_and_data_what_the_model_is(tmp_path: Path) -> None:
    model = create_model("vit_micro", "tps", pattern="A", frames=6, num_classes=5, size=24)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["image_model"] == "vit_micro"
    assert config["attention"] == "tps(pattern=A)"
    assert (config["frames"], config["num_classes"], config["size"]) == (6, 5, [24, 24])
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "tps_lab"
    assert card.data.pipeline_tag == "video-classification"
    assert "clips of 6 frames of 24×24 pixels" in " ".join(card.text.split())
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card.text


def test_a_card_takes_over_what_the_run_says(tmp_path: Path) -> None:
    run = zoo.run("opposites/tps")
    zoo.load("opposites/tps").save_pretrained(tmp_path, model_card_kwargs={"card": run.path / "README.md"})
    text = (tmp_path / "README.md").read_text()
    assert f"Top-1 {run.row['top1_pct']} %" in text
    assert text.count("## Use") == text.count("## Accuracy") == 1
    with pytest.raises(InputError, match="cannot read"):
        zoo.load("opposites/tps").save_pretrained(tmp_path / "b", model_card_kwargs={"card": tmp_path / "none.md"})


def test_half_precision_is_kept_in_the_file_and_read_as_float32(tmp_path: Path) -> None:
    by_chance(MADE["vit"]()).half().save_pretrained(tmp_path)
    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    assert logits(tps_lab.VideoModel.from_pretrained(tmp_path)).dtype == torch.float32


def test_pushing_uploads_the_folder_that_saving_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Repo:
        repo_id = "you/clips"

    def upload(api: HfApi, *, folder_path: Path, **rest: Any) -> str:
        shutil.copytree(folder_path, tmp_path / "uploaded")
        return rest["repo_id"]

    monkeypatch.setattr(HfApi, "create_repo", lambda api, **rest: Repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    model = by_chance(MADE["vit"]())
    assert model.push_to_hub("you/clips") == "you/clips"
    assert {file.name for file in (tmp_path / "uploaded").iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert torch.equal(logits(tps_lab.VideoModel.from_pretrained(tmp_path / "uploaded")), logits(model))


# ---------------------------------------------------------------------- what cannot be loaded


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    MADE["vit"]().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refused(what: Any, **options: Any) -> str:
    with pytest.raises(InputError) as refusal:
        tps_lab.VideoModel.from_pretrained(what, **options)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 600
    return str(refusal.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": "tsp"}, "did you mean 'tps'"),
        ({"image_model": "vit_mircro"}, "did you mean 'vit_micro'"),
        ({"image_model": 3}, "image_model must be text, got 3"),
        ({"frames": "six"}, "frames must be a whole number"),
        ({"frames": None}, "frames must be said, got null"),
        ({"size": [24, 24, 24]}, "size must be"),
        ({"size": "big"}, "size must be"),
        ({"temporal_position": 1}, "temporal_position must be true or false"),
        ({"colour": "red"}, "no use for colour"),
        ({"options": []}, "no video model's"),
        ({"options": {"pretrained": "/etc/passwd"}}, "pretrained cannot stand among its options"),
        ({"options": {"checkpoint_path": "/etc/passwd"}}, "checkpoint_path' is not taken"),
        ({"options": {"depth": 10**9}}, "depth must be from 1"),
        ({"options": {"embed_dim": 32}}, "do not fit this model"),
    ],
)
def test_a_bad_configuration_gets_one_line(saved: Path, change: dict[str, Any], message: str) -> None:
    file = saved / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert message in refused(saved)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{" * 5000, '{"frames": 1}'])
def test_what_is_no_configuration_gets_one_line(saved: Path, content: str) -> None:
    (saved / "config.json").write_text(content)
    assert "config.json" in refused(saved)


def test_missing_damaged_and_hostile_files_get_one_line(saved: Path, tmp_path: Path) -> None:
    weights = saved / "model.safetensors"
    content = {name: value.clone() for name, value in load_file(weights).items()}
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "cannot read" in refused(saved)
    weights.write_bytes(pickle.dumps(content))
    assert "cannot read" in refused(saved)
    save_file({name: value for name, value in content.items() if "head" not in name}, weights)
    assert "do not fit this model" in refused(saved)
    weights.unlink()
    assert "holds no model.safetensors" in refused(saved)
    (saved / "config.json").unlink()
    assert "holds no config.json" in refused(saved)


def test_a_folder_that_is_not_there_and_a_hub_out_of_reach_get_one_line(tmp_path: Path) -> None:
    assert "no folder ./nowhere" in refused("./nowhere")
    assert "the Hub has no such model" in refused("you/clips", local_files_only=True, cache_dir=tmp_path)


def test_a_family_loads_its_own_only(saved: Path) -> None:
    with pytest.raises(InputError, match="holds a VideoViT, not a VideoSwin"):
        VideoSwin.from_pretrained(saved)


def test_options_of_loading_are_not_taken_for_the_models(saved: Path) -> None:
    with pytest.raises(InputError, match="takes no frames"):
        tps_lab.VideoModel.from_pretrained(saved, frames=12)


# ---------------------------------------------------------------------- what cannot be saved


def test_a_model_that_a_configuration_cannot_give_again_is_refused_before_it_is_written(tmp_path: Path) -> None:
    odd = timm.create_model("vit_tiny_patch16_224", img_size=32, num_heads=6, num_classes=4)  # the name says 3 heads
    odd.head.weight.data.normal_()
    with pytest.raises(InputError, match="does not give this model again: its logits differ"):
        videoize(odd, "tps", frames=8).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    changed = MADE["vit"]()
    changed.image_model.blocks[0].mlp.fc1 = torch.nn.Linear(64, 100)
    with pytest.raises(InputError, match="does not give this model again"):
        changed.save_pretrained(tmp_path)
    with_a_class = create_model("vit_micro", frames=8, num_classes=2, norm_layer=torch.nn.LayerNorm)
    with pytest.raises(InputError, match="cannot hold these options"):
        with_a_class.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_classifier_is_saved_as_it_is_then(tmp_path: Path) -> None:
    model = MADE["vit"]()
    model.reset_classifier(9)
    by_chance(model).save_pretrained(tmp_path)
    assert torch.equal(logits(tps_lab.VideoModel.from_pretrained(tmp_path)), logits(model))


_ASK = """
import logging, time
from huggingface_hub.utils import _http
from tps_lab import InputError, create_model
from tps_lab.backbones._video_model import VideoModel
before = _http.http_backoff, logging.getLogger(_http.__name__).level
slept = []
time.sleep = slept.append
for ask in (lambda: create_model("vit_tiny_patch16_224", pretrained=True), lambda: VideoModel.from_pretrained("a/b")):
    try:
        ask()
    except InputError as error:
        print(error)
assert before == (_http.http_backoff, logging.getLogger(_http.__name__).level)
assert sum(slept) < 5, slept
"""


def test_without_a_network_it_is_one_line_within_seconds(tmp_path: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", _ASK], env=os.environ | nowhere, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    timms, ours = done.stdout.splitlines()
    assert timms.startswith("cannot get timm's weights of 'vit_tiny_patch16_224' (no network, and not in timm's cache)")
    assert ours.startswith("no folder a/b, and the Hub has no such model")
