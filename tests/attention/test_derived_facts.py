"""What follows from the groups: identities, which blocks, how far information gets, multiply-adds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_blocks import mixed
from who_meets import (
    GRID,
    MEETS,
    RELATIONS,
    C,
    by_hand,
    neighbour_frames,
    quick,
    same_frame,
    shifted,
    short_tiles,
    tokens_of,
)

from tps_lab import InputError, ShiftPattern
from tps_lab.attention import Grid, parse, partition
from tps_lab.attention.patch_shift import shift_routes

torch.set_num_threads(1)


@pytest.mark.parametrize("border", ["circular", "zero", "edge"])
def test_pattern_none_is_spatial_bit_for_bit(border):
    grid = Grid(5, 2, 3, prefix=1)
    assert torch.equal(mixed(f"tps(every=1, pattern=none, border={border})", grid), mixed("spatial", grid))


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_joint_of_one_frame_is_spatial(prefix):
    joint = mixed("joint", Grid(1, 3, 5, prefix, "clip"), torch.float64)
    torch.testing.assert_close(joint, mixed("spatial", Grid(1, 3, 5, prefix), torch.float64), rtol=0, atol=1e-12)


def test_a_constant_offset_changes_nothing_once_shifted_back():
    torch.testing.assert_close(mixed("tps(every=1, pattern=3)", GRID), mixed("spatial", GRID))


@quick
@given(short_tiles, st.sampled_from([Grid(5, 2, 3), Grid(7, 3, 5), Grid(5, 1, 1)]))
def test_the_one_line_form_of_patch_shift_gives_the_same_groups(tile, grid):
    offsets = np.array(tile)
    rows, columns = offsets.shape
    line = partition(grid, lambda t, h, w: (t + offsets[h % rows, w % columns]) % grid.frames)
    routes = shift_routes(grid, ShiftPattern.parse(tile))
    assert [set(group) for group in line.gather.tolist()] == [set(group) for group in routes.gather.tolist()]
    assert routes.is_permutation
    assert line.is_permutation


def test_groups_of_unequal_sizes_are_refused():
    with pytest.raises(InputError, match=r"equal size, got sizes \[10, 20\]"):
        partition(GRID, lambda t, h, w: np.minimum(w, 1))


@pytest.mark.parametrize("text", ["spatial", "tps(pattern=none, every=1)"])
def test_frames_in_order_are_not_copied(text):
    (mixer,) = parse(text).block(0, 1)
    assert mixer.routes(GRID).is_identity


# ---------------------------------------------------------------------- which blocks


@pytest.mark.parametrize(
    ("text", "depth", "blocks"),
    [
        ("spatial", 4, "SSSS"),
        ("tps", 5, "SPSPS"),
        ("tps(every=1)", 4, "PPPP"),
        ("tps(every=3)", 7, "SSPSSPS"),
        ("tps(every=1, stages=[1,4])", 4, "PSSP"),
        ("tps(every=1, stages=2)", 8, "SSPPSSSS"),
        ("tps(every=2, stages=[3,4])", 8, "SSSSSPSP"),
        ("tps(every=1, stages=3)", 12, "SSSSSSPPPSSS"),
        ("tcs", 3, "CCC"),
        ("tcs(every=2)", 5, "SCSCS"),
        ("tsm(every=2, stages=[1,2])", 4, "SCSS"),
        ("tps+tcs", 5, "PCPCP"),
        ("tps+tcs(order=tcs-tps)", 5, "CPCPC"),
        ("tps+tcs(every=2)", 8, "SPSCSPSC"),
        ("joint(every=3)", 4, "SSJS"),
    ],
)
def test_schedule_by_hand(text, depth, blocks):
    letters = {"S": same_frame, "P": shifted(C), "C": neighbour_frames, "J": MEETS["joint"][0]}
    for index, letter in enumerate(blocks):
        (mixer,) = parse(text).block(index, depth)
        np.testing.assert_array_equal(mixer.sees(GRID), by_hand(GRID, letters[letter]), err_msg=f"block {index}")


@pytest.mark.parametrize(("text", "steps"), [("divided(every=2)", 2), ("axial(every=2)", 3)])
def test_extra_steps_stand_only_in_blocks_that_are_on(text, steps):
    assert [len(parse(text).block(index, 4)) for index in range(4)] == [1, steps, 1, steps]


# ---------------------------------------------------------------------- reach


def test_patch_shift_in_every_block_of_a_vit_stays_in_its_first_groups():
    grid, variant = Grid(8, 6, 6), parse("tps(every=1)")
    once = variant.influence(grid, 1)
    np.testing.assert_array_equal(variant.influence(grid, 6), once)
    assert set(once.sum(1)) == {36}


@pytest.mark.parametrize(
    ("text", "reached"), [("spatial", 36), ("tps(every=2)", 288), ("joint", 288), ("divided", 288)]
)
def test_how_many_of_288_tokens_influence_one_after_six_blocks(text, reached):
    variant = parse(text)
    assert set(variant.influence(Grid(8, 6, 6), 6).sum(1)) == {reached}


@pytest.mark.parametrize("text", ["tcs", "tsm"])
@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_channel_shift_reaches_one_frame_per_block(text, depth):
    assert parse(text).reach(Grid(7, 2, 3), depth) == depth


@pytest.mark.parametrize(
    ("text", "depth", "frames"),
    [
        ("spatial", 6, 0),
        ("tps(every=1, pattern=A, border=zero)", 1, 2),  # +1 meets -1
        ("tps(every=1, pattern=A, border=zero)", 5, 2),
        ("tps(every=2, pattern=A, border=zero)", 2, 2),
        ("tps(every=2, pattern=A, border=zero)", 4, 4),
        ("tps(every=1, pattern=A, border=zero, shift_back=False)", 1, 1),
        ("tps(every=1, pattern=center-one, border=zero)", 1, 1),
        ("tps(every=1, pattern=A)", 1, 2),  # around the end, too: frame 0 meets frame 12, which is next to it
        ("tps+tcs(pattern=A, border=zero)", 2, 3),
        ("joint", 1, 12),
        ("divided", 1, 12),
        ("axial", 1, 12),
    ],
)
def test_reach_by_hand(text, depth, frames):
    assert parse(text).reach(Grid(13, 3, 5), depth) == frames


def test_reach_with_a_class_token_per_frame_and_per_clip():
    assert parse("tps(every=1, pattern=A, border=zero)").reach(Grid(13, 3, 5, 1), 1) == 2
    assert parse("tcs").reach(Grid(13, 3, 5, 1), 3) == 3
    # the clip's class token carries what it saw on to everyone, one block later
    divided = parse("divided(stages=[4])")
    assert divided.reach(Grid(13, 3, 5, 0, "clip"), 2) == 0
    assert divided.reach(Grid(13, 3, 5, 1, "clip"), 2) == 12


# ---------------------------------------------------------------------- multiply-adds


HOLES = (
    *(
        "zero",
        "edge",
        "local(",
        "l+g",
        "factorised-dot",
        "trajectory",
        "tokshift",
        "areas",
        "mem",
        "zeroi2v",
        "leap",
        "aim",
        "adapter",
    ),
)  # counted by hand below


@pytest.mark.parametrize(
    "text", [text for text in MEETS if text not in RELATIONS and not any(word in text for word in HOLES)]
)
@pytest.mark.parametrize("grid", [GRID, Grid(5, 3, 7)], ids=str)
def test_macs_are_a_count_of_pairs(text, grid):
    """4·C² per token and 2·C per pair that meets; extra steps but ViViT's have one more C² per token."""
    channels, expected = 11, 0
    *extra, last = MEETS[text]
    for meet in [*extra, same_frame if last is neighbour_frames else last]:
        pairs = sum(meet(a, b, grid) for a in tokens_of(grid) for b in tokens_of(grid))
        expected += 4 * grid.tokens * channels**2 + 2 * pairs * channels
    if not text.startswith("factorised-self"):
        expected += len(extra) * grid.tokens * channels**2
    assert parse(text).macs(grid, 1, channels) == expected


