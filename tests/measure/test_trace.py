"""Kernels, bytes, parts and roofline times: each figure by formula and by trace."""

import json

import pytest
import torch
from torch import nn

import tps_lab.cli  # noqa: F401  (its commands)
from tps_lab.cli._shared import app
from tps_lab.errors import InputError
from tps_lab.measure import roofline
from tps_lab.measure.cost_figures import views_of
from tps_lab.measure.macs import work
from tps_lab.measure.step import Step
from tps_lab.measure.trace import OPERATIONS, Kernel, Trace, breakdown, trace

VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2, "num_classes": 7}


class Model(nn.Module):
    """Any function of a clip, as `trace` takes models."""

    clip_shape = (3, 4, 5, 7)

    def __init__(self, function, *layers):
        super().__init__()
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, clip):
        return self.function(clip, *self.layers)


CLIP = 4 * 3 * 4 * 5 * 7  # bytes of one clip


def moved(function, *layers):
    found = trace(lambda: Model(function, *layers))
    without = trace(lambda: Model(lambda clip, *layers: clip.view(-1), *layers))
    assert without.bytes() == 0
    return found.bytes()


def test_views_are_free_and_copies_are_not():
    assert moved(lambda clip: clip.transpose(1, 2).unflatten(2, (1, 3))[:, 1:].expand(2, -1, -1, -1, -1, -1)) == 0
    assert moved(lambda clip: clip.clone()) == 2 * CLIP
    assert moved(lambda clip: clip.roll(1, 2)) == 2 * CLIP
    assert moved(lambda clip: torch.empty_like(clip)) == 0
    assert moved(lambda clip: torch.zeros_like(clip).add_(clip)) == CLIP + 3 * CLIP


def test_a_broadcast_is_read_once_and_a_gather_reads_its_rows():
    assert moved(lambda clip: clip + clip[:, :1, :1].expand_as(clip)) == 2 * CLIP + 4 * 5 * 7
    made = 2 * 3 * 8  # rows 0, 1, 2 are made, and read
    assert moved(lambda clip: clip.index_select(2, torch.arange(3))) == 2 * CLIP * 3 // 4 + made


def test_a_linear_layer_moves_its_input_weights_and_output():
    assert moved(lambda clip, layer: layer(clip), nn.Linear(7, 11)) == CLIP + CLIP // 7 * 11 + 4 * (7 * 11 + 11)


@pytest.fixture(scope="module")
def steps():
    """A training step of one ViT, fused and not."""
    return {fused: trace(vit, Step(fused=fused)) for fused in (True, False)}


def vit(name="tps(pattern=A)", **options):
    from tps_lab import create_model

    return create_model("vit_micro", name, frames=3, **VIT | options)


def test_fused_attention_moves_what_stands_in_the_papers_table(steps):
    tokens, heads, blocks = 3 * 16, 2, 2
    kernels = [kernel for kernel in steps[True].kernels if "attention" in kernel.name]
    qkvo, per_query = 4 * 4 * tokens * 24, 4 * heads * 3 * 32  # timm's kernel rounds 16 queries up to 32
    forward = [kernel for kernel in kernels if kernel.phase == "forward"]
    # the last two: seed and offset of dropout, 8 bytes each
    assert [kernel.bytes for kernel in forward] == [qkvo + per_query + 16] * blocks
    backward = [kernel for kernel in kernels if kernel.phase == "backward"]
    # queries, keys, values, result, its gradient; the gradients of the first three
    assert [kernel.bytes for kernel in backward] == [2 * qkvo + per_query + 16] * blocks
    assert [kernel.macs for kernel in backward] == [5 * 3 * 16 * 16 * 24] * blocks


def test_unfused_attention_moves_its_scores_too(steps):
    scores = 4 * 2 * 3 * 16 * 16
    more = steps[False].bytes("forward") - steps[True].bytes("forward")
    assert more >= 2 * 4 * scores  # written and read by the product, the softmax and the sum, in two blocks


def test_a_shift_costs_no_multiply_add_and_two_passes_over_the_tokens():
    shifted, spatial = (trace(lambda name=name: vit(name)) for name in ("tps(pattern=A, every=1)", "spatial"))
    assert shifted.macs() == spatial.macs()
    tokens = 3 * 16
    # there and back, in two blocks: rows read, rows written, one index each
    assert shifted.bytes() - spatial.bytes() >= 2 * 2 * (2 * 4 * tokens * 24 + 8 * tokens)


def test_parts_add_up_and_are_the_closed_forms(steps):
    step, parts = steps[True], breakdown(steps[True])
    with torch.device("meta"):
        model = vit()
    formula, closed = work(model), model.closed_form_macs()

    def total(operation, column="macs"):
        return sum(getattr(part, column) for part in parts if part.operation == operation)

    assert {part.operation for part in parts} <= set(OPERATIONS)
    assert sum(part.macs for part in parts) == formula.executed["forward"]
    assert sum(part.backward_macs for part in parts) == formula.executed["backward"]
    assert sum(part.bytes + part.backward_bytes for part in parts) == step.bytes()
    assert sum(part.activation_bytes for part in parts) == sum(step.kept.values())
    assert total("attention products") == formula.products
    assert total("attention products", "backward_macs") == 2 * formula.products + formula.recomputed
    assert total("mlp") == closed["mlp"]
    assert total("mlp", "backward_macs") == 2 * closed["mlp"]
    assert total("embed", "backward_macs") == total("embed") == closed["patch embedding"]
    assert total("head") == closed["head"]
    assert total("qkv") == 3 * total("proj") == closed["attention"] * 3 // 4 - formula.products * 3 // 4
    assert total("shift, copies") == total("norm") == total("residual") == 0 < total("shift, copies", "bytes")


