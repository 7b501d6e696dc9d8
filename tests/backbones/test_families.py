"""What holds for every family of image models: the same tests over a tiny member of each."""

import copy

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from tiny_models import FAMILIES, VIT_LIKE, image_model, random_clip

from tps_lab import InputError, create_model, videoize
from tps_lab.attention import variants
from tps_lab.backbones import _families, _family_of, backbones
from tps_lab.backbones._options import EXAMPLES
from tps_lab.measure.macs import count_macs
from tps_lab.measure.step import set_fused

torch.set_num_threads(1)

SHIFTS = ("spatial", "tps", "tcs", "tsm", "tps+tcs")
# those whose attention stays inside frames whatever the variant; the Swins take more
IN_FRAMES = [name for name in FAMILIES if name not in VIT_LIKE and not name.startswith("swin")]
every_family = pytest.mark.parametrize("family", FAMILIES)


def video_model(family, variant="tps", frames=5, dtype=torch.float64, **options):
    return videoize(image_model(family, dtype=dtype), variant, frames=frames, **options).eval()


def close(a, b, atol=1e-10):
    return torch.allclose(a, b, rtol=0, atol=atol)


# ---------------------------------------------------------------------- image weights are kept


@every_family
def test_one_frame_is_the_image(family):
    image = image_model(family)
    model = videoize(image, "spatial", frames=1).eval()
    clip = random_clip(model, batch=2)
    features, expected = model.forward_features(clip), image.forward_features(clip[:, :, 0])
    assert close(features.reshape(expected.shape), expected)
    assert close(model(clip), image(clip[:, :, 0]))


@every_family
@pytest.mark.parametrize("variant", ["spatial", "tps", "tps+tcs"])
@pytest.mark.parametrize("tubelet", [1, 2])
def test_a_still_clip_is_the_image(family, variant, tubelet):
    """All frames alike: also a circular shift brings nothing new, and inflated tubelets embed the same."""
    if family == "whole blocks" and variant == "tps+tcs":
        pytest.skip("attention and MLP in one: channel shift is refused")
    image = image_model(family)
    model = videoize(image, variant, frames=5 * tubelet, tubelet=tubelet).eval()
    still = random_clip(model, frames=1)
    expected = image.forward_features(still[:, :, 0])
    assert close(model.forward_features(still).reshape(5, *expected.shape[1:]), expected.expand(5, *expected.shape[1:]))
    assert close(model(still), image(still[:, :, 0]))


@every_family
def test_frames_are_independent_images_under_spatial_attention_and_meet_under_tps(family):
    """Changing one frame changes only its own features, until patches are shifted."""
    changed = {}
    for variant in ("spatial", "tps"):
        model = video_model(family, variant, every=1) if variant == "tps" else video_model(family, variant)
        clip = random_clip(model)
        other = clip.clone()
        other[:, :, 2] += 1
        a, b = (model.forward_intermediates(x, intermediates_only=True)[-1] for x in (clip, other))
        changed[variant] = ((a - b).abs().amax((0, 1, 3, 4)) > 1e-9).tolist()
    assert changed["spatial"] == [False, False, True, False, False]
    assert sum(changed["tps"]) > 1


@every_family
def test_patch_shift_knows_the_order_up_to_a_cyclic_shift(family):
    model = video_model(family, "tps")
    clip = random_clip(model)
    assert close(model(clip), model(clip.roll(2, dims=2)))
    assert not close(model(clip), model(clip.flip(2)), atol=1e-7)


# ---------------------------------------------------------------------- cost


@every_family
@pytest.mark.parametrize("fused", [True, False])
def test_closed_form_is_what_both_counters_count(family, fused):
    model = videoize(image_model(family, dtype=torch.float32), "tps", frames=10, tubelet=2)
    set_fused(model, fused)
    macs = count_macs(model, model.clip_shape)
    assert macs.agreed, (macs.by_counter, macs.problems)