@pytest.mark.parametrize(
    ("text", "depth", "slots", "groups_of"),
    [
        # 5×2×3 patches, windows of 2×2×2: 3×1×2 of them, each with 8 slots, half of them holes
        ("local(window_frames=2, window=2)", 1, 48, 8),
        ("local(window_frames=2, window=2)", 2, 96, 8),
        ("local(window_frames=5, window=3)", 2, 60, 30),
    ],
)
def test_macs_of_windows_count_their_holes(text, depth, slots, groups_of):
    assert parse(text).macs(GRID, depth, 11) == 4 * slots * 121 + 2 * slots * groups_of * 11


def test_macs_of_what_is_no_partition_by_hand():
    c, m, t, n = 12, 30, 5, 6
    # quarters of 2 or 1 of 3 columns × 1 row × 5 frames: 4 groups of 10; then 3·1·2 of the 5·2·3: 8 groups of 6
    near = 4 * 40 * c * c + 2 * 4 * 10 * 10 * c + m * c * c
    assert parse("l+g").macs(GRID, 1, c) == near + 4 * 48 * c * c + 2 * 8 * 6 * 6 * c
    assert parse("factorised-dot").macs(GRID, 1, c) == 4 * m * c * c + (m * t + m * n) * c
    with_class = Grid(5, 2, 3, 1, "clip")
    assert parse("factorised-dot").macs(with_class, 1, c) == 4 * 31 * c * c + (6 * 6 * 6 + 5 * 7 * 7) * c
    # every token asks all, then its five answers; one query, five keys and five values are projected
    trajectory = 4 * m * c * c + 2 * m * m * c + 11 * m * c * c + 2 * m * t * c
    assert parse("trajectory").macs(GRID, 1, c) == trajectory
    assert parse("trajectory(values=plain)").macs(GRID, 1, c) == trajectory - 5 * m * c * c
    assert parse("trajectory").macs(with_class, 1, c) == trajectory + 4 * c * c + 2 * 31 * c
    assert parse("tokshift").macs(Grid(5, 2, 3, 1), 1, c) == parse("spatial").macs(Grid(5, 2, 3, 1), 1, c)


