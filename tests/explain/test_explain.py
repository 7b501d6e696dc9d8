"""Certificates hold on random models in float64, and are as strong as the mixing allows."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from here import here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tps_lab import attention, videoize
from tps_lab.data import parse
from tps_lab.explain import Symmetry, explain, mixing
from tps_lab.explain import ceiling as ceiling_of
from tps_lab.training.config import make
from tps_lab.training.model import build

torch.set_num_threads(1)

T, SIZE = 6, (15, 20)  # patches of 5 pixels: 3 × 4
IMAGE = {"img_size": SIZE, "patch_size": 5, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 1.5}
HEADS = {"avg": {"class_token": False, "global_pool": "avg"}, "token": {}, "map": {"global_pool": "map"}}
# derived: those whose mixing is a partition of tokens; the tile C needs more patches than 2 × 2
DERIVED = [
    "spatial", "tps", "tps(every=1)", "tps(pattern=A, every=1)", "tps(pattern=0 1 / 0 3, every=1)", "tps(border=zero)",
    "tps(pattern=A, border=edge)", "tps(shift_back=false, pattern=A)", "joint", "joint(every=2)", "divided", "axial",
    "local(window_frames=2, window=2)", "local(window_frames=3, moved=false)", "l+g", "factorised-self",
    "factorised-encoder(layers=1)",
    # and those whose mixing is a relation
    "natten", "natten(window_frames=3, window=3, every=2)", "sliding-tile", "radial", "radial(sink=false)", "svg",
    "causal", "first-and-previous",
    # and what is neither, but says which relations it is made of
    "factorised-dot", "tcs", "tsm", "tps+tcs(pattern=A)", "xvit", "tokshift", "trajectory", "areas", "mem", "zeroi2v",
    "zeroi2v(far=2)", "leap", "aim", "st-adapter",
    # rotary positions tell frames apart where they meet, without a learned embedding
    "joint(rotary=true)", "divided(rotary=true)", "natten(rotary=true, window_frames=3)", "causal(rotary=true)",
]  # fmt: skip


def model_of(variant, head="avg", time=False, depth=2, frames=T, seed=0):
    """Random and nowhere zero, so that no weight hides a difference."""
    torch.manual_seed(seed)
    image = timm.create_model("vit_tiny_patch16_224", num_classes=4, depth=depth, **IMAGE, **HEADS[head]).double()
    model = videoize(image, variant, frames=frames, temporal_position=time).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.4 * torch.randn_like(p) + (name.endswith("weight") and p.ndim == 1))
    return model


def fits(variant, head):
    needs = attention.parse(variant).needs_class_token
    return head == "token" or not needs


def answers(model, *orders):
    clip = torch.randn(1, 3, T, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        return [model(clip[:, :, list(order)])[0] for order in orders]


def alike(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", DERIVED)
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(list(HEADS)), st.booleans(), st.permutations(range(T)), st.integers(2, 3))
def test_an_order_is_kept_exactly_if_a_random_model_keeps_it(variant, head, time, order, depth):
    if not fits(variant, head):
        return
    model = model_of(variant, head, time, depth)
    found = mixing(model)
    # besides the drawn one, those that groups are made of
    shift = [*range(1, T), 0]
    for chosen in (list(range(T)), order, shift, list(range(T))[::-1], [1, 0, *range(2, T)], [2, 1, 0, *range(3, T)]):
        before, after = answers(model, range(T), chosen)
        claimed = found.keeps(chosen)
        assert claimed == alike(before, after), (variant, chosen)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("variant", ["natten", "causal", "first-and-previous"])
def test_the_last_block_counts_as_far_as_the_class_token_shows_it(variant, rotary):
    """In the last block only the class token is read; rotary positions alone tell its frames apart."""
    last = f"{variant}(every=2, rotary={str(rotary).lower()})"
    for order in ([1, 2, 3, 4, 5, 0], [5, 4, 3, 2, 1, 0], [1, 0, 2, 3, 4, 5]):
        for depth, shows in ((2, rotary), (3, True)):
            model = model_of(last, "token", depth=depth)
            kept = alike(*answers(model, range(T), order))
            assert mixing(model).keeps(order) == kept, (depth, order)
            assert kept or shows, (depth, order)


@pytest.mark.parametrize("variant", DERIVED)
def test_the_whole_claimed_group_is_kept_and_its_words_are_true(variant):
    model = model_of(variant, "avg" if fits(variant, "avg") else "token")
    found = mixing(model)
    rng = np.random.default_rng(0)
    orders = [range(T)]
    for _ in range(3):
        order = np.arange(T)
        for members in found.symmetry.classes:
            order[list(members)] = rng.permutation(members)
        order = np.roll(order, found.symmetry.period * rng.integers(T // found.symmetry.period))
        orders.append(order[::-1] if found.symmetry.reversible else order)
    first, *others = answers(model, *(np.asarray(o).tolist() for o in orders))
    assert all(alike(first, other) for other in others)
    assert (str(found.symmetry) == "any permutation of frames") == (len(found.symmetry.classes) == 1)


@pytest.mark.parametrize(
    ("variant", "after"),
    [
        ("spatial", None), ("tps", 2), ("tps(every=1)", None), ("tps(pattern=A, border=edge)", 2), ("tcs", 1),
        ("tsm", 1), ("tps+tcs(pattern=A)", 1), ("divided", 1), ("joint", 1), ("joint(every=2)", 1), ("mem", 1),
        ("tokshift", 2), ("xvit", 1), ("local(window_frames=2, window=2)", 1), ("axial", 1), ("natten", 1),
    ],
)  # fmt: skip
def test_when_a_patch_meets_its_own_place_at_another_time(variant, after):
    """Said of the variant, and seen in a random model's gradients from block to block."""
    for head in HEADS:
        if fits(variant, head):
            model = model_of(variant, head, depth=4)
            assert mixing(model).own_place_after == after, head
    seen = {blocks for blocks in (1, 2, 3, 4) for first in range(5 - blocks) if _moves_own_place(model, first, blocks)}
    assert min(seen, default=None) == after


