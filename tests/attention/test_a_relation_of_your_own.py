"""Four lines are a relation: from then on it is in lists, costs, pictures and certificates."""

import numpy as np
import pytest

from tps_lab import InputError
from tps_lab.attention import Grid, partition

LINES = """
@dataclass(frozen=True)
class Diagonal(Relation):
    name, title = "diagonal", "Diagonal"
    def allows(self, grid, query, key): return abs(query.w - key.w) == abs(query.t - key.t)
"""
IMPORTS = "from dataclasses import dataclass\nfrom tps_lab.attention import Relation\n"


def test_it_is_four_lines():
    assert len(LINES.strip().splitlines()) == 4


def test_in_a_notebook():
    """As cells run it: the class is in no module of the package, and everything finds it by name."""
    from tps_lab import create_model, viz
    from tps_lab.attention import Grid, parse, variants
    from tps_lab.explain import mixing
    from tps_lab.measure.macs import count_macs

    exec(compile(IMPORTS + LINES, "a cell", "exec"), cell := {"__name__": "__main__"})
    try:
        assert variants()["diagonal"] is cell["Diagonal"]
        variant, grid = parse("diagonal"), Grid(4, 3, 3)
        seen = variant.block(0, 1)[-1].sees(grid)
        for (i, query), (j, key) in [
            ((i, q), (j, k)) for i, q in enumerate(np.ndindex(4, 3, 3)) for j, k in enumerate(np.ndindex(4, 3, 3))
        ]:
            assert seen[i, j] == (abs(query[2] - key[2]) == abs(query[0] - key[0]))
        assert variant.reach(grid, 1) == 2
        assert viz.who_sees_whom("diagonal", (4, 3, 3)).get_title("left") == "Diagonal"
        model = create_model("vit_micro", "diagonal", frames=4, temporal_position=False)
        assert count_macs(model, model.clip_shape).agreed
        found = mixing(model)
        assert found.symmetry.reversible
        assert found.symmetry.period == 4
    finally:
        del cell["Diagonal"]


def test_numbers_an_error_or_half_a_table_are_no_relation():
    from tps_lab.attention.relations import RelationMixer

    mixer = RelationMixer(name="later", kinds=(lambda grid, query, key: query.t - key.t,))
    with pytest.raises(InputError, match="later: a relation says true or false of a query and a key, got int64"):
        mixer.sees(Grid(3, 2, 2))
    for allows, says in (
        (lambda grid, query: True, "later: its relation fails: TypeError"),
        (
            lambda grid, query, key: (query.t >= key.t).any(1),
            r"of 4 queries and 12 keys is a table of \(4, 12\), got \(4,\)",
        ),
    ):
        with pytest.raises(InputError, match=says):
            RelationMixer(name="later", kinds=(allows,)).sees(Grid(3, 2, 2))


def test_a_partition_labels_every_token():
    with pytest.raises(InputError, match=r"a label to each of 12 tokens, or one to all, got \(3,\)"):
        partition(Grid(3, 2, 2), lambda t, h, w: [1, 2, 3])