def test_macs_of_what_came_after_tps_by_hand():
    c, m, t, n = 12, 30, 5, 6
    # areas of 3×1×2 patches or less, 2·2·2 of them, of which each row of patches fills one
    assert parse("areas").macs(GRID, 1, c) == 4 * 48 * c * c + 2 * 8 * 6 * 6 * c
    assert parse("areas").macs(GRID, 4, c) == 3 * parse("areas").macs(GRID, 1, c) + parse("joint").macs(GRID, 1, c)
    mem = 4 * m * c * c + 2 * (n * t * t + t * n * n) * c
    assert parse("mem").macs(GRID, 1, c) == mem
    assert parse("mem").macs(GRID, 8, c) == 2 * mem + 6 * parse("spatial").macs(GRID, 1, c)
    found = parse("mem").block(0, 1)[0].meetings(GRID)
    assert (found.executed, found.allowed) == (n * t * t + t * n * n, n * t * (t + 1) / 2 + t * n * n)
    assert parse("zeroi2v(far=2)").macs(GRID, 3, c) == parse("spatial").macs(GRID, 3, c)
    spatial, adapter = parse("spatial").macs(GRID, 1, c), 2 * m * c * c // 4
    assert (
        parse("aim").macs(GRID, 1, c) == spatial + 4 * m * c * c + 2 * n * t * t * c + 2 * adapter
    )  # and one in the MLP
    assert parse("st-adapter").macs(GRID, 1, c) == spatial + m * (2 * c * c // 2 + 3 * c // 2)
    # 5 frames leap by 3: two pairs of 12 patches, and one frame that has no partner
    assert parse("leap").macs(GRID, 1, c) == 4 * m * c * c + 2 * 3 * 12 * 12 * c
    found = parse("leap").block(0, 1)[0].meetings(GRID)
    assert (found.executed, found.allowed) == (3 * 144, 2 * 144 + 36)


def test_macs_with_class_tokens_by_hand():
    # 5 frames of 6 patches. A class token per frame: 5 groups of 7. Per clip: 31 tokens together.
    assert parse("spatial").macs(Grid(5, 2, 3, 1), 1, 10) == 4 * 35 * 100 + 2 * 5 * 49 * 10
    assert parse("joint").macs(Grid(5, 2, 3, 1, "clip"), 1, 10) == 4 * 31 * 100 + 2 * 31**2 * 10
    # divided: 6 groups of 5 without it, an output layer, then 5 groups of 7
    over_time = 4 * 30 * 100 + 2 * 6 * 25 * 10 + 30 * 100
    assert parse("divided").macs(Grid(5, 2, 3, 1, "clip"), 1, 10) == over_time + 4 * 35 * 100 + 2 * 5 * 49 * 10


@pytest.mark.parametrize("text", ["tps", "tps(every=1)", "tcs", "tsm", "tps+tcs", "xvit", "tokshift"])
def test_shifts_cost_what_spatial_costs(text):
    grid = Grid(5, 3, 7, 1)
    assert parse(text).macs(grid, 4, 11) == parse("spatial").macs(grid, 4, 11)
