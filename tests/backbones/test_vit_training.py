"""Gradients, weights, checkpointing and autocast of a video model."""

import copy

import pytest
import torch
from tiny_vits import (
    CASES,
    CLASSES,
    VARIANTS,
    random_clip,
    randomised,
    video_model,
)


def without_gradient(model):
    """Names of parameters whose gradient is absent or zero everywhere."""
    weight = torch.randn(2, CLASSES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (model(random_clip()) * weight).sum().backward()
    return [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]


@pytest.mark.parametrize(("variant", "kind"), CASES)
def test_every_parameter_gets_a_gradient(variant, kind):
    idle = without_gradient(randomised(video_model(variant, kind)))
    if variant == "trajectory" and kind == "class token, average":  # patches never see it
        assert idle == ["image_model.cls_token"]
    elif variant == "trajectory" and kind != "no class token":  # as in the original: its last paths reach patches only
        assert {name.rsplit(".", 2)[0] for name in idle} == {"image_model.blocks.1.attn.layers"}
    else:
        assert idle == []


@pytest.mark.parametrize("variant", ["divided", "axial", "l+g", "factorised-self"])
def test_a_fresh_extra_step_trains_its_zero_output_first(variant):
    """out = 0 multiplies all that comes before it, so norm and attention start one update later."""
    model = video_model(variant)
    steps = [name for name, _ in model.named_parameters() if ".steps." in name or ".between." in name]
    zero = ".proj." if variant == "factorised-self" else ".out."
    blocked = {name for name in steps if zero not in name}
    assert set(without_gradient(model)) == blocked != set()


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_dict_round_trip(variant):
    model, other = randomised(video_model(variant, "class token"), seed=2), video_model(variant, "class token")
    assert not torch.equal(model(random_clip()), other(random_clip()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(random_clip()), other(random_clip()))


def test_weights_of_one_pattern_load_into_another():
    """The grouping is no weight: it is not in the state dict, and loading does not bring it along."""
    one, other = video_model("tps(pattern=C)"), video_model("tps(pattern=A)")
    before = other(random_clip())
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(random_clip()), before)
    assert not torch.equal(one(random_clip()), before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_checkpointing_changes_nothing(variant):
    plain = randomised(video_model(variant, "class token"))
    checkpointed = copy.deepcopy(plain)
    checkpointed.set_grad_checkpointing()
    for model in (plain, checkpointed):
        model.train()(random_clip()).square().sum().backward()
    assert torch.equal(plain(random_clip()), checkpointed(random_clip()))
    for (name, p), q in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_autocast(variant):
    model, clip = video_model(variant, "class token").float(), random_clip().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(clip)
    assert logits.dtype == torch.bfloat16
    logits.sum().backward()
    exact = model(clip)
    assert (logits - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("variant", ["aim", "st-adapter"])
def test_adapters_the_last_norm_and_the_head_learn_and_nothing_else_does(variant):
    model = video_model(variant)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    allowed = ("adapter", ".steps.", "temporal_embed", "image_model.norm", "image_model.fc_norm", "image_model.head")
    assert learning
    assert all(any(part in name for part in allowed) for name in learning)
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    assert any("blocks" in name for name in frozen)
    everything = video_model(f"{variant}(frozen=false)")
    assert all(p.requires_grad for p in everything.parameters())


@pytest.mark.parametrize("variant", ["aim", "st-adapter"])
def test_the_weights_of_an_attention_that_is_used_twice_are_saved_once(variant):
    stored = [tensor.data_ptr() for tensor in video_model(variant).state_dict().values()]
    assert len(stored) == len(set(stored))
