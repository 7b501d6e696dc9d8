"""One token's row against the matrices of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_lab.attention import Grid, parse, receptive_field, variants

TEXTS = [
    *variants(),
    "tps(pattern=B, every=1)",
    "tps(pattern=A, border=zero, shift_back=false, every=1)",
    "tps(pattern=A, border=edge)",
    "local(window_frames=2, window=2)",
]


@pytest.mark.parametrize("text", TEXTS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_row_is_that_of_the_matrix(text, data):
    variant = parse(text)
    prefix = 1 if variant.needs_class_token else data.draw(st.integers(0, 2))
    if variant.prefix_of == "frame" and len(variant.block(1, 2)) > 1 and not variant.needs_class_token:
        prefix = 0
    grid = Grid(data.draw(st.integers(10, 12)), data.draw(st.integers(1, 3)), 3, prefix, variant.prefix_of)
    depth = data.draw(st.integers(1, 3))
    token = data.draw(st.integers(0, grid.tokens - 1))
    found = receptive_field(variant, grid, depth, token)
    assert len(found) == depth + 1
    assert np.flatnonzero(found[0]).tolist() == [token]
    assert np.array_equal(found[depth], variant.influence(grid, depth)[token])
