"""A small PST and a small Video Swin written from their definitions, saved as the authors save, then loaded."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tps_lab import InputError, load_official

T, WINDOW, WIDTH, HEADS, CLASSES = 16, 7, 16, (2, 4), 5
TILE = ((-4, 1, 2), (-1, 0, 3), (-2, -3, 4))
SIZE = 56  # 14 × 14 patches in stage 1, 7 × 7 in stage 2


def weights(rows_of_time, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"patch_embed.proj.weight": (WIDTH, 3, 2, 4, 4), "patch_embed.proj.bias": (WIDTH,)}
    norm = {"patch_embed.norm": WIDTH, "norm": 2 * WIDTH, "layers.0.downsample.norm": 4 * WIDTH}
    shapes["layers.0.downsample.reduction.weight"] = (2 * WIDTH, 4 * WIDTH)
    for stage, heads in enumerate(HEADS):
        c = WIDTH * 2**stage
        for index in range(2):
            at = f"layers.{stage}.blocks.{index}"
            norm |= {f"{at}.norm1": c, f"{at}.norm2": c}
            shapes[f"{at}.attn.relative_position_bias_table"] = (rows_of_time * 13 * 13, heads)
            for name, out, into in (
                ("attn.qkv", 3 * c, c),
                ("attn.proj", c, c),
                ("mlp.fc1", 4 * c, c),
                ("mlp.fc2", c, 4 * c),
            ):
                shapes |= {f"{at}.{name}.weight": (out, into), f"{at}.{name}.bias": (out,)}
    for name, c in norm.items():
        shapes |= {f"{name}.weight": (c,), f"{name}.bias": (c,)}
    shapes |= {"fc_cls.weight": (CLASSES, 2 * WIDTH), "fc_cls.bias": (CLASSES,)}
    return {n: 0.3 * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}


def pst_features(w, clip):
    """The released PST's features, (1, 3, 32, 56, 56) to (16, 7, 7, C), by rolls and loops."""

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    x = F.conv3d(clip, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=(2, 4, 4))
    x = norm(x[0].permute(1, 2, 3, 0), "patch_embed.norm")
    for stage, heads in enumerate(HEADS):
        for index in range(2):
            at = f"layers.{stage}.blocks.{index}"
            x = x + attention(norm(x, f"{at}.norm1"), w, f"{at}.attn", heads, patch=index == 1)
            y = F.gelu(F.linear(norm(x, f"{at}.norm2"), w[f"{at}.mlp.fc1.weight"], w[f"{at}.mlp.fc1.bias"]))
            x = x + F.linear(y, w[f"{at}.mlp.fc2.weight"], w[f"{at}.mlp.fc2.bias"])
        if stage == 0:
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
            x = F.linear(norm(x, "layers.0.downsample.norm"), w["layers.0.downsample.reduction.weight"])
    return norm(x, "norm")


def attention(x, w, at, heads, patch):
    size, c = x.shape[1], x.shape[-1]
    shift = WINDOW // 2 if patch and size > WINDOW else 0
    x = x.roll((-shift, -shift), (1, 2))
    axis = torch.zeros(size, dtype=torch.int64)
    if shift:
        axis[size - WINDOW : size - shift], axis[size - shift :] = 1, 2
    region = axis[:, None] * 3 + axis
    out = torch.empty_like(x)
    for top in range(0, size, WINDOW):
        for left in range(0, size, WINDOW):
            cut = slice(top, top + WINDOW), slice(left, left + WINDOW)
            out[:, cut[0], cut[1]] = one_window(x[:, cut[0], cut[1]], region[cut].flatten(), w, at, heads, patch, c)
    return out.roll((shift, shift), (1, 2))