def _moves_own_place(model, first, blocks):
    grid, place = model.grid, 5  # a patch in the middle of a frame, behind the frame's prefix
    torch.manual_seed(0)
    x = torch.randn(1, grid.tokens, 16, dtype=torch.float64, requires_grad=True)
    y = x
    for block in model.image_model.blocks[first : first + blocks]:
        y = block(y)
    tokens = [grid.clip_prefix + t * grid.per_frame + grid.prefix - grid.clip_prefix + place for t in range(T)]
    met = 0
    for token in tokens:
        (moved,) = torch.autograd.grad(y[0, token].sum(), x, retain_graph=True)
        met += any(moved[0, other].any() for other in tokens if other != token)
    return 2 * met >= T


@pytest.mark.parametrize("variant", DERIVED)
def test_nothing_outside_a_window_has_influence(variant):
    model = model_of(variant, "avg" if fits(variant, "avg") else "token")
    found = mixing(model)
    grid = model.grid
    clip = torch.randn(1, 3, T, *SIZE, dtype=torch.float64, requires_grad=True)
    features = model.forward_features(clip)[0, grid.clip_prefix :].reshape(T, grid.per_frame, -1)
    influence = model.variant.influence(grid, 2)[grid.clip_prefix :, grid.clip_prefix :]
    frames = influence.reshape(T, grid.per_frame, T, grid.per_frame).any(3)
    for t in range(T):
        for place in range(0, grid.per_frame, 5):
            (gradient,) = torch.autograd.grad(features[t, place].sin().sum(), clip, retain_graph=True)
            moved = gradient[0].abs().amax((0, 2, 3)) > 0
            assert not (moved.numpy() & ~frames[t, place]).any()
            if found.windows:
                assert any(np.array_equal(window[t], frames[t, place]) for window in found.windows)


TASKS = ["order(gap=1)", "order(gap=2)", "order(gap=3)", "first(hold=1)", "match(gap=1)", "direction"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(DERIVED), st.sampled_from(list(HEADS)), st.sampled_from(TASKS), st.integers(2, 3), st.booleans())
def test_a_certificate_holds_for_a_random_model_on_the_very_clips(variant, head, task, depth, time):
    if not fits(variant, head):
        return
    clips = parse(task, frames=T, size=8, train=12, val=12, test=12).opened()
    model = model_of(variant, head, time, depth)
    found = mixing(model)
    certificate = ceiling_of(found, clips)
    x, _ = clips.batch("test", torch.arange(clips.size("test")))
    x = torch.nn.functional.interpolate(x[:, :, :, :8, :8].flatten(0, 1).double(), SIZE).reshape(-1, 3, T, *SIZE)
    with torch.no_grad():
        logits = model(x)
    shown = clips.pictures_shown()
    different = 0
    for scene, numbers in enumerate(shown):
        own = logits[clips.clips_per_scene * scene : clips.clips_per_scene * (scene + 1)]
        for i, j in ((1, 0),):
            if found.alike(numbers[j], numbers[i]):
                assert alike(own[i], own[j]), (variant, task)
        different += 1 + (not found.alike(numbers[0], numbers[1]))
    assert (certificate.ceiling_pct or 100) == pytest.approx(100 * different / shown[..., 0].size)


