"""Patterns against the paper's table, written out here a second time, and against double loops."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tps_lab import InputError, ShiftPattern, patterns

# name: tile, frames mixed, unshifted patches of a 7×7 window (arXiv 2207.13259, figure 3; shares counted)
TABLE = {
    "none": ([[0]], 1, 49),
    "center-one": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 2, 45),
    "A": ([[0, 1], [-1, 0]], 3, 25),
    "B": ([[0, 1], [-1, 2]], 4, 16),
    "C": ([[-4, 1, 2], [-1, 0, 3], [-2, -3, 4]], 9, 4),
    "D": ([[0, 1, 2, 3], [-1, -7, 4, 5], [-2, -4, 7, 6], [-3, -5, -6, 8]], 16, 4),
    "C-without-4": ([[0, 1, 2], [-1, 0, 3], [-2, -3, 4]], 8, 13),
}
INFERRED = ["uneven", "even-2"]

quick = settings(deadline=None, max_examples=50)
tiles = hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(-9, 9))
short_tiles = hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.integers(-4, 4))


# ---------------------------------------------------------------------- the gallery


@pytest.mark.parametrize("name", TABLE)
def test_gallery_is_the_papers_table(name):
    tile, frames_mixed, unshifted = TABLE[name]
    pattern = patterns[name]
    assert [list(row) for row in pattern.tile] == tile
    assert pattern.name == name
    assert pattern.frames_mixed == frames_mixed
    assert int((pattern.offsets_on(7, 7) == 0).sum()) == unshifted


def test_gallery_holds_nothing_else():
    assert set(patterns) == {*TABLE, *INFERRED}


@pytest.mark.parametrize("name", INFERRED)
def test_inferred_tiles_move_the_same_twelve_patches_of_a_window_one_frame(name):
    on_window = patterns[name].offsets_on(7, 7)
    assert int((on_window == 1).sum()) == 12
    assert set(patterns[name].offsets) == {0, 1}


def test_inferred_tiles_differ_in_spread_alone():
    assert patterns["uneven"].offsets_on(7, 7)[:3, :4].all()
    assert patterns["uneven"].offsets_on(7, 7).sum() == 12
    assert patterns["even-2"].offsets_on(7, 7)[0::2, 1::2].all()


def test_every_named_pattern_has_a_note_and_a_custom_one_has_none():
    assert all(patterns[name].note for name in patterns)
    assert ShiftPattern([[0, 5]]).note == ""


# ---------------------------------------------------------------------- parsing


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("C", "C"),
        ("c", "C"),
        (" d ", "D"),
        ("Center-One", "center-one"),
        ("NONE", "none"),
        ("even-3", "A"),
        ("Bayer", "A"),
        ("EVEN-3", "A"),
        ("c8", "C-without-4"),
        ("c-WITHOUT-4", "C-without-4"),
    ],
)
def test_names_and_aliases_in_any_case(given, name):
    assert ShiftPattern.parse(given).name == name


@pytest.mark.parametrize(
    "given",
    [
        "0 1 / -1 2",
        "0,1/-1,2",
        " 0  1 /-1 +2 ",
        "0, 1 / -1, 2",
        "0 1\n-1 2",
        "\n   0 1\n  -1 2\n",
        "0 1 / -1 2 /",
        "0 1 / \N{MINUS SIGN}1 2",
        "[[0, 1], [-1, 2]]",
        "[[0,1],[-1,2]]",
        [[0, 1], [-1, 2]],
        ((0, 1), (-1, 2)),
        np.array([[0, 1], [-1, 2]]),
    ],
)
def test_one_tile_in_many_spellings(given):
    pattern = ShiftPattern.parse(given)
    assert pattern.tile == ((0, 1), (-1, 2))
    assert pattern.name == "B", "a tile equal to a named one takes its name"


def test_parse_hands_a_pattern_back_as_it_is():
    mine = ShiftPattern(((0, 1), (-1, 0)), name="mine")
    assert ShiftPattern.parse(mine) is mine


@quick
@given(tiles)
def test_text_parses_back(tile):
    pattern = ShiftPattern.parse(tile)
    assert pattern.tile == tuple(map(tuple, tile.tolist()))
    assert ShiftPattern.parse(pattern.text) == pattern
    assert ShiftPattern.parse(str(pattern)) == pattern
    assert ShiftPattern.parse(pattern.text.replace(" / ", "\n")) == pattern
    assert hash(ShiftPattern.parse(str(pattern))) == hash(pattern)


def test_a_pattern_that_only_borrows_a_name_is_written_as_its_tile():
    assert str(ShiftPattern(((0, 5),), name="C")) == "0 5"
    assert str(patterns["C"]) == "C"


# ---------------------------------------------------------------------- bad tiles


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "[]"),
        ([], "[]"),
        ([[]], "[[]]"),
        ([[0, 1], [2]], "0 1 / 2"),
        ("0 1 / 2", "0 1 / 2"),
        ("0 1 / 2 x", "0 1 / 2 x"),
        ("0 1.5", "0 1.5"),
        ("0 1_0", "0 1_0"),
        ("0 ٣", "0 ٣"),
        ([[0, 1.0]], "[[0, 1.0]]"),
        ([[0, float("nan")]], "[[0, nan]]"),
        ([[True, 0]], "[[True, 0]]"),
        (np.array([[True, False]]), "True"),
        ([[None]], "[[None]]"),
        (["01", "10"], "['0', '1']"),
        ([0, 1], "[0, 1]"),
        (3, "3"),
    ],
)
def test_a_bad_tile_is_refused_and_shown(given, shown):
    with pytest.raises(InputError) as error:
        ShiftPattern.parse(given)
    assert shown in str(error.value)


@pytest.mark.parametrize(
    ("given", "nearest"), [("center-on", "center-one"), ("C-witout-4", "C-without-4"), ("unevn", "uneven")]
)
def test_an_unknown_name_gets_the_nearest_and_all_others(given, nearest):
    with pytest.raises(InputError, match=f"did you mean '{nearest}'") as error:
        ShiftPattern.parse(given)
    assert all(name in str(error.value) for name in patterns)


def test_a_missing_name_in_the_gallery_is_an_input_error_too():
    with pytest.raises(InputError, match="unknown pattern 'Q'"):
        patterns["Q"]


@pytest.mark.parametrize(("frames", "fits"), [(9, True), (8, False), (5, False)])
def test_an_offset_as_long_as_the_clip_is_refused(frames, fits):
    if fits:
        patterns["D"].check_fits(frames)
        return
    with pytest.raises(InputError) as error:
        patterns["D"].source_frames(frames, 2, 3)
    assert patterns["D"].text in str(error.value)
    assert f"{frames} frames" in str(error.value)


# ---------------------------------------------------------------------- what it mixes


def came_from(tile, border, frames, t, h, w):
    """The definition, one patch at a time; -1 is a zero."""
    source = t - tile[h % len(tile)][w % len(tile[0])]
    if border == "circular":
        return (source + 2 * frames) % frames
    if border == "edge":
        return 0 if source < 0 else frames - 1 if source >= frames else source
    return source if 0 <= source < frames else -1


@quick
@given(short_tiles, st.sampled_from(["circular", "zero", "edge"]), st.sampled_from([(5, 2, 3), (7, 5, 1), (11, 3, 7)]))
def test_source_frames_is_the_double_loop(tile, border, sizes):
    frames, height, width = sizes
    source = ShiftPattern.parse(tile).source_frames(frames, height, width, border)
    by_hand = [
        [[came_from(tile.tolist(), border, frames, t, h, w) for w in range(width)] for h in range(height)]
        for t in range(frames)
    ]
    assert source.tolist() == by_hand


def test_an_unknown_border_is_refused():
    with pytest.raises(InputError, match="unknown border 'zeros'; did you mean 'zero'"):
        patterns["A"].source_frames(3, 2, 5, "zeros")


@pytest.mark.parametrize(
    ("name", "one_layer", "one_layer_not_back", "share"),
    [
        ("none", 0, 0, 0),
        ("center-one", 1, 1, 1 / 9),
        ("A", 2, 1, 1 / 2),
        ("B", 3, 2, 3 / 4),
        ("C", 8, 4, 8 / 9),
        ("D", 15, 8, 15 / 16),
        ("C-without-4", 7, 4, 7 / 9),
    ],
)
def test_reach_and_share_by_hand(name, one_layer, one_layer_not_back, share):
    pattern = patterns[name]
    assert pattern.reach() == one_layer
    assert pattern.reach(shift_back=False) == one_layer_not_back
    assert pattern.reach(layers=3) == 3 * one_layer
    assert pattern.reach(layers=0) == 0
    assert pattern.shifted_share == pytest.approx(share)


def test_a_constant_offset_reaches_nobody_when_shifted_back():
    assert ShiftPattern.parse("3").reach() == 0
    assert ShiftPattern.parse("3").reach(shift_back=False) == 3


def test_negative_layers_are_refused():
    with pytest.raises(InputError, match="-1"):
        patterns["A"].reach(layers=-1)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda p: p.source_frames(9.5, 2, 2), "frames must be a whole number, got 9.5"),
        (lambda p: p.source_frames(0, 2, 2), "frames must be 1 or more, got 0"),
        (lambda p: p.source_frames(9, 2, True), "width must be a whole number, got True"),
        (lambda p: p.source_frames(9, 2, 2, None), "unknown border 'None'"),
        (lambda p: p.check_fits("9"), "frames must be a whole number, got '9'"),
        (lambda p: p.reach(float("nan")), "layers must be a whole number, got nan"),
        (lambda p: p.reach(1.5), "layers must be a whole number, got 1.5"),
        (lambda p: p.reach(shift_back="no"), "shift_back must be True or False, got 'no'"),
        (lambda p: p.offsets_on(-1, 3), "height must be 1 or more, got -1"),
        (lambda p: p.offsets_on(1.5, 3), "height must be a whole number, got 1.5"),
        (lambda p: patterns[None], "a pattern's name is text such as 'C', got None"),
        (lambda p: patterns[0], "a pattern's name is text such as 'C', got 0"),
        (lambda p: patterns.add(None, "0 1"), "has no blank, comma or slash, got None"),
    ],
)
def test_what_is_no_number_or_no_name_is_refused_in_one_line(ask, said):
    with pytest.raises(InputError) as refused:
        ask(patterns["A"])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_numbers_of_numpy_are_numbers():
    assert patterns["A"].source_frames(np.int64(5), np.int32(2), np.int64(2)).shape == (5, 2, 2)
    assert patterns["A"].reach(np.int64(2)) == 4


# ---------------------------------------------------------------------- light to import


def test_patterns_do_not_import_torch():
    program = "import sys, tps_lab; tps_lab.patterns['C'].reach(4); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_pattern_of_ones_own_is_an_entry_like_any_other(monkeypatch):
    monkeypatch.setattr(patterns, "gallery", patterns._Gallery(patterns.gallery))
    stairs = patterns.add("stairs", "0 1 / 2 3", "each patch of a square a frame later")
    assert patterns.gallery["STAIRS"] is stairs
    assert ShiftPattern.parse("0 1 / 2 3").note == "each patch of a square a frame later"
    assert str(stairs) == "stairs"
    assert patterns.add("stairs", [[0, 1], [2, 3]]) == stairs
    for name, tile, says in (
        ("c", "0 1", "already stands for the tile -4 1 2"),
        ("Bayer", "0 1", "already"),
        ("2nd", "0", "letter"),
    ):
        with pytest.raises(InputError, match=says):
            patterns.add(name, tile)
