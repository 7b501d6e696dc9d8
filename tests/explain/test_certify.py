"""Certificates of any model: no false alarm where the truth is known, and every planted fault found."""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from here import here
from test_explain import DERIVED, SIZE, fits, model_of
from test_explain import T as SHORT
from torch import nn
from torch.nn import functional as F

import tps_lab
from tps_lab import viz
from tps_lab.errors import InputError
from tps_lab.explain import mixing
from tps_lab.explain.bench import Layout, moments
from tps_lab.explain.subjects import SUBJECTS, PerFrame

torch.set_num_threads(1)

T, C = 8, 12
SHAPE = (3, T, 8, 8)
# of the same kinds as others, and take longer than they
LONG = {
    *("timm:resnet18", "timm:resnet18:max"),
    *(f"torchvision:{name}" for name in ("mc3_18", "mvit", "r2plus1d_18", "r3d_18", "s3d", "swin3d_t")),
    *(f"transformers:{name}" for name in ("qwen2-vl", "qwen2-vl-tower", "qwen2.5-vl", "qwen2.5-vl-tower")),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SUBJECTS])
def test_no_false_alarm(name):
    subject = SUBJECTS[name]
    pytest.importorskip(name.partition(":")[0] if ":" in name else "tps_lab")
    torch.manual_seed(0)
    found = tps_lab.certify(subject.make(), subject.shape, axes=subject.axes)
    assert found.kind == subject.truth, found.text()
    assert not found.faults


@pytest.mark.parametrize("variant", DERIVED)
def test_proof_and_certificate_say_the_same(variant):
    model = model_of(variant, "avg" if fits(variant, "avg") else "token")
    proof, found = mixing(model), tps_lab.certify(model, (3, SHORT, *SIZE))
    assert found.symmetry == proof.symmetry
    assert found.symmetry.verdict(found.inside.order_from if not found.symmetry.blind else "") == (
        proof.symmetry.verdict(proof.order_from)
    )
    if proof.windows:
        assert not (found.inside.fields & ~np.any(proof.windows, axis=0)).any()  # a proof says what cannot arrive


def test_proof_and_certificate_of_an_embedding_of_time():
    model = model_of("joint", time=True)
    found = tps_lab.certify(model, (3, SHORT, *SIZE))
    assert found.verdict == mixing(model).symmetry.verdict(mixing(model).order_from)
    assert found.inside.position is True


def test_a_second_row_of_blocks_is_not_taken_for_the_first():
    """A factorised encoder's frames meet behind its blocks, in blocks of their own."""
    inside = tps_lab.certify(model_of("factorised-encoder(layers=1)", time=True), (3, SHORT, *SIZE)).inside
    assert (inside.order_from, inside.meet_from) == ("before after.blocks.0", "after.blocks.0")
    assert mixing(model_of("factorised-encoder(layers=1)", time=True)).order_from == "behind the last block"


class Tiny(nn.Module):
    """A frame is four tokens: embedding, position in time, two blocks over all tokens, mean, head.

    Faults are planted by overriding one step.
    """

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(48, C)
        self.position = nn.Parameter(0.5 * torch.randn(1, T, 1, C))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(C, 5)

    def frames(self, x):
        return x

    def place(self, x):
        return x + self.position

    def mask(self, x):
        return None

    def mix(self, x):
        b, t, n, c = x.shape
        mask = self.mask(x)
        x = x.flatten(1, 2)
        for block in self.blocks:
            x = block(x, mask)
        return x.reshape(b, t, n, c)

    def pool(self, x):
        return x.mean((1, 2))

    def forward(self, x):
        x = self.frames(x)
        x = x.unflatten(4, (2, 4)).unflatten(3, (2, 4)).permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(2, 3)
        return self.head(self.pool(self.mix(self.place(self.embed(x)))))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(C), nn.Linear(C, 3 * C), nn.Linear(C, C)

    def forward(self, x, mask=None):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        return x + self.out(F.scaled_dot_product_attention(q, k, v, mask))


