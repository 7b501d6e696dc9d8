"""Grid files: what they mean, what is refused and on which line, and that all shipped ones are sound."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_lab import InputError
from tps_lab.ablate import Asked, check, costs, plan
from tps_lab.ablate.grid import configuration, find, load
from tps_lab.training import forecast

SHIPPED = find(Path(__file__).parents[2] / "ablations")

GOOD = """\
title: Patterns
question: Which?
base:
  attention: tps
  recipe.lr: 1e-3
vary:
  product:
    attention.pattern: [A, C]
    recipe.steps: [10, 20]
  exclude:
    - {attention.pattern: C, recipe.steps: 20}
  conditions:
    - if: {attention.pattern: C}
      then: {data.frames: 9}
  cases:
    plain: {attention: spatial}
measures: [top1_pct, macs]
baseline: plain
paper:
  source: nowhere
  numbers:
    plain: {top1_pct: 1.0}
scales:
  small: {seeds: 2}
  paper: {seeds: [3, 5], base: {recipe.batch: 64}}
"""


def written(tmp_path, text):
    file = tmp_path / "g.yaml"
    file.write_text(text)
    return file


def test_a_grid_is_what_it_says(tmp_path):
    grid = load(written(tmp_path, GOOD))
    assert grid.cases == ("pattern=A, steps=10", "pattern=A, steps=20", "pattern=C, steps=10", "plain")
    assert [cell.seed for cell in grid.cells] == [0] * 4 + [1] * 4  # every case once before any comes again
    first, _, third, plain = (cell.config for cell in grid.cells[:4])
    assert (str(first.attention), first.recipe.lr, first.recipe.steps) == ("tps(pattern=A)", 1e-3, 10)
    assert (str(first.data), str(third.data)) == ("opposites", "opposites(frames=9)")
    assert str(plain.attention) == "spatial"
    paper = load(written(tmp_path, GOOD), "paper")
    assert {cell.seed for cell in paper.cells} == {3, 5}
    assert paper.cells[0].config.recipe.batch == 64


def test_settings_from_the_command_line_replace_the_bases(tmp_path):
    grid = load(written(tmp_path, GOOD), "small", {"seeds": 1, "recipe.lr": 0.5, "data": "opposites(size=16)"})
    assert len(grid.cells) == 4
    assert grid.cells[0].config.recipe.lr == 0.5
    assert str(grid.cells[2].config.data) == "opposites(frames=9, size=16)"


def test_what_varies_wins_over_the_base_however_either_writes_it(tmp_path):
    """An option inside a case's text against the base's own key for it; a group against a dotted key."""
    text = {
        "title": "t",
        "question": "q",
        "base": {"attention": "tps", "attention.pattern": "A", "data.frames": 8, "recipe.lr": 0.5, "recipe.batch": 6},
        "vary": {
            "product": {"attention": ["tps", "tps(pattern=B)"], "data": ["opposites", "opposites(frames=12)"]},
            "conditions": [{"if": {"attention": "tps"}, "then": {"data": "order(frames=20)"}}],
            "cases": {"x": {"recipe": {"steps": 9}, "attention": "tps(every=1)", "attention.pattern": "D"}},
        },
        "scales": {"small": {"seeds": 1, "base": {"recipe": {"lr": 0.1}}}},
    }
    cells = load(written(tmp_path, yaml.safe_dump(text)), settings={"recipe.lr": 0.2}).cells
    found = [(str(c.config.attention), str(c.config.data)) for c in cells]
    assert found[0] == ("tps(pattern=A)", "order(frames=20)")
    assert found[2:4] == [("tps(pattern=B)", "opposites(frames=8)"), ("tps(pattern=B)", "opposites(frames=12)")]
    assert found[4] == ("tps(every=1, pattern=D)", "opposites(frames=8)")
    assert {(c.config.recipe.lr, c.config.recipe.batch) for c in cells} == {(0.2, 6)}


def test_what_has_a_name_of_its_own_is_called_by_it(tmp_path):
    """On tables and in a row's `varied`; what has none is called by its key and value."""
    product = {"weights": {"from scratch": ""}, "attention": {"PST": "tps+tcs"}, "data.frames": {"8": 8, "long": 32}}
    text = {"title": "t", "question": "q", "scales": {"small": {"seeds": 1}}}
    cells = load(written(tmp_path, yaml.safe_dump(text | {"vary": {"product": product}}, sort_keys=False))).cells
    assert [cell.case for cell in cells] == ["from scratch, PST, frames=8", "from scratch, PST, long"]
    assert cells[1].values == (("weights", "from scratch"), ("attention", "PST"), ("data.frames", "long"))


