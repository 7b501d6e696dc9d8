"""The model of CUDA's caching allocator against what is known of the real one, and against a naive second one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_lab.measure.caching_allocator import MIB, CachingAllocator, Recording, matmul_workspace, play


class Naive:
    """The same rules on a list of segments, each a list of [bytes, whose]; whose None is free. Slow and plain."""

    def __init__(self):
        self.segments = []  # (is small, pieces)

    def allocate(self, name, size):
        size = -(-size // 512) * 512
        small = size <= MIB
        best = None
        for number, (kind, pieces) in enumerate(self.segments):
            for place, (free, whose) in enumerate(pieces):
                if kind == small and whose is None and free >= size and (best is None or free < best[0]):
                    best = free, number, place
        if best is None:
            new = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            self.segments.append((small, [[new, None]]))
            best = new, len(self.segments) - 1, 0
        found, number, place = best
        pieces = self.segments[number][1]
        rest = found - size
        if rest > MIB or (small and rest >= 512):
            pieces[place : place + 1] = [[size, name], [rest, None]]
        else:
            pieces[place][1] = name

    def free(self, name):
        for _, pieces in self.segments:
            for piece in pieces:
                if piece[1] == name:
                    piece[1] = None
            joined = [pieces[0]]
            for piece in pieces[1:]:
                if piece[1] is None and joined[-1][1] is None:
                    joined[-1][0] += piece[0]
                else:
                    joined.append(piece)
            pieces[:] = joined

    def bytes(self):
        pieces = [piece for _, segment in self.segments for piece in segment]
        return sum(size for size, whose in pieces if whose is not None), sum(size for size, _ in pieces)


SIZES = st.one_of(
    st.integers(1, 4096), st.integers(MIB - 700, MIB + 700), st.integers(MIB, 12 * MIB), st.integers(18 * MIB, 23 * MIB)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(SIZES, st.integers(-30, -1)), max_size=60))
def test_as_the_naive_one(steps):
    ours, naive, alive, peak = CachingAllocator(), Naive(), [], 0
    for number, step in enumerate(steps):
        if step > 0:
            ours.allocate(number, step)
            naive.allocate(number, step)
            alive.append((number, step))
        elif alive:
            name, _ = alive.pop(-step % len(alive))
            ours.free(name)
            naive.free(name)
        peak = max(peak, ours.allocated)
        assert (ours.allocated, ours.reserved) == naive.bytes()
        assert sum(size for _, size in alive) <= ours.allocated <= ours.reserved
    assert (ours.peak_allocated, ours.peak_reserved) == (peak, ours.reserved)
    for name, _ in alive:
        ours.free(name)
    assert ours.allocated == 0
    ours.reset_peaks()
    assert (ours.peak_allocated, ours.peak_reserved) == (0, ours.reserved)


@pytest.mark.parametrize(
    ("asked", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 512, 10 * MIB + 512, 12 * MIB),  # 1.9 MiB are split off …
        (11 * MIB, 12 * MIB, 12 * MIB),  # … 1 MiB is not
        (19.5 * MIB, 20 * MIB, 20 * MIB),
    ],
)
def test_one_tensor(asked, allocated, reserved):
    allocator = CachingAllocator()
    allocator.allocate("it", int(asked))
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_nothing_takes_nothing_and_a_name_has_memory_once():
    allocator = CachingAllocator()
    allocator.allocate("empty", 0)
    allocator.free("empty")
    assert allocator.reserved == 0
    allocator.allocate("it", 1)
    with pytest.raises(ValueError, match="it"):
        allocator.allocate("it", 1)


def test_a_step_played_by_hand():
    weight, saved, gradient = 4 * MIB, 16 * MIB, 4 * MIB
    step = Recording(1, (weight,), ((1, saved), (2, gradient), (1, None)), 1, (weight,), "sgd")
    # backward: the weight, its momentum, what forward saved, the gradient, and a workspace for each of two threads
    assert play(step, 32 * MIB).allocated == weight + weight + saved + gradient + 2 * 32 * MIB
    forward = Recording(1, (weight,), ((1, saved), (1, None)))
    assert play(forward, 32 * MIB).allocated == weight + saved + 32 * MIB
    assert play(forward, 0).reserved == 20 * MIB  # what was saved fits behind the weight


def test_recordings_that_differ_in_more_than_sizes_are_not_mixed():
    one, more = Recording(2, (8,), ((1, 20), (1, None))), Recording(4, (8,), ((1, 40), (2, 8), (1, None), (2, None)))
    assert one.at_batch(more, 8) is None
    assert one.at_batch(one, 8) is None


def test_the_workspace_is_what_cublas_is_told(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:2:16:8")
    assert matmul_workspace() == 8519680  # what an empty Linear layer leaves on an A10G, pytorch issue 95668
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert matmul_workspace() == 32 * MIB
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: (8, 6))
    assert matmul_workspace() == 8519680
