"""The Triton gather against index_select: on a GPU, and without one in Triton's interpreter."""

import os
import subprocess
import sys
from unittest.mock import MagicMock

import pytest
import torch
import torch.nn.functional as F

from tps_lab.attention import _gather
from tps_lab.attention._gather import gather_rows, way
from tps_lab.attention.patch_shift import shift_patches
from tps_lab.errors import InputError

INTERPRETED = """
import torch
from tps_lab.attention._gather_triton import copy_rows
shapes = (13, 7, torch.float32), (11, 130, torch.bfloat16), (5, 600, torch.float16), (9, 96, torch.float64)
for rows, channels, dtype in (*shapes, (3, 8, torch.int8)):
    x = (8 * torch.randn(rows, channels)).to(dtype)
    index = torch.randint(rows, (217,))
    assert copy_rows(x, index[:0]).shape == (0, channels)
    assert torch.equal(copy_rows(x, index), x.index_select(0, index)), (rows, channels, dtype)
print("equal")
"""


def test_the_triton_kernel_is_index_select_bit_for_bit_when_interpreted():
    pytest.importorskip("triton", reason="needs Triton, which comes with CUDA builds of torch")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRETED],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "equal", run.stderr[-2000:]


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("type_", "bytes_each"), [("fp32", 4), ("bf16", 2)])
def test_compiled_for_a_gpu_the_triton_kernel_moves_16_bytes_at_once(type_, bytes_each, capability):
    pytest.importorskip("triton", reason="needs Triton, which comes with CUDA builds of torch")
    from tps_lab.attention import _gather_triton as gather

    channels = 96
    width = gather.width(channels, bytes_each)
    try:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        pointer = f"*{type_}"
        source = ASTSource(
            gather.kernel,
            {"source": pointer, "rows": "*i64", "target": pointer, "count": "i32"}
            | dict.fromkeys(("IN_A_ROW", "WIDTH", "PIECES"), "constexpr"),
            {"IN_A_ROW": channels // width, "WIDTH": width, "PIECES": gather.PIECES},
            {(place,): [["tt.divisibility", 16]] for place in range(3)},
        )
        code = triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"]
    except (ImportError, AttributeError, TypeError) as error:
        pytest.skip(f"this Triton compiles without a GPU in another way: {error}")
    moved = code.count("ld.global.v4.b32")
    assert moved == code.count("st.global.v4.b32") > 0
    assert code.count("ld.global") == 2 * moved  # one look-up of the row for each


def test_on_a_cpu_the_plain_way_runs_whatever_is_asked_for(monkeypatch):
    x, rows = torch.randn(5, 3), torch.tensor([4, 0, 0])
    monkeypatch.setenv("TPS_LAB_GATHER", "triton")
    assert torch.equal(gather_rows(x, rows), x[rows])
    monkeypatch.setenv("TPS_LAB_GATHER", "fast")
    with pytest.raises(InputError, match="fast"):
        way()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 96, 513, 1031])
def test_a_large_gather_on_a_cpu_is_fetched_ahead_and_comes_out_the_same(channels, dtype, monkeypatch):
    x = torch.randn(7, channels).to(dtype)
    x[0, 0], x[1, 0] = float("nan"), float("inf")
    rows = torch.tensor([[6, 0, 0], [3, 5, 1]])
    plain = gather_rows(x, rows)
    monkeypatch.setattr(_gather, "_FRESH", 1)
    bags = MagicMock(wraps=F.embedding_bag)
    monkeypatch.setattr(F, "embedding_bag", bags)
    for given in (x, torch.randn(channels, 7).to(dtype).T):
        assert torch.equal(gather_rows(given, rows).nan_to_num(), given[rows].nan_to_num())
    assert torch.equal(plain.isnan(), x[rows].isnan())
    assert gather_rows(x, rows[:0]).shape == (0, 3, channels)
    fbgemm = "fbgemm" in torch.backends.quantized.supported_engines
    assert bags.called == (fbgemm and dtype == torch.float32)
    monkeypatch.setenv("TPS_LAB_GATHER", "plain")
    bags.reset_mock()
    assert torch.equal(gather_rows(x, rows).nan_to_num(), x[rows].nan_to_num())
    assert not bags.called


def test_a_large_shift_has_right_gradients_and_second_ones(monkeypatch):
    monkeypatch.setattr(_gather, "_FRESH", 1)
    x = torch.randn(2, 5, 4, 3, 6, requires_grad=True)
    weight = torch.randn_like(x)
    (first,) = torch.autograd.grad((shift_patches(x, "C") ** 3 * weight).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    back = shift_patches(weight, "C", inverse=True)
    torch.testing.assert_close(first, 3 * x**2 * back)
    torch.testing.assert_close(second, 6 * x * back)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_cuda_both_ways_shift_alike_forward_and_backward(monkeypatch, dtype):
    found = []
    for chosen in ("plain", "triton"):
        monkeypatch.setenv("TPS_LAB_GATHER", chosen)
        x = torch.arange(2 * 5 * 7 * 11 * 13, device="cuda").reshape(2, 5, 7, 11, 13).to(dtype).requires_grad_()
        y = shift_patches(x, "C")
        (y * y.detach().roll(1, 0)).sum().backward()
        found.append((y.detach(), x.grad))
    assert all(torch.equal(plain, triton) for plain, triton in zip(*found, strict=True))