@pytest.mark.parametrize("variant", ["joint", "divided"])
@pytest.mark.parametrize("family", [name for name in VIT_LIKE if name not in ("parallel", "whole blocks")])
def test_closed_form_where_the_class_token_is_the_clips(family, variant):
    model = videoize(image_model(family, dtype=torch.float32), variant, frames=3)
    macs = count_macs(model, model.clip_shape)
    assert macs.agreed, (macs.by_counter, macs.problems)


# ---------------------------------------------------------------------- what torch and timm do with a model


# of the same code as others
ALIKE = ("pvt linear", "swin v2", "parallel", "siglip", "deit distilled", "dinov2 registers")


@pytest.mark.parametrize("family", [pytest.param(one, marks=[pytest.mark.slow] * (one in ALIKE)) for one in FAMILIES])
def test_compiled_exported_and_plain_agree(family):
    model = video_model(family, "tps", dtype=torch.float32)
    clip = random_clip(model)
    expected = model(clip)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert close(compiled(clip), expected, 1e-5)
    exported = torch.export.export(model, (clip,), strict=False)
    assert close(exported.module()(clip), expected, 1e-5)


@every_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_on_cpu(family, dtype):
    model = video_model(family, "tps", dtype=torch.float32)
    clip = random_clip(model)
    with torch.autocast("cpu", dtype=dtype):
        logits = model(clip)
    logits.float().sum().backward()
    exact = model(clip)
    assert (logits.float() - exact).abs().max() < 0.1 * exact.abs().max().clamp(min=1)


@every_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_takes_clips_of_its_own_type_only(family, dtype):
    model = video_model(family, "tps", dtype=torch.float32).to(dtype)
    clip = random_clip(model)
    assert model(clip).dtype == dtype
    with pytest.raises(InputError, match=rf"model's type {dtype}, got torch.float32 \(1, 3, 5, "):
        model(clip.float())


@every_family
def test_gradient_checkpointing_changes_no_gradient(family):
    plain = video_model(family, "tps")
    checkpointed = copy.deepcopy(plain)
    checkpointed.set_grad_checkpointing()
    clip = random_clip(plain)
    for model in (plain, checkpointed):
        model(clip).square().sum().backward()
    for (name, p), q in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        if p.grad is None:
            assert q.grad is None, name
        else:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-10, msg=name)


@every_family
def test_state_dict_round_trip(family):
    model, other = video_model(family), video_model(family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    clip = random_clip(model)
    before = other(clip)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(clip), model(clip))
    assert not torch.equal(other(clip), before)


@every_family
def test_classifier_is_replaced_as_timm_does(family):
    model = video_model(family)
    clip = random_clip(model)
    model.reset_classifier(3)
    assert model.num_classes == 3
    assert model.double()(clip).shape == (1, 3)
    heads = model.get_classifier()
    assert {head.out_features for head in (heads if isinstance(heads, tuple) else (heads,))} == {3}
    features = model.forward_head(model.forward_features(clip), pre_logits=True)
    assert features.shape == (1, model.num_features)
    model.reset_classifier(0)
    assert model(clip).shape == (1, model.num_features)
    assert videoize(image_model(family), frames=5, num_classes=4).num_classes == 4


@every_family
def test_feature_maps_of_a_still_clip_are_the_images(family):
    image = image_model(family)
    model = videoize(image, "tps", frames=10, tubelet=2).eval()
    still = random_clip(model, frames=1)
    _, expected = image.forward_intermediates(still[:, :, 0])
    final, maps = model.forward_intermediates(still)
    assert close(final, model.forward_features(still))
    assert len(maps) == len(expected)
    for video, picture in zip(maps, expected, strict=True):
        assert video.shape == (1, picture.shape[1], 5, *picture.shape[2:])
        assert close(video, picture[:, :, None].expand_as(video))
    assert len(model.forward_intermediates(still, indices=1, intermediates_only=True)) == 1


