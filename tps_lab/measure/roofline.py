"""How long a model should take at best on a device, from multiply-adds and bytes alone.

Every kernel takes the longer of two times: its arithmetic at the device's peak, or its bytes at the
memory's bandwidth (Williams et al., "Roofline", CACM 2009). Kernels follow each other, so times add up:

    ms = Σ max(2 · multiply-adds / peak, bytes / bandwidth) + kernels · launch

For a named GPU the peaks are its data sheet's and launch is 0: a lower bound that no run reaches, good
for orders and ratios, not for milliseconds. For "cpu" all three are measured here, at several sizes.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tps_lab.errors import InputError, unknown
from tps_lab.measure.trace import Kernel, Recorder, Trace
from tps_lab.text import counted

Curve = tuple[tuple[float, float], ...]  # (size of a call, rate at that size), sizes ascending


@dataclass(frozen=True)
class Device:
    """What a device can do.

    Args:
        name: as its maker calls it.
        flops: precision → dense FLOP/s at some sizes (in FLOPs of a call); a peak has one size.
        bandwidth: bytes/s at some sizes (in bytes of a call).
        launch: seconds per kernel that are neither.
        source: where the figures are from.
    """

    name: str
    flops: dict[str, Curve]
    bandwidth: Curve
    launch: float = 0.0
    source: str = ""


def _gpu(name: str, gigabytes: float, source: str, **teraflops: float) -> Device:
    peaks: dict[str, Curve] = {precision: ((1.0, peak * 1e12),) for precision, peak in teraflops.items()}
    return Device(name, peaks, ((1.0, gigabytes * 1e9),), source=source)


# fp32 is torch's default, without TF32; bf16 and fp16 are those of tensor cores, dense, summing in float32.
DEVICES: dict[str, Device] = {
    "a100": _gpu("NVIDIA A100 80GB SXM", 2039, "NVIDIA A100 data sheet", fp32=19.5, bf16=312, fp16=312),
    "h100": _gpu("NVIDIA H100 SXM", 3352, "NVIDIA H100 data sheet", fp32=66.9, bf16=989.4, fp16=989.4),
    "rtx4090": _gpu("NVIDIA GeForce RTX 4090", 1008, "NVIDIA Ada white paper", fp32=82.6, bf16=165.2, fp16=165.2),
    "t4": _gpu("NVIDIA T4", 320, "NVIDIA Turing white paper", fp32=8.1, fp16=65),
}


def device(name: str) -> Device:
    """A named device; "cpu" is calibrated here, in about a second.

    Raises:
        InputError: unknown name.
    """
    if name == "cpu":
        return this_cpu()
    if name not in DEVICES:
        raise unknown("device", name, [*DEVICES, "cpu"])
    return DEVICES[name]


@dataclass(frozen=True)
class Estimate:
    """Milliseconds of a whole trace; `memory_bound` is the share spent in kernels that wait for bytes."""

    ms: float
    forward_ms: float
    memory_bound: float
    device: Device = field(repr=False)

    def row(self, batch: int) -> dict[str, object]:
        return {
            "device": self.device.name,
            "ms": float(f"{self.ms:.4g}"),
            "forward_ms": float(f"{self.forward_ms:.4g}"),
            "memory_bound_share": round(self.memory_bound, 3),
            "batch": batch,
            "how": f"roofline, {self.device.source}" + ("" if self.device.launch else "; a lower bound"),
        }


def estimate(trace: Trace, on: Device, precision: str = "fp32") -> Estimate:
    """Roofline time of everything in a trace.

    Raises:
        InputError: the device has no figure for the precision.
    """
    if precision not in on.flops:
        raise InputError(f"{on.name} has no {precision} peak here; it has: {', '.join(on.flops)}")
    total = forward = waiting = 0.0
    for kernel in trace.kernels:
        arithmetic, moving = seconds(kernel, on, precision)
        spent = max(arithmetic, moving) + on.launch
        total += spent
        forward += spent if kernel.phase == "forward" else 0
        waiting += spent if moving >= arithmetic else 0
    return Estimate(1e3 * total, 1e3 * forward, waiting / total if total else 0.0, on)


def seconds(kernel: Kernel, on: Device, precision: str = "fp32") -> tuple[float, float]:
    """One kernel's arithmetic and its bytes, in seconds."""
    flops = 2 * kernel.macs
    return flops / rate(on.flops[precision], flops), kernel.bytes / rate(on.bandwidth, kernel.bytes)


def rate(curve: Curve, size: float) -> float:
    """Between measured sizes by interpolation of logarithms; beyond them the nearest."""
    if len(curve) == 1:
        return curve[0][1]
    sizes, rates = zip(*curve, strict=True)
    return float(np.exp(np.interp(math.log(max(size, 1.0)), np.log(sizes), np.log(rates))))


# ---------------------------------------------------------------------- this CPU


def this_cpu() -> Device:
    """Peak, bandwidth and overhead per kernel of this CPU with torch's current number of threads.

    Matrices and elementwise products of several sizes; the overhead is that of a transformer block so
    narrow that it computes next to nothing, Python and views between its kernels included.
    """
    from torch import nn

    with torch.no_grad():
        peaks = []
        for rows, width in ((8, 16), (32, 48), (64, 96), (128, 192), (256, 384), (768, 768)):
            layer, x = nn.Linear(width, width), torch.randn(rows, width)
            peaks.append((2.0 * rows * width * width, _rate(lambda f=layer, x=x: f(x), 2.0 * rows * width * width)))  # type: ignore[misc]
        rates = []
        for kib in (4, 32, 256, 2048, 16384, 131072):
            source, target = torch.randn(kib * 256), torch.empty(kib * 256)
            moved = 2.0 * source.nbytes
            rates.append((moved, _rate(lambda t=target, s=source: torch.mul(s, 1.5, out=t), moved)))  # type: ignore[misc]
        launch = _per_kernel()
    threads = torch.get_num_threads()
    name = f"this CPU ({platform.processor() or platform.machine()}, {counted(threads, 'thread')})"
    # a call's fixed cost is in the small sizes' rates already: taken out (but for a quarter of them), to count once
    return Device(name, {"fp32": _without(peaks, launch)}, _without(rates, launch), launch, "calibrated here")


def _per_kernel() -> float:
    from timm.models.vision_transformer import Block

    block, x = Block(8, 2).eval(), torch.randn(1, 4, 8)
    with Recorder() as seen:
        block(x)
    return 1.0 / _rate(lambda: block(x), seen.moving)


def cpu_clock() -> Callable[[], float]:
    """Seconds: of this thread alone if torch uses only one, so that other programs' turns are left out."""
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def _rate(call: Callable[[], object], amount: float) -> float:
    """Amount per second of the median call, of those of 80 ms."""
    clock = cpu_clock()
    calls: list[float] = []
    call()
    started = time.perf_counter()
    while time.perf_counter() - started < 0.08 or len(calls) < 5:
        before = clock()
        call()
        calls.append(clock() - before)
    return amount / statistics.median(calls)


def _without(measured: Sequence[tuple[float, float]], launch: float) -> Curve:
    net = []
    for size, speed in measured:
        spent = size / speed
        net.append((size, size / max(spent - launch, 0.25 * spent)))
    return tuple(net)