def same_frame():
    t = torch.arange(T).repeat_interleave(4)
    return t[:, None] == t


def faulty(step, new):
    return type("Faulty", (Tiny,), {step: new})


def per_frame(x):
    """A function of single frames, averaged: order-blind by definition."""
    return (x.flatten(3).sin().mean((1, 3))[..., None] * torch.arange(1, 4)).tanh().mean(1)


class Convolved(Tiny):
    """Frames meet in a convolution over time instead."""

    padding, kernel, mode = "same", 3, "zeros"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(C, C, self.kernel, padding="same", padding_mode=self.mode)

    def place(self, x):
        return x

    def mix(self, x):
        b, _, n, _ = x.shape
        return self.conv(x.permute(0, 2, 3, 1).flatten(0, 1)).unflatten(0, (b, n)).permute(0, 3, 1, 2).tanh()


class Recurrent(Tiny):
    first = True

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(C, C, batch_first=self.first)

    def mix(self, x):
        return self.lstm(x.mean(2))[0][:, :, None]


class Zero(Tiny):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.position)


class Branch(Tiny):
    """Motion, the difference of neighbouring frames, in a branch beside the frames themselves."""

    def motion(self, x):
        return (x[:, 1:] - x[:, :-1]).tanh().mean((1, 2))

    def place(self, x):
        return x

    def mix(self, x):
        return x.tanh()

    def pool(self, x):
        return x.mean((1, 2)) + self.motion(x)