@every_family
def test_layer_wise_learning_rates_follow_the_image_models_layers(family):
    image = image_model(family)
    model = videoize(image, "tps", frames=5, temporal_position=True)
    scale_of = {}
    for of in (image, model):
        names = {id(p): name for name, p in of.named_parameters()}
        groups = param_groups_layer_decay(of, layer_decay=0.5, no_weight_decay_list=of.no_weight_decay())
        scale_of[of] = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    ours = {name.removeprefix("image_model."): scale for name, scale in scale_of[model].items()}
    assert ours.pop("temporal_embed") == min(scale_of[model].values()) < 1
    for name in [name for name in ours if name.endswith("attn.cpb_time")]:  # Swin v2's bias over time
        assert ours.pop(name) == ours[name.replace("cpb_time", "cpb_mlp.0.weight")]
    without_wrappers = {name.replace("attn.attention.", "attn."): scale for name, scale in ours.items()}
    theirs = {name.replace("attn.attention.", "attn."): scale for name, scale in scale_of[image].items()}
    assert len(without_wrappers) == len(theirs)
    assert sorted(without_wrappers.values()) == sorted(theirs.values())


@pytest.mark.parametrize("family", ["vit", "eva02"])
def test_an_extra_step_learns_at_the_rate_of_its_block(family):
    model = video_model(family, "divided")
    names = {id(p): name for name, p in model.named_parameters()}
    scales = {}
    for group in param_groups_layer_decay(model, layer_decay=0.5):
        for p in group["params"]:
            if ".blocks." in names[id(p)]:
                scales.setdefault(names[id(p)].split(".")[2], set()).add(group["lr_scale"])
    assert any(".steps." in name for name in names.values())
    assert list(map(len, scales.values())) == [1, 1]
    assert scales["0"] != scales["1"]


@every_family
def test_temporal_position_starts_at_nothing_and_reaches_every_family(family):
    image = image_model(family)
    model = videoize(image, "spatial", frames=5, temporal_position=True).eval()
    still = random_clip(model, frames=1)
    assert close(model(still), image(still[:, :, 0]))
    model = videoize(image, "spatial", frames=5, temporal_position="sines").eval()
    assert not close(model(still), image(still[:, :, 0]), atol=1e-7)
    clip = random_clip(model)
    assert not close(model(clip), model(clip.flip(2)), atol=1e-7)


# ---------------------------------------------------------------------- what is refused


@every_family
def test_bad_clips_are_refused_with_both_shapes(family):
    model = video_model(family, "tps")
    clip = random_clip(model)
    c, t, h, w = model.clip_shape
    bad = [clip[:, :, 1:], clip[:, :1], clip[..., 1:], clip.transpose(-1, -2) if h != w else clip[..., 1:, :], clip[0]]
    for wrong in bad:
        with pytest.raises(InputError) as error:
            model(wrong)
        assert f"(B, {c}, {t}, {h}, {w})" in str(error.value)
        assert str(tuple(wrong.shape)) in str(error.value)
    with pytest.raises(InputError, match="got NoneType"):
        model(None)


@every_family
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 9, "tubelet": 2}, "multiple of the tubelet's length, got 9 frames, tubelet 2"),
        ({"frames": 4}, "offset -4, which a clip of 4 frames cannot hold"),
        ({"frames": 4, "border": "zero"}, "offset -4, which a clip of 4 frames cannot hold"),
    ],
)
def test_parts_that_do_not_fit_are_refused(family, options, message):
    with pytest.raises(InputError, match=message):
        videoize(image_model(family), "tps", **options)


@pytest.mark.parametrize("family", IN_FRAMES)
@pytest.mark.parametrize("variant", ["joint", "divided", "axial"])
def test_a_family_that_attends_in_frames_names_the_variants_that_fit(family, variant):
    with pytest.raises(InputError, match=rf"{variant} lets tokens.*fit: spatial, tps, tcs, tps\+tcs, tsm"):
        videoize(image_model(family), variant, frames=8)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in VIT_LIKE])
@pytest.mark.parametrize("variant", SHIFTS)
def test_shifts_fit_every_family(family, variant):
    model = video_model(family, variant)
    assert model(random_clip(model)).shape == (1, 7)


