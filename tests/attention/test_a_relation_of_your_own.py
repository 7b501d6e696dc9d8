"""Four lines are a relation: from then on it is in lists, costs, pictures, certificates, grids and reports."""

import json

import forks
import numpy as np
import pytest

LINES = """
@dataclass(frozen=True)
class Diagonal(Relation):
    name, title = "diagonal", "Diagonal"
    def allows(self, grid, query, key): return abs(query.w - key.w) == abs(query.t - key.t)
"""
IMPORTS = "from dataclasses import dataclass\nfrom tps_lab.attention import Relation\n"
GRID = """
title: A diagonal
question: Does a diagonal see a motion?
base:
  backbone: vit_micro
  data: opposites(train=24, val=12, test=12, frames=5)
  recipe.steps: 2
  recipe.batch: 4
vary:
  product: {attention: [spatial, diagonal]}
scales:
  small: {seeds: 1}
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(IMPORTS + LINES)
    return file


@pytest.fixture
def cli(plugin, tmp_path):
    with forks.commands(tmp_path) as run:
        yield lambda *arguments: run("tps-lab", "--plugin", plugin, *arguments)


def test_it_is_four_lines():
    assert len(LINES.strip().splitlines()) == 4


def test_in_a_notebook():
    """As cells run it: the class is in no module of the package, and everything finds it by name."""
    from tps_lab import create_model, viz
    from tps_lab.attention import Grid, parse, variants
    from tps_lab.explain import mixing

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
        found = mixing(model)
        assert found.symmetry.reversible
        assert found.symmetry.period == 4
    finally:
        del cell["Diagonal"]


def test_from_the_command_line(cli, tmp_path):
    assert "diagonal" in cli("list", "attention")
    costs = json.loads(cli("cost", "--attention", "diagonal", "--frames", 4, "--json"))
    assert set(costs["macs_by_counter"].values()) == {costs["macs"]}
    certificate = cli("explain", "--attention", "diagonal", "--frames", 4, "--depth", 1, "--data", "direction")
    assert "symmetry" in certificate
    (tmp_path / "grid.yaml").write_text(GRID)
    cli("ablate", tmp_path / "grid.yaml", "--out", tmp_path / "out", "--timing-seconds", 0, "--executor", "inline")
    cli("report", tmp_path / "out", "--out", tmp_path / "page")
    assert "Diagonal" in (tmp_path / "page" / "report.md").read_text()
