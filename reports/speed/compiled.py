"""Kernels that a compiled model needs, and the bytes that they read and write, from inductor's own records.

`python reports/speed/make.py --only compiled` writes TPS beside spatial attention for a ViT and a Swin, forward and a
training step, and ends with 1 if a shift costs a kernel: then a change has broken its fusion into the norm before the
attention and the residual addition after it. Inductor's CPU backend; nothing is compiled by the C++ compiler and
nothing is run, for the counts are known before.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any
from unittest import mock

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("vit_micro", {"frames": 16, "size": 24, "depth": 2}),
    "Swin": ("swin_micro", {"frames": 8, "size": 24, "depths": (2,), "num_heads": (2,)}),
}
# bytes: an index of 8 bytes a token is read; and inductor counts what is written in another order as read, too
ALLOWED_BYTES = 1.02


def counted(family: str, attention: str, training: bool) -> dict[str, int]:
    """Of one compiled model: loops after fusion, kernels that inductor says it generated, library calls, bytes."""
    import torch._inductor.config
    from torch._inductor import compile_fx, metrics
    from torch._inductor.async_compile import AsyncCompile

    from tps_lab.backbones import _windowed, create_model

    backbone, options = MODELS[family]
    model = create_model(backbone, attention, num_classes=12, **options).train(training)
    clips = torch.zeros(4, *model.clip_shape)
    log, level = compile_fx.inductor_metrics_log, compile_fx.inductor_metrics_log.level
    log.setLevel(logging.INFO)  # bytes are counted only where somebody listens
    # windows of one kind share a call of fused attention, and spatial ones have few kinds: only in one call each do the
    # two differ by the shift alone
    one_call = mock.patch.object(_windowed, "_CALLS", 0)
    no_code = mock.patch.object(AsyncCompile, "cpp_pybinding", return_value=mock.Mock(return_value=None))
    quiet = mock.patch.object(log, "propagate", False)
    torch._dynamo.reset()
    metrics.reset()
    try:
        with (
            one_call,
            no_code,
            quiet,
            torch._inductor.config.patch(force_disable_caches=True),
            torch.set_grad_enabled(training),
        ):
            out: Any = torch.compile(model)(clips)
            if training:
                out.sum().backward()
    finally:
        log.setLevel(level)
        torch._dynamo.reset()
    kinds = [type(node).__name__ for node, _ in metrics.node_runtimes]
    calls = sum("Extern" in kind for kind in kinds)
    return {
        "loops": len(kinds) - calls - sum("Nop" in kind for kind in kinds),
        "kernels": metrics.generated_kernel_count,
        "library_calls": calls,
        "bytes": metrics.num_bytes_accessed,
    }


@cache
def _spatial(family: str, training: bool) -> dict[str, int]:
    return counted(family, "spatial", training)


def beside(family: str, training: bool) -> dict[str, Any]:
    """TPS and spatial attention, and whether the shift is free."""
    tps, spatial = counted(family, "tps", training), _spatial(family, training)
    more = [what for what in ("loops", "kernels") if tps[what] > spatial[what]]
    more += ["bytes"] * (tps["bytes"] > ALLOWED_BYTES * spatial["bytes"])
    return {"tps": tps, "spatial": spatial, "more": more}