def one_window(x, region, w, at, heads, patch, c):
    came_from = torch.arange(T)[:, None, None].expand(T, WINDOW, WINDOW).clone()
    if patch:
        x = x.clone()
        for a in range(WINDOW):
            for b in range(WINDOW):
                k = TILE[a % 3][b % 3]
                x[:, a, b] = x[:, a, b].roll(k, 0)
                came_from[:, a, b] = came_from[:, a, b].roll(k, 0)
    else:
        per_head, fold = x.reshape(T, WINDOW, WINDOW, heads, -1), c // heads // 8
        moved = per_head.clone()
        moved[1:, ..., :fold] = per_head[:-1, ..., :fold]
        moved[:-1, ..., fold : 2 * fold] = per_head[1:, ..., fold : 2 * fold]
        x = moved.reshape(x.shape)
    area = WINDOW * WINDOW
    q, k, v = F.linear(x.reshape(T, area, c), w[f"{at}.qkv.weight"], w[f"{at}.qkv.bias"]).reshape(
        T, area, 3, heads, -1).permute(2, 0, 3, 1, 4)  # fmt: skip
    place = torch.arange(area)
    dh, dw = place[:, None] // 7 - place // 7, place[:, None] % 7 - place % 7
    # the released slice: query frame t against key frame 0
    dt = came_from.reshape(T, area)[:, :, None] - came_from.reshape(T, area)[0]
    bias = w[f"{at}.relative_position_bias_table"][(dt + T - 1) * 169 + (dh + 6) * 13 + dw + 6].permute(0, 3, 1, 2)
    scores = q @ k.transpose(-1, -2) * (c // heads) ** -0.5 + bias - 100.0 * (region[:, None] != region)
    y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(T, WINDOW, WINDOW, c)
    if patch:
        y = y.clone()
        for a in range(WINDOW):
            for b in range(WINDOW):
                y[:, a, b] = y[:, a, b].roll(-TILE[a % 3][b % 3], 0)
    return F.linear(y, w[f"{at}.proj.weight"], w[f"{at}.proj.bias"])


def prefixed(w):
    return {("cls_head." if name.startswith("fc_cls") else "backbone.") + name: value for name, value in w.items()}


@pytest.fixture(scope="module")
def pst():
    w = weights(2 * T - 1)
    clip = torch.randn(1, 3, 2 * T, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return w, clip, pst_features(w, clip)


@pytest.mark.parametrize("form", ["plain dict", "mmaction .pth", "prefixed .safetensors"])
def test_a_released_pst_loads_with_its_features(pst, form, tmp_path):
    w, clip, features = pst
    state, source = w, w
    if form != "plain dict":
        state = prefixed(w)
        state["backbone.layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(3, 3, dtype=torch.int64)
        state["backbone.layers.0.blocks.1.attn.relative_position_index_old"] = torch.zeros(3, dtype=torch.int64)
        source = tmp_path / ("pst.pth" if "pth" in form else "pst.safetensors")
        if "pth" in form:
            torch.save({"meta": {"epoch": 3}, "state_dict": state}, source)
        else:
            save_file(state, source)
    model = load_official(source, size=SIZE)
    report = model.load_report
    ours = model.double()
    # the model held float32, so compare with weights rounded alike; then with the originals
    exact = pst_features({n: v.float().double() for n, v in w.items()}, clip)
    found = ours.forward_features(clip)[0]
    assert (found - exact).abs().max() < 1e-6 * exact.abs().max()
    assert (found - features).abs().max() < 1e-4 * features.abs().max()
    logits = F.linear(exact.mean((0, 1, 2)), w["fc_cls.weight"], w["fc_cls.bias"])
    torch.testing.assert_close(ours(clip)[0], logits, rtol=1e-4, atol=1e-5)
    assert {*report.used, *report.converted, *report.skipped} == set(state)
    assert len(report.skipped) == (0 if form == "plain dict" else 2)


def test_a_mismatch_names_keys_and_shapes(pst):
    w = dict(pst[0])
    w["layers.1.blocks.0.attn.proj.bias"] = torch.zeros(31)
    del w["norm.weight"]
    w["extra.weight"] = torch.zeros(2, 3)
    with pytest.raises(InputError) as error:
        load_official(w, size=SIZE)
    for part in ("layers.1.blocks.0.attn.proj.bias has shape (31,)", "(32,)", "norm.weight (32,) is missing",
                 "extra.weight (2, 3) has no place"):  # fmt: skip
        assert part in str(error.value)


class Malicious:
    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": Malicious()}, tmp_path / "bad.pth")
    (tmp_path / "worse.pth").write_bytes(pickle.dumps(Malicious()))
    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(InputError, match="weights only"):
            load_official(tmp_path / name)
