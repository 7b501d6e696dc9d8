"""Models as objects among others: pickled, copied, without pooling, without clips."""

import copy
import math
import pickle

import pytest
import timm
import torch

import tps_lab
from tps_lab import InputError
from tps_lab.attention import variants

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4}


def possible(backbone):
    for variant, cls in variants().items():
        if not cls.__module__.startswith("tps_lab."):  # another test's, which may still be in memory
            continue
        try:
            tps_lab.create_model(backbone, variant, frames=8, num_classes=3)
        except InputError:
            continue
        yield backbone, variant


@pytest.mark.parametrize("backbone", ["vit_micro", "vit_micro_cls", "swin_micro"])
def test_every_variant_comes_back_from_a_pickle_and_a_copy_as_the_same_function(backbone):
    tried = list(possible(backbone))
    assert len(tried) >= 5
    for name, variant in tried:
        model = tps_lab.create_model(name, variant, frames=8, num_classes=3).eval()
        clip = torch.randn(1, *model.clip_shape)
        with torch.no_grad():
            want = model(clip)
            assert torch.equal(pickle.loads(pickle.dumps(model))(clip), want), variant
            assert torch.equal(copy.deepcopy(model)(clip), want), variant


@pytest.mark.parametrize(("variant", "tokens"), [("spatial", 4 * 17), ("joint", 1 + 4 * 16), ("divided", 1 + 4 * 16)])
def test_without_pooling_every_token_of_the_clip_comes_out(variant, tokens):
    image_model = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="", **SMALL).eval()
    model = tps_lab.videoize(image_model, variant, frames=4).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    assert model(clip).shape == (2, tokens, 48)
    if variant == "spatial":  # each frame's tokens are those of the image model
        want = image_model(clip.transpose(1, 2).flatten(0, 1)).reshape(2, tokens, 48)
        torch.testing.assert_close(model(clip), want)


@pytest.mark.parametrize("backbone", ["vit_micro", "vit_micro_cls", "swin_micro"])
def test_no_clips_give_no_answers(backbone):
    for name, variant in possible(backbone):
        model = tps_lab.create_model(name, variant, frames=8, num_classes=3).eval()
        assert model(torch.zeros(0, *model.clip_shape)).shape == (0, 3)


def test_a_recipe_that_rests_the_backbone_trains_the_classifier_alone():
    from tps_lab.training.config import Recipe
    from tps_lab.training.loop import parameter_groups
    from tps_lab.training.model import freeze

    model = tps_lab.create_model("vit_micro", "tps", frames=8, num_classes=3)
    recipe = Recipe(rates={"backbone": 0})
    freeze(model, recipe)
    model(torch.randn(2, *model.clip_shape)).sum().backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None}
    assert got == {"image_model.head.weight", "image_model.head.bias"}
    assert sum(len(group["params"]) for group in parameter_groups(model, recipe)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 10**9}, "depth must be from 1 to 1,000"),
        ({"patch_size": 0}, "patch_size must be from 1"),
        ({"embed_dim": -64}, "embed_dim must be from 1"),
        ({"embed_dim": 60_000, "num_heads": 4}, "GiB of weights"),
        ({"checkpoint_path": "x.pth"}, r"checkpoint_path.*is not taken"),
        ({"pretrained_cfg": {"file": "x"}}, "takes a tag only"),
        ({"dynamic_img_size": True}, "clips have one size here"),
        ({"drop_path_rate": 2}, "drop_path_rate must be from 0 to below 1, got 2"),
        ({"patch_drop_rate": 1}, "patch_drop_rate must be from 0 to below 1, got 1"),
        ({"drop_rate": -0.1}, "drop_rate must be from 0 to below 1, got -0.1"),
        ({"in_chans": 0}, "in_chans must be from 1"),
        ({"depth": "x"}, "^depth must be a whole number, got 'x'"),
        ({"depth": True}, "depth must be a whole number, got True"),
        ({"mlp_ratio": "x"}, "mlp_ratio must be a number, got 'x'"),
        ({"mlp_ratio": "nan"}, "mlp_ratio must be finite, got 'nan'"),
        ({"init_values": math.inf}, "init_values must be finite, got inf"),
        ({"qkv_bias": "x"}, "qkv_bias must be true or false, got 'x'"),
        ({"weight_init": "jacks"}, "unknown weight_init 'jacks'; did you mean 'jax'"),
        ({"pos_embed": "x", "size": 24}, "^timm cannot make 'vit_micro' with pos_embed='x', size=24: AssertionError$"),
        ({"act_layer": "x"}, "^timm cannot make 'vit_micro' with act_layer='x': KeyError: 'x'$"),
        ({"name": "swin_micro", "depths": 2}, "depths must be a list, each a whole number, got 2"),
        ({"name": "swin_micro", "depths": [2, "x"]}, r"depths must be a list, each a whole number, got \[2, 'x'\]"),
    ],
)
def test_options_that_no_machine_could_build_or_that_read_files_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        tps_lab.create_model(**{"name": "vit_micro", "frames": 8} | options)
