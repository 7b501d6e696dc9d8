"""What models say of themselves against what their partitions say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tps_lab import create_model
from tps_lab.attention import Grid, parse, receptive_field, variants
from tps_lab.errors import InputError
from tps_lab.measure.inspection import attention_of_token, receptive_field_by_gradient, token_index

GRID = (10, 2, 3)


@pytest.mark.parametrize(
    "name", [*(n for n in variants() if n != "factorised-encoder"), "tps(every=1, border=zero, pattern=A)"]
)
def test_gradients_reach_what_the_variant_says(name):
    variant = parse(name)
    grid = Grid(*GRID, int(variant.needs_class_token), variant.prefix_of)
    token = (4, 1, 1)
    stated = receptive_field(variant, grid, 2, token_index(grid, token))
    is_patch = np.concatenate([np.zeros(grid.clip_prefix, bool), grid.coordinates()[1] >= 0])
    for found, row in zip(receptive_field_by_gradient(variant, GRID, 2, token), stated, strict=True):
        assert np.array_equal(found.ravel(), row[is_patch])


@pytest.mark.parametrize("name", ["spatial", "tps(pattern=A)", "joint", "divided", "local(window_frames=3, window=2)"])
@pytest.mark.parametrize("class_token", [False, True])
def test_attention_weights_are_those_of_the_softmax(name, class_token):
    if class_token and name.startswith("divided"):
        pytest.skip("the class token's share is averaged over frames; its row is another test's")
    backbone = "vit_micro_cls" if class_token else "vit_micro"
    model = create_model(backbone, name, frames=5, size=(16, 24), num_classes=2).eval()
    clip = torch.randn(2, 3, 5, 16, 24)
    token = (3, 1, 2)
    weights = attention_of_token(model, clip, 1, token)
    assert weights.shape == (4, 5, 2, 3)
    sums = weights.sum((1, 2, 3))
    assert (sums < 1).all() if class_token else np.allclose(sums, 1, atol=1e-6)
    sees = model.variant.block(1, 4)[-1].sees(model.grid)[token_index(model.grid, token)]
    is_patch = np.concatenate([np.zeros(model.grid.clip_prefix, bool), model.grid.coordinates()[1] >= 0])
    assert np.array_equal(weights.mean(0).ravel() > 0, sees[is_patch])


def test_weights_of_plain_spatial_attention_by_hand():
    model = create_model("vit_micro", "spatial", frames=2, size=(16, 24), num_classes=2).eval()
    clip = torch.randn(1, 3, 2, 16, 24)
    vit = model.image_model
    with torch.no_grad():
        x = model.embed(clip)[:, 6:]  # frame 1
        block = vit.blocks[0]
        q, k, _ = block.attn.attention.qkv(block.norm1(x)).reshape(6, 3, 4, 16).unbind(1)
        expected = torch.einsum("hd,khd->hk", q[4], k).div(4).softmax(-1)
    found = attention_of_token(model, clip, 0, (1, 1, 1))
    assert np.allclose(found[:, 1].reshape(4, 6), expected, atol=1e-6)
    assert not found[:, 0].any()


def test_what_cannot_be_shown_says_so():
    model = create_model("vit_micro", "xvit", frames=5, size=16, num_classes=2)
    clip = torch.randn(1, 3, 5, 16, 16)
    with pytest.raises(InputError, match="groups around timm's Attention"):
        attention_of_token(model, clip, 0, (0, 0, 0))
    with pytest.raises(InputError, match="block must be 0 to 3, got 9"):
        attention_of_token(model, clip, 9, (0, 0, 0))
    with pytest.raises(InputError, match="is not in a grid"):
        receptive_field_by_gradient("spatial", GRID, 1, (0, 9, 0))
