"""What is modelled of CUDA against torch's own rules for it, on fake CUDA tensors: no GPU is needed.

Fake tensors of device "cuda" run CUDA's own autocast and its kernels' shapes. (They can't replace the
model that predictions use: attention falls apart into its unfused parts, and backward wants a GPU.)
"""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from tps_lab import create_model
from tps_lab.measure import fake
from tps_lab.measure.fake import AsOnCuda, fake_mode, weightless
from tps_lab.measure.memory import LiveBytes

pytestmark = pytest.mark.skipif(torch.version.cuda is None, reason="needs a CUDA build of torch (no GPU)")


@contextmanager
def autocast_of_cuda(monkeypatch, lower):
    """`torch.autocast("cuda", lower)`, which switches itself off on a machine without a GPU."""
    enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
    with monkeypatch.context() as inside:
        inside.setattr(fake, "_IN_FLOAT32", ())
        inside.setattr(fake, "_normalize", nn.functional.normalize)
        # attention is ours in both; it asks the CPU's autocast
        inside.setattr(torch, "is_autocast_enabled", lambda device: enabled("cuda"))
        inside.setattr(torch, "get_autocast_dtype", lambda device: dtype("cuda"))
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", lower)
        torch.autocast_increment_nesting()
        try:
            yield
        finally:
            if torch.autocast_decrement_nesting() == 0:
                torch.clear_autocast_cache()
            torch.set_autocast_enabled("cuda", False)


def live_bytes(make, device, autocast):
    """Bytes after the forward pass and the loss, and the most until then."""
    mode = fake_mode()
    model = weightless(make, mode, device).train()
    with mode, LiveBytes(512) as live, AsOnCuda(True):
        live.track([*model.parameters(), *model.buffers()])
        clips = torch.zeros(2, *model.clip_shape, device=device)
        labels = torch.zeros(2, dtype=torch.long, device=device)
        with autocast:
            logits = model(clips)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        found = live.live, live.peak
    assert loss.device.type == device
    return found


@pytest.mark.parametrize(
    ("backbone", "attention"),
    [
        *(("vit_micro_cls", name) for name in ("spatial", "tps", "divided", "joint", "trajectory", "tokshift", "l+g")),
        *(("swin_micro", name) for name in ("spatial", "tps+tcs", "local(window=3)")),
        pytest.param("swinv2_tiny_window8_256", "tps", marks=pytest.mark.slow),
        ("eva02_tiny_patch14_224", "tps"),
        ("maxvit_tiny_tf_224", "tps"),
    ],
)
def test_under_autocast_as_many_bytes_as_by_cudas_own_rules(backbone, attention, monkeypatch):
    def make():
        return create_model(backbone, attention, frames=8)

    modelled = live_bytes(make, "cpu", torch.autocast("cpu", torch.bfloat16))
    by_torch = live_bytes(make, "cuda", autocast_of_cuda(monkeypatch, torch.bfloat16))
    # MaxViT's pooled gates differ by 93 kB of 2.7 GB
    assert modelled == pytest.approx(by_torch, rel=1e-4 if "maxvit" in backbone else 0)


@pytest.mark.parametrize("shape", [(2, 3, 49, 16), (1, 2, 64, 32), (2, 2, 197, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_attention_keeps_what_torchs_kernels_return(shape, dtype):
    with fake_mode(), LiveBytes(1) as live, AsOnCuda(True):
        query = torch.zeros(shape, dtype=dtype, requires_grad=True)
        live.track([query])
        before = live.live
        out = nn.functional.scaled_dot_product_attention(query, query, query)
        kept = live.live - before
    with fake_mode():
        query = torch.zeros(shape, dtype=dtype, device="cuda", requires_grad=True)
        if dtype == torch.float32:
            theirs, per_query, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
                query, query, query, None, True
            )
        else:
            theirs, per_query, *_ = torch.ops.aten._scaled_dot_product_flash_attention(query, query, query)
    assert kept == theirs.untyped_storage().nbytes() + per_query.untyped_storage().nbytes()
    assert (out.shape, out.stride()) == (theirs.shape, theirs.stride())