def test_activations_that_are_kept_are_those_of_a_block(steps):
    tokens = 3 * 16 * 24 * 4  # bytes of all tokens
    kept = {part.operation: part.activation_bytes for part in breakdown(steps[True]) if part.stage == "block 2"}
    # normed tokens into the first linear layer; GELU's input and output, twice as wide, are the second one's input
    assert kept["mlp"] == (1 + 2 * 2) * tokens
    assert kept["qkv"] == tokens
    # each norm's input, which is the residual stream, and two float32 a token
    assert kept["norm"] == 2 * (tokens + 2 * 4 * 3 * 16)


def test_checkpointing_runs_blocks_again_and_keeps_less(steps):
    again = trace(vit, Step(checkpointing=True))
    plain = steps[True]
    assert again.macs("forward") == plain.macs("forward")
    blocks = sum(macs for name, macs in vit().closed_form_macs().items() if name in ("attention", "mlp"))
    assert 0.5 * blocks < again.macs("backward") - plain.macs("backward") <= blocks
    assert sum(again.kept.values()) < sum(plain.kept.values())


def test_autocast_halves_most_of_what_is_moved(steps):
    half = trace(vit, Step(training=False, precision="bf16"))
    assert half.macs() == steps[True].macs("forward")
    assert half.bytes() < 1.2 * steps[True].bytes("forward")


def test_an_unknown_operator_stops_the_trace_by_name():
    with pytest.raises(NotImplementedError, match=r"aten\.cumsum"):
        trace(lambda: Model(lambda clip: clip.cumsum(0)))


# ---------------------------------------------------------------------- roofline


def test_a_kernel_takes_the_longer_of_its_two_times():
    on = roofline.Device("toy", {"fp32": ((1.0, 100.0),)}, ((1.0, 10.0),), launch=1.0, source="made up")
    busy, moving = Kernel("aten.mm", "forward", "", 200, 5, 5), Kernel("aten.add", "backward", "", 0, 20, 10)
    found = roofline.estimate(Trace(Step(), [busy, moving]), on)
    assert found.ms == pytest.approx(1e3 * (4 + 3 + 2))
    assert found.forward_ms == pytest.approx(1e3 * (4 + 1))
    assert found.memory_bound == pytest.approx(4 / 9)


def test_rates_between_sizes():
    curve = ((10.0, 1.0), (1000.0, 100.0))
    assert roofline.rate(curve, 100.0) == pytest.approx(10.0)
    assert roofline.rate(curve, 1.0) == pytest.approx(1.0)
    assert roofline.rate(curve, 1e9) == pytest.approx(100.0)


def test_devices_and_precisions_that_are_not_there():
    with pytest.raises(InputError, match="h100"):
        roofline.device("h10")
    with pytest.raises(InputError, match="T4 has no bf16"):
        roofline.estimate(Trace(Step(training=False)), roofline.DEVICES["t4"], "bf16")


# ---------------------------------------------------------------------- command line


@pytest.mark.parametrize(("given", "views"), [(None, 1), ("3x4", 12), ("3×1", 3), ("10", 10)])
def test_views(given, views):
    assert views_of(given) == views


@pytest.mark.parametrize("given", ["0", "3x", "a", "2x2x2"])
def test_no_views(given):
    with pytest.raises(InputError, match="views"):
        views_of(given)


def test_cost_without_running(capsys, tmp_path):
    picture = tmp_path / "breakdown.png"
    asked = ["cost", "--backbone", "swin_micro", "--attention", "tps(pattern=A)", "--size", "40", "--views", "3x4",
             "--device-model", "h100", "--breakdown"]  # fmt: skip
    app([*asked, "--save", str(picture), "--json"], standalone_mode=False)
    facts = json.loads(capsys.readouterr().out)
    assert facts["macs_all_views"] == 12 * facts["macs"]
    assert facts["work"]["status"] == {"forward": "agreed", "forward + backward": "agreed"}
    assert (
        facts["work"]["executed"]["forward"] - sum(facts["work"]["idle_forward"].values())
        == (facts["work"]["model"]["forward"])
    )
    assert facts["work"]["idle_forward"]["padding"] > 0  # 10 × 10 patches in windows of 3
    assert facts["traffic_bytes"]["optimizer"] == 28 * facts["params"]
    assert facts["roofline"]["h100"]["training"]["ms"] > facts["roofline"]["h100"]["inference"]["ms"]
    assert sum(part["macs"] for part in facts["breakdown"]) == facts["macs"]
    assert picture.stat().st_size > 10_000
    with pytest.raises(InputError, match="T4 has no bf16"):
        app([*asked, "--device-model", "t4", "--precision", "bf16"], standalone_mode=False)
