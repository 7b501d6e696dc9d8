"""What a video model shares with the image model inside it."""

import copy

import pytest
import torch
from tiny_vits import (
    IMAGE_MODELS,
    VARIANTS,
    T,
    close,
    image_model,
    random_clip,
    randomised,
    video_model,
)

from tps_lab import videoize
from tps_lab.attention._modules import SpaceTimeAttention


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_one_frame_with_spatial_attention_is_the_image_model(kind):
    image, clip = image_model(kind).eval(), random_clip(1)
    model = videoize(image, "spatial", frames=1).eval()
    assert close(model.forward_features(clip), image.forward_features(clip[:, :, 0]))
    assert close(model(clip), image(clip[:, :, 0]))


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_spatial_attention_treats_every_frame_as_an_image(kind):
    image, clip = image_model(kind).eval(), random_clip()
    features = videoize(image, "spatial", frames=T).eval().forward_features(clip)
    images = [image.forward_features(clip[:, :, t]) for t in range(T)]
    assert close(features, torch.cat(images, 1))


@pytest.mark.parametrize("kind", IMAGE_MODELS)
@pytest.mark.parametrize("tubelet", [1, 2])
@pytest.mark.parametrize(
    "variant",
    [
        *("spatial", "tps", "tps(every=1)", "tcs", "tps+tcs", "divided", "divided(class_token=both)"),
        *(
            "factorised-self",
            "factorised-self(order=time-space)",
            "mem",
            "zeroi2v",
            "zeroi2v(far=2)",
            "aim",
            "st-adapter",
        ),
    ],
)
def test_a_still_clip_is_the_image(variant, tubelet, kind):
    """Divided and factorised self-attention too: their temporal step starts with a zero output."""
    image, still = image_model(kind).eval(), random_clip(1).repeat(1, 1, T * tubelet, 1, 1)
    model = videoize(image, variant, frames=T * tubelet, tubelet=tubelet).eval()
    assert close(model(still), image(still[:, :, 0]))


@pytest.mark.parametrize(
    "variant", ["joint", "local(window_frames=2)", "trajectory", "trajectory(values=plain)"], ids=str
)
def test_more_frames_of_a_still_clip_are_the_image_without_a_class_token(variant):
    """With one, its share of the attention falls as the frames grow, and in a trajectory it is 0."""
    still = random_clip(1).repeat(1, 1, 6, 1, 1)
    for kind, equal in {"no class token": True, "class token": False}.items():
        image = image_model(kind).eval()
        assert close(videoize(image, variant, frames=6).eval()(still), image(still[:, :, 0])) == equal


@pytest.mark.parametrize("kind", IMAGE_MODELS)
@pytest.mark.parametrize(
    "variant",
    [
        *("joint", "local", "divided", "factorised-self", "factorised-encoder"),
        *("causal", "first-and-previous", "radial", "svg", "mem", "zeroi2v", "aim", "st-adapter"),
    ],
)
def test_features_of_one_frame_are_the_image_models(variant, kind):
    image, clip = image_model(kind).eval(), random_clip(1)
    model = videoize(image, variant, frames=1).eval()
    assert close(model.forward_features(clip), image.forward_features(clip[:, :, 0]))


@pytest.mark.parametrize("variant", ["l+g", "axial", "factorised-dot", "xvit", "tokshift", "tsm", "local(window=1)"])
def test_who_cannot_keep_the_image_models_features_by_definition(variant):
    """They see less of the one frame, or zeros enter at its ends; if this changes, their docstrings do."""
    image, clip = image_model("class token").eval(), random_clip(1)
    model = videoize(image, variant, frames=1).eval()
    assert not close(model.forward_features(clip), image.forward_features(clip[:, :, 0]))


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_tokens_of_a_factorised_encoder_are_those_of_the_images(kind):
    image, clip = image_model(kind).eval(), random_clip()
    model = videoize(image, "factorised-encoder", frames=T).eval()
    images = [image.forward_features(clip[:, :, t]) for t in range(T)]
    assert close(model.forward_features(clip), torch.cat(images, 1))
    assert len(model.after.blocks) == 4
    # behind the blocks: the image model's embedding of every frame, its time added, and the head
    randomised(model.after)
    torch.nn.init.normal_(model.temporal_embed)
    frames = torch.stack([image.forward_head(one, pre_logits=True) for one in images], 1)
    assert close(model(clip), model.image_model.head(model.after(frames + model.temporal_embed[:, :, 0])))
    assert (model.after.class_token is None) == (image.global_pool != "token")


@pytest.mark.parametrize(("variant", "differ"), [("xvit(every=2)", 1), ("tokshift(every=2)", 2)])
def test_zeros_enter_xvit_and_token_shift_at_the_ends_only(variant, differ):
    """On in the second of two blocks, where TokShift shifts twice."""
    image, still = image_model("class token").eval(), random_clip(1).repeat(1, 1, 7, 1, 1)
    expected = image.forward_features(still[:, :, 0])
    tokens = videoize(image, variant, frames=7).eval().forward_features(still).unflatten(1, (7, -1))
    assert [close(tokens[:, t], expected) for t in range(7)] == [differ <= t < 7 - differ for t in range(7)]


def test_frames_of_a_tubelet_are_embedded_in_their_order():
    model = video_model("spatial", frames=4, tubelet=2)
    proj, clip = model.image_model.patch_embed.proj, random_clip(4)
    with torch.no_grad():
        proj.weight[:, 3:] = 0  # only the first frame of each pair counts
    changed = clip.clone()
    changed[:, :, 1::2] += 1
    assert torch.equal(model(clip), model(changed))
    changed[:, :, 2] += 1
    assert not close(model(clip), model(changed))


@pytest.mark.parametrize("variant", ["tps", "divided"])
def test_videoize_leaves_the_image_model_as_it_is(variant):
    image = image_model("class token").eval()
    picture = random_clip(1)[:, :, 0]
    weights, logits = copy.deepcopy(image.state_dict()), image(picture)
    model = videoize(image, variant, frames=10, tubelet=2, num_classes=3)
    randomised(model, seed=5)
    assert image.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in image.state_dict().items())
    assert torch.equal(image(picture), logits)
    assert not any(isinstance(part, SpaceTimeAttention) for part in image.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_added_takes_the_image_models_type(variant, dtype):
    model = videoize(image_model("class token").to(dtype), variant, frames=T)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model(random_clip().to(dtype)).dtype == dtype


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_added_stands_on_the_image_models_device(variant):
    model = videoize(image_model("class token").to("meta"), variant, frames=T)
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
