"""The shift alone, forward and backward, beside the usual way and a plain copy: `make benchmark`.

Measured and printed, never asserted. Machines are noisy, so the ways also take turns, and the paired
ratio to the copy is printed with its interval. To reach: 1.15; on CUDA kernels of some
microseconds hide behind Python and are timed as CUDA graphs, too.
"""

import pytest
import torch
from study import load

from tps_lab.measure.step import graphed, synchronise
from tps_lab.measure.timing import interleaved, paired_ratio

SHAPES = load("speed").SHAPES
from instead import OURS, WAYS, both_passes  # noqa: E402  # beside that page

PLACES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_shift_alone(benchmark, way, shape, place):
    benchmark.group = f"pattern C, forward and backward, {shape}, {place}"
    both = both_passes(way, SHAPES[shape], place)

    def waited_for():
        both()
        synchronise(place)

    benchmark.pedantic(waited_for, rounds=40, warmup_rounds=5)


def in_pairs_with_the_copy(benchmark, capsys, work, shape, place, calls):
    """Time each way beside the copy alone: what clone-and-roll leaves in caches and heap would slow whoever follows."""
    floor, *others = work

    def timed():
        return {way: interleaved({floor: work[floor], way: work[way]}, 200, seconds=10, device=place) for way in others}

    found = benchmark.pedantic(timed, rounds=1, iterations=1)
    with capsys.disabled():
        print(f"\n{shape}, {found[others[0]][floor].how}" + (f", a CUDA graph of {calls}" if calls > 1 else ""))
        for way, timings in found.items():
            ratio = paired_ratio(timings[way].calls, timings[floor].calls)
            ms, copy = (timings[name].median / calls for name in (way, floor))
            print(f"  {way:20} {ms:9.4f} ms, the copy {copy:9.4f} ms, × copy: {ratio}")
            benchmark.extra_info[f"{way} / copy"] = ratio.row()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
def test_shift_in_turn_with_a_copy(benchmark, capsys, shape, place):
    benchmark.group = "pattern C in turn with a plain copy"
    work = {way: both_passes(way, SHAPES[shape], place) for way in WAYS}
    in_pairs_with_the_copy(benchmark, capsys, work, shape, place, 1)


@pytest.mark.parametrize("place", PLACES[1:])
@pytest.mark.parametrize("shape", SHAPES)
def test_shift_without_python_in_turn_with_a_copy(benchmark, capsys, monkeypatch, shape, place):
    benchmark.group = "pattern C in turn with a plain copy, as CUDA graphs"
    calls = 20
    work = {way: graphed(both_passes(way, SHAPES[shape], place), calls) for way in WAYS}
    monkeypatch.setenv("TPS_LAB_GATHER", "triton")
    work["one gather (Triton)"] = graphed(both_passes(OURS, SHAPES[shape], place), calls)
    in_pairs_with_the_copy(benchmark, capsys, work, shape, place, calls)