@pytest.mark.parametrize(
    ("attention", "data", "ceiling"),
    [
        ("spatial", "direction", 50),
        ("spatial", "speed", 25),
        ("tps(pattern=A, every=1)", "order(gap=4)", 50),  # one layer of pattern A reaches two frames
        ("tps(pattern=A, every=1)", "order(gap=2)", None),
        ("tps(pattern=A)", "order(gap=4)", None),  # two layers reach four
        ("tps(pattern=A)", "match(gap=5)", None),
        ("tps", "order(gap=8)", 50),  # half round the ring
        ("tps(border=zero)", "order(gap=8)", None),
        ("joint", "order", None),
    ],
)
def test_what_can_be_said_about_models_that_people_train(attention, data, ceiling):
    found = explain(make({"attention": attention, "data": f"{data[:-1]}, test=96)" if "(" in data else data}))
    assert found.ceiling.ceiling_pct == ceiling
    assert ("cannot exceed" in found.text()) == (ceiling is not None)


@pytest.mark.parametrize("frames", [2, 4, 8, 12])
@pytest.mark.parametrize("variant", ["spatial", "tps(pattern=0 1)", "tsm", "joint", "tps(pattern=0 1, border=edge)"])
def test_with_tubelets_all_that_is_said_is_of_frames(variant, frames):
    """What a model of time steps keeps is tried on its frames, whose order inside a step it does see."""
    if frames == 2 and "pattern" in variant:
        return
    torch.manual_seed(0)
    image = timm.create_model("vit_tiny_patch16_224", num_classes=4, depth=2, **IMAGE, **HEADS["avg"]).double()
    model = videoize(image, variant, frames=frames, tubelet=2, temporal_position=False).double().eval()
    clip = torch.randn(1, 3, frames, *SIZE, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.4 * torch.randn_like(p) + (name.endswith("weight") and p.ndim == 1))
        answer = model(clip)
        tried = Symmetry.find(frames, lambda order: alike(answer, model(clip[:, :, list(order)])))
    found = mixing(model)
    assert found.symmetry_of_frames == tried
    assert not tried.blind
    features, reach, span = model.forward_features(clip)[0].reshape(frames // 2, 12, -1), 0, 0
    for step, place in np.ndindex(frames // 2, 12):
        (gradient,) = torch.autograd.grad(features[step, place].sin().sum(), clip, retain_graph=True)
        seen = gradient[0].abs().amax((0, 2, 3)).nonzero()[:, 0].tolist()
        apart = np.abs(np.arange(frames)[:, None] - np.arange(frames))
        if tried.period < frames or variant == "tps(pattern=0 1)":
            apart = np.minimum(apart, frames - apart)
        reach = max(reach, *(min(apart[t, 2 * step], apart[t, 2 * step + 1]) for t in seen))
        span = max(span, *(apart[t, u] for t in seen for u in seen))
    assert (found.reach, found.span) == (reach, span)


def test_tubelets_in_the_words_of_explain():
    """Swapping the two frames of a tubelet changes the answer even of a model whose frames never meet."""
    config = {"attention": "spatial", "data": "order(test=96, frames=8)", "tubelet": 2}
    said = explain(make(config)).text()
    assert "permutations of its 4 steps of 2 frames" in said
    assert "any order of the frames" not in said
    assert "its own step of 2 frames only, after 4 blocks" in said
    assert "after 1 block;" in explain(make(config | {"attention": "tsm"}), 1).text()


def test_a_position_behind_the_blocks_is_no_position_before_them():
    """A factorised encoder's embedding of time joins the frames' embeddings: its blocks see single frames."""
    found = explain(make({"attention": "factorised-encoder(layers=1)", "data": "order(test=96)"}))
    assert found.facts()["order_from"] == "behind the last block"
    assert "sees order only behind the last block" in found.text()


def test_tubelets_hide_the_order_inside_them():
    clips = parse("direction", frames=12, test=48).opened()
    model = model_of("spatial")
    assert ceiling_of(mixing(model), clips, tubelet=2).ceiling_pct is None  # each tubelet sees the motion


def test_tubelets_see_what_a_data_set_caps_for_models_blind_to_frames():
    """A data set that says nothing of single clips caps what is blind to the order of frames, not of tubelets."""
    clips = SimpleNamespace(
        pictures_shown=lambda _: None, clips_per_scene=1, ceiling=0.5, ceiling_reason="half are played backwards"
    )
    for tubelet, capped in ((1, 50), (2, None)):
        config = {"attention": "spatial", "data": "order(frames=8, test=96)", "tubelet": tubelet}
        assert (
            ceiling_of(mixing(build(make(config), parse(config["data"]).opened())), clips, tubelet).ceiling_pct
            == capped
        )


def test_windows_are_not_covered_and_say_so():
    found = explain(make({"backbone": "beit_base_patch16_224", "attention": "spatial", "data": "direction(size=32)"}))
    assert found.ceiling.ceiling_pct is None
    assert "proofs do not cover" in found.ceiling.reason


def test_from_the_command_line(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("attention: spatial\ndata: order(test=96)\n")
    facts = json.loads(here("explain", file, "--frames", 8, "--depth", 2, "--json").stdout)
    assert facts["ceiling_pct"] == 50
    assert facts["symmetry"] == "any permutation of frames"
    assert facts["needed_reach"] is None  # 4 of 8 frames is half the ring
