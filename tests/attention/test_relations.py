"""Relations: pairs allowed and pairs executed, the block-sparse kernel, refusals, and one of a reader's own."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_blocks import gradient_pattern, random_block, random_tokens, randomised
from timm.models.vision_transformer import Block
from who_meets import CHANNELS, GRID, MEETS, RELATIONS, band_of_frames, band_of_places, by_hand, quick, window_around

from tps_lab import InputError, create_model, videoize
from tps_lab.attention import Grid, _flex, parse
from tps_lab.backbones.vit import install
from tps_lab.measure.macs import count_macs, work

torch.set_num_threads(1)
WITH_CLASS = Grid(5, 2, 3, 1, "clip")


def mixer_of(text):
    return parse(text).block(0, 1)[-1]


# ---------------------------------------------------------------------- who may see whom


@pytest.mark.parametrize("text", RELATIONS)
def test_a_relation_is_no_partition(text):
    seen = mixer_of(text).sees(Grid(8, 6, 6)).astype(int)
    symmetric, transitive = (seen == seen.T).all(), ((seen @ seen > 0) == (seen > 0)).all()
    assert not (symmetric and transitive)


@quick
@given(
    st.builds(Grid, st.integers(1, 9), st.integers(1, 6), st.integers(1, 6)),
    st.integers(0, 4), st.integers(0, 2), st.integers(1, 4), st.integers(1, 3),
)  # fmt: skip
def test_any_window_that_fits_is_the_nearest_places_and_any_other_is_refused(grid, half_t, half, step_t, step):
    sizes, lengths, steps = (
        (2 * half_t + 1, 2 * half + 1, 2 * half + 1),
        (grid.frames, grid.height, grid.width),
        (step_t, step, step),
    )
    mixer = mixer_of(f"natten(window_frames={sizes[0]}, window={sizes[1]}, dilation_frames={step_t}, dilation={step})")
    if all(size * step <= n for size, step, n in zip(sizes, steps, lengths, strict=True)):
        np.testing.assert_array_equal(mixer.sees(grid), by_hand(grid, window_around(sizes, steps)))
        assert set(mixer.sees(grid).sum(1)) == {np.prod(sizes)}
    else:
        with pytest.raises(InputError, match="does not fit an axis of"):
            mixer.sees(grid)


def test_a_window_over_everything_is_joint_attention():
    block = random_block()
    x = random_tokens(2, 30, CHANNELS)
    ours, joint = (
        install(copy.deepcopy(block), parse(text), Grid(5, 2, 3), 0, 1)(x)
        for text in ("sliding-tile(tile_frames=9, tile=9)", "joint")
    )
    torch.testing.assert_close(ours, joint, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("depth", "frames"), [(1, 2), (2, 3), (4, 5)])
def test_reach_of_a_neighbourhood_grows_with_depth(depth, frames):
    """At the clip's end the window is pushed inside, so the first layer reaches two frames, every other one."""
    assert parse("natten(window_frames=3, window=3)").reach(Grid(8, 4, 4), depth) == frames


# ---------------------------------------------------------------------- two costs


@pytest.mark.parametrize("text", [text for text in RELATIONS if text != "svg"])
@pytest.mark.parametrize("grid", [GRID, WITH_CLASS, Grid(5, 3, 7)], ids=str)
def test_pairs_allowed_are_counted_and_pairs_executed_are_all(text, grid):
    found = mixer_of(text).meetings(grid)
    assert found.allowed == by_hand(grid, MEETS[text][-1]).sum()
    assert found.executed == grid.tokens**2
    assert parse(text).macs(grid, 1, 11) == 4 * grid.tokens * 121 + 2 * grid.tokens**2 * 11


def test_pairs_of_two_kinds_of_heads_are_their_mean():
    found = mixer_of("svg").meetings(GRID)
    assert found.allowed == (by_hand(GRID, band_of_frames).sum() + by_hand(GRID, band_of_places).sum()) / 2


@pytest.mark.parametrize("text", ["causal", "local(window_frames=2, window=2)"])
def test_masked_pairs_are_told_from_executed_ones_in_the_same_terms(text):
    """Of a relation and of the parts of rolled windows: executed less idle is what the definition lets meet."""
    model = create_model("vit_micro", text, frames=6, size=32, depth=2)
    mixers = [block.attn.mixer for block in model.image_model.blocks]
    allowed = sum(mixer.meetings(model.grid).allowed for mixer in mixers)
    found = work(model)
    idle = found.idle.get("masked pairs", 0)
    assert found.idle["masked pairs"] > 0
    assert found.products - idle == 2 * 64 * allowed


# ---------------------------------------------------------------------- FlexAttention


@pytest.fixture
def flex(monkeypatch):
    monkeypatch.setenv("TPS_LAB_RELATIONS", "flex")
    monkeypatch.setattr(_flex, "BLOCK", 16)


@pytest.fixture
def uncompiled(monkeypatch):
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr(_flex, "_compiled", lambda: flex_attention)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("text", RELATIONS)
@pytest.mark.parametrize("grid", [Grid(5, 2, 3), WITH_CLASS, Grid(6, 4, 4, 2, "clip")], ids=str)
def test_flex_attention_is_dense_masked_attention(text, grid, flex, uncompiled, monkeypatch):
    sparse = mixer_of(text).module(random_block().attn, grid)
    monkeypatch.delenv("TPS_LAB_RELATIONS")
    dense = mixer_of(text).module(random_block().attn, grid)
    assert type(sparse) is not type(dense)
    x = random_tokens(2, grid.tokens, CHANNELS)
    with torch.no_grad():
        torch.testing.assert_close(sparse(x), dense(x), rtol=0, atol=1e-11)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    sparse(a).sin().sum().backward()
    dense(b).sin().sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-11)