def test_the_refusal_leaves_the_image_model_as_it_was():
    image = image_model("pvt")
    model = videoize(image, "tps", frames=5)
    with pytest.raises(InputError):
        type(model)(copy.deepcopy(image), variants()["joint"](), 5)
    assert close(model(random_clip(model)), videoize(image, "tps", frames=5)(random_clip(model)))


# ---------------------------------------------------------------------- names and sizes


def test_every_family_is_listed_by_name():
    import timm.models

    listed = backbones()
    modules = {timm.model_entrypoint(name).__module__ for name in listed if timm.is_model(name)}
    assert {family.__module__ for family in _families()} <= modules
    assert not [name for name in listed if name.startswith(("resnet", "coatnet", "vit_relpos"))]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pvt_v2_b9", "did you mean 'pvt_v2_b"),
        ("resnet50", r"timm.models.resnet.ResNet\) cannot become.*no attention between patches.*can: vit_small"),
        ("convnext_tiny", "no attention between patches was found"),
        ("levit_128", r"no family here knows its attention \(Attention, AttentionDownsample\)"),
        ("vit_relpos_small_patch16_224", "nearest to it: vit_small_patch16_224"),
        ("coatnet_0_224", "only MaxViT can be converted.*this one has MbConvBlock: try one of the timm names"),
        ("vit_tiny_r_s16_p8_224", "this model has HybridEmbed; these can: vit_small_patch16_224"),
    ],
)
def test_a_name_that_cannot_be_made_gets_its_reason(name, hint):
    with pytest.raises(InputError, match=hint):
        create_model(name)


def test_models_named_as_examples_are_of_every_family():
    assert {_family_of(name) for name in EXAMPLES} == set(_families())


@pytest.mark.parametrize(
    ("attention", "options", "hint"),
    [
        ("tps", {"patern": "A"}, "did you mean 'pattern'"),
        ("tps", {"embed_dims": 64}, "did you mean 'embed_dim'"),
        ("spatial", {"pattern": "A"}, r"it is an option of tps, tps\+tcs"),
        ("tps", {"nonsense": 1}, "attention variant 'tps' takes"),
    ],
)
def test_a_mistyped_option_gets_the_nearest(attention, options, hint):
    with pytest.raises(InputError, match=hint):
        create_model("vit_micro", attention, **options)


@pytest.mark.parametrize("family", ["vit", "eva02", "beit", "pvt", "tiny_vit", "maxvit"])
def test_another_size_is_taken_by_every_family(family):
    bigger = (128, 128) if family == "maxvit" else (96, 64) if family in ("pvt", "tiny_vit") else (20, 25)
    model = video_model(family, "tps", size=bigger)
    assert model.clip_shape == (3, 5, *bigger)
    assert model(random_clip(model)).shape == (1, 7)
    name, tiny = FAMILIES[family]
    tiny = {key: value for key, value in tiny.items() if key not in ("img_size", "pretrained_cfg_overlay")}
    if family == "maxvit":  # windows follow from the size
        tiny = {key: value for key, value in tiny.items() if "_size" not in key or key == "head_hidden_size"}
    created = create_model(name, "tps", frames=5, size=bigger, num_classes=7, **tiny)
    assert created.clip_shape == (3, 5, *bigger)


@pytest.mark.parametrize("family", ["swin", "swin v2"])
@pytest.mark.parametrize(("size", "window"), [((40, 24), (4, 2)), ((60, 72), (6, 6))])
def test_bias_tables_of_another_window_size_are_resized_as_timm_does(family, size, window):
    """Windows grow with the map; a still clip is then what timm's resized image model makes of its frame."""
    image = image_model(family)
    model = video_model(family, "tps", size=size)
    image.set_input_size(img_size=size)
    still = random_clip(model, frames=1)
    assert model.image_model.layers[0].blocks[0].attn.grid.window == (1, *window)
    assert close(model(still), image(still[:, :, 0]))


def test_a_size_that_windows_do_not_divide_is_refused():
    with pytest.raises(InputError, match="windows of 8×8 do not divide"):
        videoize(timm.create_model(FAMILIES["maxvit"][0], **FAMILIES["maxvit"][1] | {"img_size": (72, 72)}), frames=8)