def test_cells_are_chosen_by_name(tmp_path):
    grid = load(written(tmp_path, GOOD))
    assert [c.case for c in grid.chosen(["pattern=A*"])] == 2 * ["pattern=A, steps=10", "pattern=A, steps=20"]
    assert [(c.case, c.seed) for c in grid.chosen(["plain/1"])] == [("plain", 1)]
    assert len(grid.chosen(limit=3)) == 3
    with pytest.raises(InputError, match="did you mean 'plain'"):
        grid.chosen(["plane"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("question:", "qestion:", "g.yaml:2: unknown key 'qestion'; did you mean 'question'"),
        ("  product:", "  produce:", "g.yaml:7: unknown key 'produce'; did you mean 'product'"),
        ("{seeds: 2}", "{seed: 2}", "g.yaml:24: unknown key 'seed'; did you mean 'seeds'"),
        ("{seeds: 2}", "{seeds: two}", "g.yaml:24: scales.small.seeds = 'two'"),
        ("  small:", "  smal:", "g.yaml:24: unknown scale 'smal'; did you mean 'small'"),
        ("[A, C]", "[A, Cc]", "g.yaml:8: cell|g.yaml:8: .*unknown pattern 'Cc'; did you mean 'C'"),
        ("attention.pattern: [", "attention.patern: [", "g.yaml:8: .*'patern'.*did you mean 'pattern'"),
        ("recipe.steps: [10", "recipe.stepz: [10", "g.yaml:9: .*did you mean 'recipe.steps'"),
        ("[10, 20]", "[10, 0]", "g.yaml:9: .*recipe.steps = 0"),
        ("attention: tps\n", "attention: tsp\n", "g.yaml:4: .*unknown attention variant 'tsp'"),
        ("recipe.lr: 1e-3", "recipe.lr: fast", "g.yaml:5: .*recipe.lr = 'fast'"),
        ("data.frames: 9", "data.frame: 9", "g.yaml:14: .*'frame'.*did you mean 'frames'"),
        ("plain: {attention: spatial}", "plain: {atention: spatial}", "g.yaml:16: .*did you mean 'attention'"),
        ("[top1_pct, macs]", "[top1_pct, mac]", "g.yaml:17: unknown measure 'mac'; did you mean 'macs'"),
        ("baseline: plain", "baseline: plan", "g.yaml:18: unknown case 'plan'; did you mean 'plain'"),
        ("baseline: plain", "compare: attention.patern", "g.yaml:18: unknown axis 'attention.patern'; did you mean"),
        ("baseline: plain", "compare: data.frames", "g.yaml:18: unknown axis 'data.frames'"),
        ("baseline: plain", "baseline: plain\ncompare: recipe.steps", "g.yaml:19: a grid has a baseline or an axis"),
        ("baseline: plain", "compare: recipe.steps\nacross: recipe.steps", "g.yaml:19: it goes with compare"),
        ("baseline: plain", "compare: recipe.steps\nacross: data", "g.yaml:19: unknown axis 'data'"),
        ("baseline: plain", "baseline: plain\nacross: recipe.steps", "g.yaml:19: it goes with compare"),
        ("    plain: {top1_pct", "    plane: {top1_pct", "g.yaml:22: unknown case 'plane'"),
        ("- {attention.pattern: C", "- {attention.patern: C", "g.yaml:11: unknown key 'attention.patern'"),
        ("source: nowhere", "source: [", "g.yaml:"),
        ("title: Patterns\n", "title: a\ntitle: b\n", "g.yaml:2: the key 'title' stands here twice"),
        ("title: Patterns\n", "", "g.yaml:1: the key 'title' is missing"),
        (
            "recipe.steps: 20}",
            "recipe.steps: 30}",
            "g.yaml:11: excludes nothing: .*steps: 30",
        ),
        ("if: {attention.pattern: C}", "if: {attention.pattern: D}", "g.yaml:13: holds nowhere"),
        ("{seeds: 2}", "{seeds: [1, 1]}", "g.yaml:24: seeds must be .* different"),
        ("  recipe.lr: 1e-3", "  seed: 1", "g.yaml:5: a grid's seeds belong under 'scales'"),
        ("plain: {attention: spatial}", "plain: {name: spatial}", "g.yaml:16: 'name' is the case's"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, says):
    assert old in GOOD
    with pytest.raises(InputError, match=says) as caught:
        load(written(tmp_path, GOOD.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


def test_models_and_data_are_built_before_anything_starts(tmp_path):
    text = GOOD.replace("    plain: {attention: spatial}", "    plain: {attention: tokshift}")
    grid = load(written(tmp_path, text))
    with pytest.raises(InputError, match=r"g\.yaml:16: case 'plain': .*class token"):
        check(grid, grid.cells)
    grid = load(written(tmp_path, GOOD.replace("attention: tps\n", "backbone: vit_mirco\n", 1)))
    with pytest.raises(InputError, match=r"g\.yaml:4: case .*did you mean 'vit_micro'"):
        check(grid, grid.cells)
    weights = GOOD.replace("recipe.steps: [10, 20]", 'weights: ["", "image:/nowhere.pt"]')
    weights = weights.replace("recipe.steps: 20", "weights: image:/nowhere.pt")
    grid = load(written(tmp_path, weights))
    with pytest.raises(InputError, match=r"g\.yaml:9: case .*there is no /nowhere\.pt"):
        check(grid, grid.cells)


def test_a_forecast_is_that_of_the_cells_own_recipe(tmp_path):
    """Neither another case's nor that of an earlier run of another kind."""
    changes = {"plain": {"recipe.lr": 0.1}, "frozen": {"recipe.rates.backbone": 0.0}, "ema": {"recipe.ema": 0.9}}
    base = {"data": "opposites(train=48, val=12, test=24, frames=5, size=16)", "recipe.batch": 4}
    text = {"title": "t", "question": "q", "base": base, "vary": {"cases": changes}, "scales": {"small": {"seeds": 1}}}
    grid = load(written(tmp_path, yaml.safe_dump(text, sort_keys=False)))
    memory = {cell.case: found.memory for cell, _, found in costs.plan(grid, grid.cells, tmp_path, {}).entries}
    assert memory["frozen"] < memory["plain"] < memory["ema"]
    alike = [costs._alike(cell.config.model_dump() | cell.config.recipe.content()) for cell in grid.cells]
    assert len(set(alike)) == 3
    row = grid.cells[0].config.model_dump() | grid.cells[0].config.recipe.content() | {"precision": "no"}
    assert costs._alike(row) == alike[0]


values = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True)


@settings(max_examples=25, deadline=None)
@given(steps=values, batches=values, pairs=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=3))
def test_product_and_zip_are_all_combinations(tmp_path_factory, steps, batches, pairs):
    pairs = list(dict(pairs).items())
    vary = {"product": {"recipe.steps": steps, "recipe.batch": batches}}
    if pairs:
        vary["zip"] = {"data.seed": [a for a, _ in pairs], "recipe.validate_every": [b for _, b in pairs]}
    file = tmp_path_factory.mktemp("g") / "g.yaml"
    file.write_text(yaml.safe_dump({"title": "t", "question": "q", "vary": vary, "scales": {"small": {}}}))
    found = {
        (c.config.recipe.steps, c.config.recipe.batch, str(c.config.data), c.config.recipe.validate_every)
        for c in load(file).cells
    }
    wanted = set()
    for s, b, (seed, every) in itertools.product(steps, batches, pairs or [(0, 100)]):
        wanted.add((s, b, f"opposites(seed={seed})" if seed else "opposites", every))
    assert found == wanted


def test_options_inside_text_forms():
    config = configuration({"attention": "tps", "attention.stages": [2, 4], "backbone": "vit_micro(depth=8)",
                            "backbone.mlp_ratio": 3})  # fmt: skip
    assert str(config.attention) == "tps(stages=[2,4])"
    assert config.backbone == "vit_micro(depth=8, mlp_ratio=3)"
    assert config.model == ("vit_micro", {"depth": 8, "mlp_ratio": 3})


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_grids_pass_a_dry_run(file, tmp_path, monkeypatch):
    # what takes seconds a model; the planning around it is the same
    monkeypatch.setattr(forecast, "_try", lambda *a, **k: forecast._Tried(0.0, 0.01))
    monkeypatch.setattr(forecast, "_peak_memory", lambda *a: 1 << 20)
    monkeypatch.setattr(forecast, "_macs_per_second", lambda: 2e10)  # not this machine's, which may be busy
    grid = load(file)
    assert len({cell.seed for cell in grid.expected().runs}) >= 5
    plan = costs.plan(grid, grid.cells, tmp_path, {})
    total = plan.plain()["total"]
    assert total["cells"] == total["to_run"] == len(grid.cells)
    assert 0 < plan.seconds < 6 * 3600
    assert all(f.macs > 0 and f.fits for _, _, f in plan.entries)
    plan.table()
    assert len(load(file, "paper").cells) >= 10


def test_cells_that_differ_in_no_cost_are_forecast_once(tmp_path, monkeypatch):
    asked = []
    real = costs.forecast
    monkeypatch.setattr(costs, "forecast", lambda config, **more: asked.append(config) or real(config, **more))
    monkeypatch.setattr(forecast, "_try", lambda *a, **k: forecast._Tried(0.0, 0.01))
    grid = load(Path(__file__).parents[2] / "ablations" / "parts.yaml")  # four cases, four rates, two budgets
    assert len({(cell.case, cell.config.recipe.lr) for cell in grid.cells}) == 16
    plan = costs.plan(grid, grid.cells, tmp_path, {})
    assert len(asked) == len({(one.attention, one.recipe.steps) for one in asked}) == 8
    assert len(plan.entries) == len(grid.cells)


def test_a_dry_run_knows_what_is_finished_elsewhere_trials_and_runs_at_their_choices(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "_try", lambda *a, **k: forecast._Tried(0.0, 0.01))
    root = Path(__file__).parents[2]
    asked = Asked(root / "ablations/order.yaml", out=tmp_path / "out", settings={"budgets": [150]})
    alone = plan(asked).plain()["total"]
    assert alone["cells"] == alone["to_run"] == 18
    shared = plan(replace(asked, take_from=(root / "reports/ablations/order",))).plain()["total"]
    assert (shared["cells"], shared["to_run"], shared["seconds"]) == (18, 0, 0)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_at_the_papers_scale_needs_no_data(tmp_path):
    grid = load(Path(__file__).parents[2] / "ablations" / "patterns.yaml", "paper")
    forecasts = [f for _, _, f in costs.plan(grid, grid.chosen(limit=1), tmp_path, {}).entries]
    assert forecasts[0].macs == pytest.approx(72.1e9, rel=0.002)  # the paper's 72 G
    assert "no data" in forecasts[0].notes


def test_a_variant_serves_as_baseline_where_each_data_set_has_a_case_of_it(tmp_path):
    text = GOOD.replace("baseline: plain", "baseline: spatial", 1)
    assert load(written(tmp_path, text)).file.baseline == "spatial"


def test_what_a_cell_costs_is_its_recipes_step(tmp_path):
    """Else a grid over precision, checkpointing or frozen parts would show one and the same figure for each."""
    changes = {
        "plain": {"recipe.weight_decay": 0.1},
        "bf16": {"recipe.precision": "bf16"},
        "again": {"recipe.compute.checkpointing": True},
        "frozen": {"recipe.rates.backbone": 0.0},
    }
    base = {"data": "opposites(train=48, val=12, test=24, frames=5, size=16)", "recipe.batch": 4}
    text = {"title": "t", "question": "q", "base": base, "vary": {"cases": changes}, "scales": {"small": {"seeds": 1}}}
    grid = load(written(tmp_path, yaml.safe_dump(text, sort_keys=False)))
    found = {cell.case: cost for cell, cost in costs.measured(grid.cells, tmp_path, seconds=0.05).items()}
    memory = {case: cost["peak_memory_bytes"] for case, cost in found.items()}
    assert memory["again"]["training"] < 0.95 * memory["plain"]["training"]
    assert memory["frozen"]["training"] < 0.5 * memory["plain"]["training"]
    assert "bf16" in memory["bf16"]["how"]
    assert "bf16" in found["bf16"]["train_step_ms"]["how"]
    assert "bf16" not in memory["plain"]["how"]
    assert costs.measured(grid.cells, tmp_path, seconds=0.05) == dict(zip(grid.cells, found.values(), strict=True))