SOUND = {"attention": Tiny, "convolution": Convolved, "recurrence": Recurrent, "motion": Branch}
BLIND = ("kind", "order-blind")
BATCH = ("verdict", "mixes the clips of a batch")
CHANCE = ("verdict", "not deterministic")
FAULTS = {
    "one position for all frames": (faulty("place", lambda s, x: x + s.position[:, :1]), BLIND),
    "position never added": (faulty("place", lambda s, x: x), BLIND),
    "position index stuck at 0": (faulty("place", lambda s, x: x + s.position[:, [0] * T]), BLIND),
    "position multiplied by zero": (faulty("place", lambda s, x: x + 0 * s.position), BLIND),
    "position averaged over frames": (faulty("place", lambda s, x: x + s.position.mean(1, keepdim=True)), BLIND),
    "position of the place instead": (faulty("place", lambda s, x: x + s.position[:, None, :4, 0]), BLIND),
    "position of half the rate": (
        faulty("place", lambda s, x: x + s.position[:, torch.arange(T) // 2]),
        ("kind", "sees part of the order"),
    ),
    "position that starts again": (
        faulty("place", lambda s, x: x + s.position[:, torch.arange(T) % 4]),
        ("kind", "cyclic"),
    ),
    "mean over frames too early": (faulty("frames", lambda s, x: x.mean(2, keepdim=True).expand_as(x)), BLIND),
    "largest over frames too early": (faulty("frames", lambda s, x: x.amax(2, keepdim=True).expand_as(x)), BLIND),
    "a mask that isolates frames": (faulty("mask", lambda s, x: same_frame()), ("verdict", "lets frames meet")),
    "frames shuffled at every call": (faulty("frames", lambda s, x: x[:, :, torch.randperm(T)]), CHANCE),
    "frames sorted by brightness": (
        faulty("frames", lambda s, x: torch.stack([c[:, c.mean((0, 2, 3)).argsort()] for c in x])),
        BLIND,
    ),
    "clips and frames folded the wrong way round": (
        faulty("frames", lambda s, x: x.transpose(1, 2).flatten(0, 1).unflatten(0, (T, -1)).permute(1, 2, 0, 3, 4)),
        BATCH,
    ),
    "attention over the batch": (
        faulty("mix", lambda s, x: s.blocks[0](x.flatten(1, 2).transpose(0, 1)).transpose(0, 1).reshape(x.shape)),
        BATCH,
    ),
    "recurrence over the batch": (type("Fault", (Recurrent,), {"first": False}), BATCH),
    "the mean of the batch subtracted": (
        faulty("pool", lambda s, x: x.mean((1, 2)) - 0.5 * x.mean((0, 1, 2))),
        BATCH,
    ),
    "dropout in eval": (faulty("pool", lambda s, x: F.dropout(x.mean((1, 2)), 0.5, training=True)), CHANCE),
    "colours and frames mixed up": (
        lambda: lambda x: per_frame(x.reshape(len(x), T, 3, 8, 8)),  # truth: order-blind
        ("kind", "sees part of the order"),
    ),
    "a dead branch": (type("Fault", (Branch,), {"motion": lambda s, x: 0 * Branch.motion(s, x)}), BLIND),
    "a branch that never fires": (
        type("Fault", (Branch,), {"motion": lambda s, x: (-Branch.motion(s, x).abs()).relu()}),
        BLIND,
    ),
    "motion without its sign": (
        type("Fault", (Branch,), {"motion": lambda s, x: (x[:, 1:] - x[:, :-1]).abs().mean((1, 2))}),
        ("kind", "blind to direction"),
    ),
    "the average with the reversed clip": (
        type("Fault", (Tiny,), {"forward": lambda s, x: Tiny.forward(s, x) + Tiny.forward(s, x.flip(2))}),
        ("kind", "blind to direction"),
    ),
    "a convolution of one frame": (type("Fault", (Convolved,), {"kernel": 1}), BLIND),
    "a convolution round the ends": (type("Fault", (Convolved,), {"mode": "circular"}), ("kind", "cyclic")),
    "an index that repeats frame 0": (
        faulty("frames", lambda s, x: x[:, :, [0] * T]),
        ("verdict", "uses only frame 0 "),
    ),
    "the last frame cut off": (
        faulty("frames", lambda s, x: x[:, :, [*range(T - 1), T - 2]]),
        ("verdict", "uses only frames 0 to 6 "),
    ),
    "every second frame only": (
        faulty("frames", lambda s, x: x[:, :, torch.arange(T) // 2 * 2]),
        ("verdict", "uses only frames 0, 2, 4, 6 "),
    ),
    "a head that uses nothing": (faulty("pool", lambda s, x: 0 * x.mean((1, 2))), ("verdict", "constant")),
    "a position that starts at zero": (Zero, ("as_given", "blind to the order")),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_models_see_order(name):
    torch.manual_seed(0)
    found = tps_lab.certify(SOUND[name](), SHAPE)
    assert (found.kind, found.as_given) == ("sees order", ""), found.text()


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name):
    make, (field, said) = FAULTS[name]
    torch.manual_seed(0)
    facts = tps_lab.certify(make(), SHAPE).facts()
    assert said in facts[field], facts


def test_enough_faults():
    assert len(FAULTS) >= 20
    assert len(SUBJECTS) >= 15


def test_a_function_with_mixed_up_axes_would_have_been_blind():
    assert tps_lab.certify(lambda x: per_frame(x.transpose(1, 2)), SHAPE).kind == "order-blind"


def test_the_witness_is_answered_differently():
    model = nn.Conv3d(3, 4, (2, 8, 8))
    found = tps_lab.certify(lambda x: model(x.float()).flatten(1), SHAPE)
    other = found.witness.clip[:, :, list(found.witness.order)]
    assert not torch.allclose(model(found.witness.clip.float()), model(other.float()), atol=1e-3)
    assert found.witness.difference > 300 * found.floor


def test_a_model_and_its_weights_stay_as_they_are():
    model = Tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tps_lab.certify(model, SHAPE)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_largest_of_frames_does_not_count_them():
    model = PerFrame(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), largest=True)
    assert tps_lab.certify(model, SHAPE).repetition
    assert not tps_lab.certify(PerFrame(model.image_model), SHAPE).repetition


def test_tokens_are_taken_as_a_set():
    frame = nn.Linear(192, 6).double()
    tokens = tps_lab.certify(lambda x: frame(x.transpose(1, 2).flatten(2)), SHAPE)
    assert tokens.kind == "order-blind"
    values = torch.randn(1, 50, dtype=torch.float64)
    assert torch.allclose(moments(values), moments(values[:, torch.randperm(50)]), atol=1e-12)
    assert not torch.allclose(moments(values), moments(values + 0.01), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "shape", "axes", "said"),
    [
        (nn.Conv2d(3, 4, 3), SHAPE, None, "it takes images (B, 3, 8, 8)"),
        (Tiny(), (3, 5, 8, 8), None, "does not take clips (B, 3, 5, 8, 8) = (B, C, T, H, W)"),
        (lambda x: x.flatten(0, 1).mean((1, 2, 3)), SHAPE, None, "an answer for each of 2 clips, (2, …), got (6,)"),
        (lambda x: x.argmax(1), SHAPE, None, "got torch.int64"),
        (lambda x: "left", SHAPE, None, "got str"),
        ("r3d_18", SHAPE, None, "cannot be called"),
        (Tiny(), (3, 3, 8, 8), None, "cannot tell which axis"),
        (Tiny(), SHAPE, "CHW", "axes 'CHW' do not fit"),
        (Tiny(), (3, 0, 8, 8), None, "whole numbers"),
        (Tiny(), None, None, "a clip's shape is whole numbers such as (3, 8, 32, 32), got None"),
        (Tiny(), "3x8x8x8", None, "whole numbers such as (3, 8, 32, 32), got '3x8x8x8'"),
        (Tiny(), (3, 4, 8, 10**9), None, "at most 268,435,456 numbers, one of shape (3, 4, 8, 1000000000) has 9.6e+10"),
        (Tiny(), SHAPE, 5, "axes are a letter each, e.g. 'CTHW', got 5"),
        (lambda x: x.flatten(1)[:, :0], SHAPE, None, "an answer for each of 2 clips, (2, …), got (2, 0)"),
        (
            lambda x: x.flatten(1).to_sparse(),
            SHAPE,
            None,
            "no answers to clips (B, 3, 8, 8, 8) = (B, C, T, H, W) to compare: Runt",
        ),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), SHAPE, None, "lazy layers: call it once on clips"),
        (Tiny().to("meta"), SHAPE, None, "cannot be copied to the CPU: NotImplementedError: Cannot copy out of meta"),
        (lambda x: x.to("meta").flatten(1), SHAPE, None, "a tensor on the meta device"),
        (lambda x: x.sum((1, 2, 3, 4)) * float("nan"), SHAPE, None, "answers are not finite"),
        (lambda x: x.mean((2, 3, 4)).exp().log1p().neg().log(), SHAPE, None, "answers are not finite"),
        (lambda x: x[1:].mean((1, 2, 3, 4)), SHAPE, None, "an answer for each of 2 clips, (2, …), got (1,)"),
        (lambda x: x.mean((2, 3, 4)) if len(x) == 2 else x[5], SHAPE, None, "on clips (1, 3, 8, 8, 8): IndexError"),
        (lambda x: sys.exit(3), SHAPE, None, "does not take clips (B, 3, 8, 8, 8) = (B, C, T, H, W): SystemExit: 3"),
    ],
)
def test_what_is_no_video_model_is_refused_in_one_line(model, shape, axes, said):
    with pytest.raises(InputError, match=None) as refused:
        tps_lab.certify(model, shape, axes=axes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("values", [(0, float("inf")), (-1e308, 1e308), (1, 0), (0, float("nan")), (0,), 3, "ab"])
def test_values_are_a_finite_interval(values):
    with pytest.raises(InputError, match=r"values are a finite interval such as \(0, 1\), got "):
        tps_lab.certify(Tiny(), SHAPE, values=values)


def test_axes_are_guessed_where_only_one_can_be_the_colours():
    assert Layout.of((8, 3, 32, 32), None).axes == "TCHW"
    assert Layout.of((8, 32, 32, 3), None).axes == "THWC"
    assert Layout.of((8, 16), "tc").batch_text == "(B, 8, 16) = (B, T, C)"


def test_a_ceiling_and_a_trained_model():
    model = tps_lab.create_model("vit_micro", "spatial", frames=16, size=24, num_classes=2, temporal_position=False)
    found = tps_lab.certify(model, model.clip_shape, data="direction(test=24)", trained=True)
    assert found.ceiling_pct == 50
    assert "cannot exceed 50.0 % on direction" in found.verdict
    by = {row["probe"]: row["divergence_bits"] for row in found.trained["probes"]}
    assert by["reversed"] < 1e-6
    assert "reversed " in found.text()
    assert "0.00 bits apart" in found.text()


def test_picture_and_badge():
    found = tps_lab.certify(Tiny(), SHAPE)
    ax = viz.certificate(found)
    assert ax.get_yticklabels()[0].get_text() == "answer"
    assert ">sees order<" in viz.badge(found)


def test_from_the_command_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def model():\n    return (lambda clips: clips.mean((2, 3, 4))), (3, 8, 4, 4)\n")
    facts = json.loads(here("certify", f"{file}:model", "--badge", tmp_path / "b.svg", "--save", tmp_path / "c.png",
                           "--json").stdout)  # fmt: skip
    assert facts["kind"] == "order-blind"
    assert facts["axes_how"].startswith("guessed")
    assert (tmp_path / "b.svg").exists()
    assert (tmp_path / "c.png").exists()
    file.write_text("def model():\n    raise RuntimeError('no weights')\n")
    refused = here("certify", f"{file}:model", "--shape", "3x8x16x16")
    assert refused.returncode == 2
    assert refused.stderr.endswith("could not be built: RuntimeError: no weights (mine.py, line 2)\n")
    assert here("certify", f"{tmp_path}/none.py:model").returncode == 2
    refused = here("certify", "tpss")
    assert refused.returncode == 2
    assert "did you mean 'tps'" in refused.stderr
    assert "order-blind: any order" in here("certify", "joint", "--data", "direction").stdout


ZOO = Path(tps_lab.__file__).parent / "zoo/still/spatial"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spatial", "--axes", "TCHW"], "clips of spatial have the axes CTHW, not TCHW: leave --axes out"),
        (["transformers:vivit", "--axes", "BCTHW"], "have the axes TCHW, not BCTHW"),
        ([ZOO, "--axes", "TCHW"], "have the axes CTHW, not TCHW"),
        ([ZOO, "--shape", "3x8x32x32"], "takes clips of 3x1x24x24, not 3x8x32x32"),
        (["spatial", "--values", "0,inf"], "--values '0,inf' is not a finite interval such as 0,1"),
        (["spatial", "--values=-1e308,1e308"], "is not a finite interval"),
        (["runs/Nope-seed0-1234"], "no such run folder: runs/Nope-seed0-1234"),
        (["/nope"], "no such run folder: /nope"),
        (["timm:resnet19"], "unknown timm model 'resnet19'; expected one such as resnet1"),
        (["timm:"], "unknown timm model ''; expected one such as resnet18\n"),
        (["timm:vit_tiny"], "such as vit_tiny_patch16_"),
        (["spatiall"], "did you mean 'spatial'"),
    ],
)
def test_a_name_that_stands_for_no_model_of_such_clips_is_refused_in_one_line(arguments, said):
    refused = here("certify", *map(str, arguments))
    assert refused.returncode == 2
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("def model(:\n", "could not be read: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("import absent\n", "could not be read: ModuleNotFoundError: No module named 'absent' (mine.py, line 1)"),
        ("\n1 / 0\n", "could not be read: ZeroDivisionError: division by zero (mine.py, line 2)"),
        ("import sys\nsys.exit(3)\n", "ends the program while it is read: SystemExit: 3 (mine.py, line 2)"),
        ("import sys\ndef model():\n    sys.exit(3)\n", "could not be built: SystemExit: 3 (mine.py, line 3)"),
        ("import sys\ndef model():\n    return lambda x: sys.exit(3)\n", "T, H, W): SystemExit: 3 (mine.py, line 3)"),
        ("def model():\n    return 1, 2, 3\n", "gave 3 things, expected the model, or the model and the shape"),
        ("def modell():\n    pass\n", "has no function 'model'"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_file_is_told_with_its_line(tmp_path, written, said):
    file = tmp_path / "mine.py"
    file.write_text(written)
    refused = here("certify", f"{file}:model", "--shape", "3x8x16x16")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("colon", ["", ":"])
def test_a_file_wants_a_function(tmp_path, colon):
    file = tmp_path / "mine.py"
    file.write_text("def model():\n    pass\n")
    assert f"name a function of the file: {file}:FACTORY\n" in here("certify", f"{file}{colon}").stderr


@pytest.mark.parametrize("target", ["precious", "nothing"])
def test_a_badge_is_not_written_through_a_link(tmp_path, target):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "badge.svg").symlink_to(tmp_path / target)
    refused = here("certify", "spatial", "--badge", str(tmp_path / "badge.svg"))
    assert (refused.returncode, "already exists" in refused.stderr) == (2, True)
    assert (tmp_path / "precious").read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["badge.svg", "precious"]


class Weighted(nn.Module):
    """Its logits tell the frames apart, its features do not."""

    def __init__(self, answer):
        super().__init__()
        self.head, self.answer = nn.Linear(3, 4), answer

    def forward(self, x):
        frames = x.mean((3, 4))
        return self.answer(frames.mean(2), self.head(frames[:, :, 0] + frames.relu().mean(2)))


@pytest.mark.parametrize("name", ["logits", "last_hidden_state"])
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_of_a_dict_it_takes_what_it_takes_of_an_object(name, kind):
    found = tps_lab.certify(Weighted(lambda features, out: kind(features=features, **{name: out})), SHAPE)
    assert found.kind == "sees part of the order", found.text()


def test_a_model_that_normalises_its_clips_in_place_is_deterministic():
    head = nn.Linear(3, 4).double()
    found = tps_lab.certify(lambda x: head(x.sub_(0.45).div_(0.225).mean((2, 3, 4))), SHAPE)
    assert found.kind == "order-blind", found.text()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_rounding_hides_is_no_proof(dtype):
    gru = nn.GRU(3, 5, batch_first=True).to(
        dtype
    )  # which looks at the type of its weights, and so cannot be made finer
    with pytest.raises(InputError, match=f"computes in {str(dtype).removeprefix('torch.')}: too much to tell"):
        tps_lab.certify(lambda x: gru(x.mean((3, 4)).transpose(1, 2).to(dtype))[1][0].double(), SHAPE)


def test_a_verdict_says_how_far_it_can_see():
    cell = nn.GRU(3, 5, batch_first=True)

    def one_by_one(x):
        return torch.stack([cell(frame[:, None])[1][0] for frame in x.float().mean((3, 4)).unbind(2)]).mean(0)

    assert tps_lab.certify(one_by_one, SHAPE).verdict.endswith("same answer, as far as float32 shows: to 4e-05 of it")


class Slight(nn.Module):
    """Order moves its answer by less than a float32 can hold."""

    def __init__(self, dtype=torch.float32, slope=1e-7):
        super().__init__()
        self.embed, self.head = nn.Conv3d(3, C, (1, 8, 8)), nn.Linear(C, 5)
        self.dtype, self.slope = dtype, slope

    def forward(self, x):
        frames = self.embed(x).flatten(2).to(self.dtype)
        times = 1 + self.slope * torch.arange(T, dtype=self.dtype)
        return self.head((frames.tanh() * times).mean(2).to(self.head.weight.dtype))


@pytest.mark.parametrize("asked", [lambda model: model, lambda model: model.forward, lambda model: lambda x: model(x)])
@pytest.mark.parametrize(("slope", "kind"), [(1e-7, "sees order"), (0, "order-blind")])
def test_what_is_coarser_is_computed_in_float64(asked, slope, kind):
    found = tps_lab.certify(asked(Slight(slope=slope)), SHAPE)
    assert (found.kind, found.dtype) == (kind, "float64"), found.text()


def test_half_precision_inside_is_no_obstacle():
    assert tps_lab.certify(Slight(torch.bfloat16, 0.1), SHAPE).kind == "sees order"


def test_an_answer_that_hardly_moves_is_no_proof():
    head = nn.Linear(3 * T, 5).double()
    with pytest.raises(InputError, match=r"other clips move the model's answers by no more than .* too little to tell"):
        tps_lab.certify(lambda x: 1e6 + 1e-6 * head(x.mean((3, 4)).flatten(1)), SHAPE)


def test_a_random_model_may_repeat_itself():
    torch.manual_seed(2)  # of which the first two answers are the same
    found = tps_lab.certify(lambda x: x[:, :, int(torch.randint(2, ()))].mean((2, 3)), SHAPE)
    assert found.verdict.startswith("not deterministic")
    assert "same under" not in found.text()
    assert found.facts()["invariant"] is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_function_is_asked_about_several_clips(sign):
    def sometimes(x):  # the largest frame counts first, only where the clip is bright
        bright = (sign * x.mean((1, 2, 3, 4)) > 0)[:, None]
        return x.mean((2, 3, 4)) + bright * (x.mean((3, 4)) * torch.arange(T)).tanh().mean(2)

    assert tps_lab.certify(sometimes, SHAPE).kind == "sees order"


@pytest.mark.parametrize("kind", [lambda *parts: parts, lambda *parts: dict(zip("ab", parts, strict=True))])
def test_of_several_answers_none_is_chosen_by_chance(kind):
    with pytest.raises(InputError, match=r"gives 2 tensors \((0|a): \(2, 3\), (1|b): \(2, 4\)\): which is the answer"):
        tps_lab.certify(Weighted(kind), SHAPE)
    found = tps_lab.certify(Weighted(lambda features, out: (features[:, None], out)), SHAPE)
    assert found.kind == "sees part of the order", found.text()


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("made", [torch.jit.script, lambda model: torch.jit.trace(model, torch.zeros(2, *SHAPE))])
def test_a_scripted_module(made):
    model = nn.Sequential(
        nn.Conv3d(3, 4, (3, 8, 8), padding=(1, 0, 0)), nn.Tanh(), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    )
    assert tps_lab.certify(made(model), SHAPE).kind == "sees order"
    assert tps_lab.certify(nn.Sequential(made(model)), SHAPE).kind == "sees order"


def test_a_position_that_no_module_adds_is_not_denied():
    def mix(self, x):
        return (x + torch.arange(T)[:, None, None].sin()).tanh()

    found = tps_lab.certify(type("Sines", (Tiny,), {"place": lambda self, x: x, "mix": mix})(), SHAPE)
    assert found.kind == "sees order"
    assert found.inside.position is None, found.text()


def test_frames_that_a_model_chooses_by_their_content_are_used():
    def largest_three(x):
        sizes = x.pow(2).mean((1, 3, 4))
        return torch.stack([clip[:, size.topk(3).indices].mean((1, 2, 3)) for clip, size in zip(x, sizes, strict=True)])

    assert all(tps_lab.certify(largest_three, SHAPE).uses)


def test_an_interval_is_no_text():
    with pytest.raises(InputError, match="finite interval"):
        tps_lab.certify(Tiny(), SHAPE, values="01")