@torch.no_grad()
def test_flex_attention_compiled_is_dense_masked_attention(monkeypatch):
    grid = Grid(6, 6, 6, 1, "clip")
    block = Block(32, 2, qkv_bias=True)  # its kernels take heads of 16 channels and more
    found = []
    for kernel in ("flex", "dense"):
        monkeypatch.setenv("TPS_LAB_RELATIONS", kernel)
        found.append(mixer_of("natten").module(copy.deepcopy(block).attn, grid)(torch.ones(1, 217, 32).cumsum(1).sin()))
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", ["natten", "svg"])
def test_masks_of_one_relation_and_of_several_lie_alike_in_memory(text, flex):
    """A compiled kernel is one of its tensors' strides: svg's, compiled after natten's, failed on a CPU."""
    _, _, allowed, _ = _flex._plan(mixer_of(text), Grid(4, 4, 4), torch.device("cpu"))
    assert allowed[0].is_contiguous()


@pytest.mark.parametrize(("text", "grid"), [("causal", Grid(8, 4, 4)), ("natten", Grid(8, 4, 4, 1, "clip"))])
def test_blocks_are_counted_as_flex_attention_counts_them(text, grid, flex):
    mixer = mixer_of(text)
    *_, masks = _flex._plan(mixer, grid, torch.device("cpu"))
    blocks = masks[0].kv_num_blocks.sum() + masks[0].full_kv_num_blocks.sum()
    assert mixer.meetings(grid).executed == int(blocks) * 16**2


def test_a_sliding_tile_executes_what_it_allows(flex):
    """Tiles of 2×2×4 patches fill blocks of 16 and divide the clip."""
    found = mixer_of("sliding-tile(tile_frames=4, tile=2)").meetings(Grid(16, 6, 6))
    assert found.executed == found.allowed < 576**2
    other = mixer_of("natten(window_frames=9, window=3)").meetings(Grid(16, 6, 6))
    assert other.executed > other.allowed


# ---------------------------------------------------------------------- models


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "vit_dlittle_patch16_reg1_gap_256"]
)
def test_every_attention_that_takes_a_mask_takes_a_relation(name):
    """timm's plain, rotary and differential attention: the gradient is the relation."""
    import timm

    image = timm.create_model(name, img_size=(10, 15), patch_size=5, embed_dim=16, depth=1, num_heads=2)
    model = randomised(videoize(image, "causal", frames=5).double().eval())
    grid, site = model.grid, model.image_model.blocks[0].attn
    rope = {"rope": model.rotations()[0]} if hasattr(model, "rotations") else {}
    seen = gradient_pattern(lambda x: site(x, **rope), grid.tokens)
    np.testing.assert_array_equal(seen, site.mixer.sees(grid))


def test_blocks_share_one_mask_also_on_another_device_and_it_is_not_saved():
    model = create_model("vit_micro", "radial(every=2)", frames=8, depth=4)
    masks = {id(block.attn.mask.allowed) for block in model.to("meta").image_model.blocks if block.attn.mask}
    assert len(masks) == 1
    assert not any("allowed" in name for name in model.state_dict())


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("natten(window_frames=9)", "window_frames=9.* does not fit an axis of 8: at most window_frames=8"),
        ("natten(window=3, dilation=2)", "does not fit an axis of 4: at most window=2"),
        ("natten(dilation_frames=9)", "a dilation of 1 to 8"),
        ("sliding-tile(window_frames=5)", "does not fit an axis of 4: at most window_frames=4"),
    ],
)
def test_a_window_that_is_larger_than_the_clip_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        create_model("vit_micro", text, frames=8, size=32)


def test_heads_that_two_kinds_cannot_share_are_refused():
    with pytest.raises(InputError, match="divides the heads among 2 relations, and this model has 3"):
        install(Block(12, 3), parse("svg"), GRID, 0, 1)


def test_windows_refuse_a_relation_and_say_what_fits():
    with pytest.raises(InputError, match="causal is not defined inside windows; these are: spatial, tps"):
        create_model("swin_micro", "causal")
    with pytest.raises(InputError, match="variants that fit: spatial, tps, tcs"):
        create_model("pvt_v2_b0", "causal", frames=4)


def test_rotary_positions_need_plain_attention_and_no_windows():
    for backbone, message in (("vit_small_patch16_dinov3", "this model has EvaAttention"), ("swin_micro", "bias")):
        with pytest.raises(InputError, match=message):
            create_model(backbone, "joint(rotary=true)", frames=4)


@pytest.mark.parametrize("text", ["joint", "divided", "causal"])
def test_rotary_positions_replace_the_embedding_of_time_and_counters_agree(text):
    model = create_model("vit_micro_cls", f"{text}(rotary=true)", frames=5)
    assert model.temporal_embed is None
    assert count_macs(model, model.clip_shape).agreed
    assert create_model("vit_micro", text, frames=5).temporal_embed is not None


def test_an_unknown_kernel_is_refused(monkeypatch):
    monkeypatch.setenv("TPS_LAB_RELATIONS", "flexx")
    with pytest.raises(InputError, match="did you mean 'flex'"):
        mixer_of("causal")
