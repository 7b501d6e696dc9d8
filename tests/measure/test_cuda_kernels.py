"""Buffers of CUDA's sums, against sizes that an H100's allocator recorded (torch 2.11.0, 2026-11-27)."""

import pytest
import torch

from tps_lab.measure.cuda_kernels import Gpu, as_sum, sum_buffer

H100 = Gpu(132, 2048, 9)


@pytest.mark.parametrize(
    ("rows", "columns", "recorded"),
    [(12608, 384, 38_731_776), (12608, 1152, 116_195_328), (12608, 1536, 138_412_032)],
)
def test_gradients_of_biases_as_recorded(rows, columns, recorded):
    assert sum_buffer((rows, columns), (columns, 1), [0], gpu=H100) == recorded


def test_a_smaller_gpu_cuts_a_large_sum_into_fewer_parts():
    t4 = Gpu(40, 1024, 7)
    assert 0 < sum_buffer((12608, 1536), (1536, 1), [0], gpu=t4) < 138_412_032 / 4


@pytest.mark.parametrize("shape", [(1, 384), (16, 384), (100, 7)])
def test_a_short_sum_needs_no_buffer(shape):
    assert sum_buffer(shape, (shape[1], 1), [0], gpu=H100) == 0


def test_only_sums_take_one():
    x = torch.zeros(12608, 384)
    sum_, mean, add = torch.ops.aten.sum.dim_IntList, torch.ops.aten.mean.dim, torch.ops.aten.add.Tensor
    assert as_sum(sum_, (x, [0], True), sum_(x, [0], True)).buffer(H100) == 38_731_776
    assert as_sum(sum_, (x, [-2]), sum_(x, [-2])).buffer(H100) == 38_731_776
    assert as_sum(mean, (x, [0]), mean(x, [0])).buffer(H100) == 38_731_776
    assert as_sum(add, (x, x), x + x) is None
