"""Which operators multiply and add, by what formula, and which were reviewed and do not.

An operator that stands in neither list makes a count fail by its name: counters that pass over what
they do not know are how fused attention came to be reported as free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch

# Of fvcore: operators in a traced graph, by their name behind "aten::".
NO_MACS_TRACED = frozenset(
    """
    add add_ sub rsub mul mul_ div neg pow sqrt exp sigmoid tanh softmax gelu silu relu clone copy_ expand
    expand_as repeat mean sum pad floor_divide remainder arange stack cat index_select index select slice
    embedding embedding_bag where clamp ge gt lt le eq ne zeros ones zeros_like ones_like fill_ roll flip scalar_tensor
    full full_like masked_fill masked_fill_ bernoulli_ div_ rand unflatten fill new_zeros type_as bitwise_not diagonal
    rms_norm avg_pool2d max_pool2d relu_ silu_ gelu_ hardtanh_ sin cos meshgrid repeat_interleave outer
    clamp_min linalg_vector_norm amax max adaptive_max_pool2d ceil
""".split()
)

# Of torch's dispatcher: kernels as they run, forward and backward, by their name behind "aten.".
NO_MACS = frozenset(
    """
    empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones ones_like new_ones full
    full_like new_full fill fill_ zero_ arange scalar_tensor lift_fresh
    alias as_strided as_strided_ detach detach_ expand permute select slice split split_with_sizes squeeze unsqueeze t
    transpose unbind view _unsafe_view _reshape_alias diagonal unfold
    clone copy_ _to_copy contiguous cat stack repeat roll flip constant_pad_nd
    index index_select embedding _embedding_bag_forward_only gather index_put index_put_ _unsafe_index index_add
    index_add_ scatter scatter_add select_backward slice_backward diagonal_backward embedding_dense_backward
    add add_ sub sub_ rsub mul mul_ div div_ neg pow sqrt rsqrt exp log log2 sin cos abs sign reciprocal where clamp
    floor_divide remainder
    clamp_min masked_fill masked_fill_ minimum maximum
    eq ne lt le gt ge bitwise_not bitwise_and logical_not logical_and any all
    sum mean amax max var var_mean std linalg_vector_norm argmax
    _softmax _safe_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data nll_loss_forward
    nll_loss_backward
    gelu gelu_backward relu relu_ threshold_backward silu silu_ silu_backward sigmoid sigmoid_backward tanh
    tanh_backward hardtanh hardtanh_backward hardswish hardswish_backward
    native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward native_batch_norm
    native_batch_norm_backward _native_batch_norm_legit _native_batch_norm_legit_no_training
    cudnn_batch_norm cudnn_batch_norm_backward
    _fused_rms_norm _fused_rms_norm_backward _batch_norm_with_update batch_norm_backward
    avg_pool2d avg_pool2d_backward max_pool2d_with_indices max_pool2d_with_indices_backward _adaptive_avg_pool2d
    _adaptive_avg_pool2d_backward
    avg_pool3d avg_pool3d_backward max_pool3d_with_indices max_pool3d_with_indices_backward _adaptive_avg_pool3d
    _adaptive_avg_pool3d_backward
    sigmoid_ tanh_ transpose_ unsafe_split sort topk cummax median
    bernoulli_ rand rand_like randn uniform_ normal_ native_dropout native_dropout_backward _local_scalar_dense
""".split()
)


@lru_cache(maxsize=1)
def formulas() -> dict[Any, Callable[..., int]]:
    """Operator → FLOPs (twice the multiply-adds) of a call, in the form that torch's counter takes.

    torch's own, and three in their place: the fused CPU kernel and its backward, which torch counts as
    0 before 2.15, and the backward of a convolution, whose groups torch leaves out of the weights'
    gradient (a depthwise one comes out as many times too high as it has channels).
    """
    from torch.utils.flop_counter import flop_registry, shape_wrapper

    aten = torch.ops.aten
    ours: dict[str, Callable[..., int]] = {"_scaled_dot_product_flash_attention_for_cpu": _attention}
    ours["_scaled_dot_product_flash_attention_for_cpu_backward"] = _attention_backward
    ours["convolution_backward"] = _convolution_backward
    return {**flop_registry, **{getattr(aten, name): shape_wrapper(count) for name, count in ours.items()}}


def _attention(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    # scores once more, then the gradients of queries and keys; of the weights and the values
    return 2 * math.prod(q[:-1]) * k[-2] * (3 * q[-1] + 2 * v[-1])


def _convolution_backward(grad: Any, x: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    # (bias sizes, stride, padding, dilation, transposed, output padding, groups, which gradients are wanted)
    transposed, wanted = args[4], args[7]
    places = (x if transposed else grad)[2:]
    return 2 * x[0] * math.prod(places) * math.prod(weight) * sum(wanted[:2])


def is_reviewed(name: str) -> bool:
    """Whether a dispatched operator such as "aten.add" is known to multiply and add nothing that is counted."""
    space, _, short = name.partition(".")
    return space == "prim" or (space == "aten" and short in NO_MACS)


def refuse(counter: str, unknown: Iterable[str]) -> None:
    if unknown:
        raise NotImplementedError(f"{counter} cannot count {', '.join(sorted(unknown))}")
