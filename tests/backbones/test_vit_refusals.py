"""Clips, parts and image models that do not fit: refused, by name."""

import numpy as np
import pytest
import timm
import torch
from tiny_vits import CLASSES, SIZE, image_model, random_clip, video_model

from tps_lab import InputError, create_model, load_official, videoize, zoo
from tps_lab.backbones import PAPER, SMALL, backbones


@pytest.mark.parametrize(
    ("clip", "shown"),
    [
        (torch.zeros(2, 3, 4, *SIZE), "(B, 3, 5, 10, 15) = (B, C, T, H, W), got (2, 3, 4, 10, 15)"),
        (torch.zeros(2, 1, 5, *SIZE), "got (2, 1, 5, 10, 15)"),
        (torch.zeros(2, 3, 5, 15, 10), "got (2, 3, 5, 15, 10)"),
        (torch.zeros(2, 5, 3, *SIZE), "got (2, 5, 3, 10, 15)"),
        (torch.zeros(3, 5, *SIZE), "got (3, 5, 10, 15)"),
        (torch.zeros(2, 3, 5, *SIZE, dtype=torch.uint8), "torch.uint8"),
        (None, "expected a clip batch of shape (B, C, T, H, W), got NoneType"),
        (np.zeros((2, 3, 5, *SIZE)), "got ndarray"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_and_shown(clip, shown):
    with pytest.raises(InputError) as error:
        video_model()(clip)
    assert shown in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 9, "tubelet": 2}, "multiple of the tubelet's length, got 9 frames, tubelet 2"),
        ({"frames": 0}, "frames must be a whole number from 1 to 10,000, got 0"),
        ({"frames": 8.0}, "frames must be a whole number"),
        ({"frames": 10**9}, "got 1000000000"),
        ({"num_classes": -1}, "num_classes must be"),
        ({"frames": 5, "tubelet": 0}, "tubelet must be a whole number from 1 to 10,000, got 0"),
        ({"frames": 4}, "offset -4, which a clip of 4 frames cannot hold"),
        ({"frames": 8, "tubelet": 2}, "offset -4, which a clip of 4 frames cannot hold"),
        ({"frames": 8, "bias": "fixed"}, "bias=fixed: a plain ViT has no relative position bias"),
        ({"frames": 8, "patern": "A"}, "did you mean 'pattern'"),
        ({"frames": 8, "attention": "jiont"}, "did you mean 'joint'"),
        ({"frames": 8, "attention": "tokshift"}, "tokshift needs a class token in every frame, and this image model"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        videoize(image_model(), **options)


def test_the_error_says_it_before_the_image_model_is_changed():
    image = image_model()
    for _ in range(2):
        with pytest.raises(InputError, match="offset -4"):
            videoize(image, "tps", frames=4)
    assert videoize(image, "tps", frames=5)(random_clip()).shape == (2, CLASSES)


def test_an_unknown_backbone_gets_the_nearest():
    with pytest.raises(InputError, match="unknown backbone 'vit_mircro'; did you mean 'vit_micro'"):
        create_model("vit_mircro")
    with pytest.raises(InputError, match="did you mean 'vit_tiny_patch16_224'"):
        create_model("vit_tiny_patch16_242")


def test_a_convolutional_network_cannot_become_a_video_model():
    with pytest.raises(InputError, match="ResNet"):
        videoize(timm.create_model("resnet18"))


def test_an_image_model_without_a_grid_is_refused():
    with pytest.raises(InputError, match="patch_drop_rate"):
        videoize(image_model(patch_drop_rate=0.5))


def test_a_hybrid_is_refused():
    hybrid = timm.create_model("vit_tiny_r_s16_p8_224", img_size=32, embed_dim=32, depth=1, num_heads=2)
    with pytest.raises(InputError, match="HybridEmbed"):
        videoize(hybrid)


def test_the_list_of_backbones_holds_ours_the_papers_and_timms_that_can_be_converted():
    names = backbones()
    assert names[: len(SMALL) + len(PAPER)] == [*SMALL, *PAPER]
    assert {"vit_base_patch16_224", "swin_tiny_patch4_window7_224", "pvt_v2_b0"} <= set(names)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: create_model(None), "a backbone is given by its name, such as 'vit_micro', got None"),
        (
            lambda: create_model("vit_micro", temporal_position="no"),
            "temporal_position must be True, False, None, 'sines' or 'zeros', got 'no'",
        ),
        (lambda: create_model("vit_micro(depth=2)"), "options of a backbone are keyword arguments, such as depth=2"),
        (lambda: create_model("vit_micro", size=24.5), r"size must be a number of pixels .*, got 24.5"),
        (lambda: create_model("vit_micro", pretrained=None), "pretrained must be True, False or a file, got None"),
        (lambda: videoize(image_model(), frames=None), "frames must be a whole number from 1 to 10,000, got None"),
        (lambda: videoize(image_model(), tubelet=None), "tubelet must be a whole number from 1 to 10,000, got None"),
        (lambda: videoize(image_model(), frames=5, size=32.5), r"size must be a number of pixels .*, got 32.5"),
        (lambda: load_official(None), "an official checkpoint is a file or a state dict, got None"),
        (lambda: load_official({}, frames=None), "frames must be a whole number"),
        (lambda: load_official({}, window=2.5), "window must be a whole number"),
        (lambda: zoo.load(None), "a model of the zoo is given by its name, such as 'opposites/spatial', got None"),
        (lambda: create_model("vit_micro", size=4), "a picture must be as large as a patch, or larger"),
        (lambda: videoize(3), "videoize takes an image model, got 3"),
        (lambda: videoize(torch.nn.Sequential(image_model())), "this Sequential holds one: give its '0'"),
        (lambda: videoize(torch.compile(image_model())), "this OptimizedModule holds one: give its '_orig_mod'"),
        (lambda: videoize(create_model("vit_micro")), "this VideoViT is a video model already"),
    ],
)
def test_what_is_no_name_model_or_truth_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()
