"""The digits' prediction for manipulation beside what came out, and which opposites are taken for each other."""

import itertools

import numpy as np
import pytest
import study

from tps_lab.ablate import grid
from tps_lab.data import parse

manipulation = study.load("manipulation")


@pytest.mark.parametrize("name", manipulation.GRIDS)
def test_its_grids_ask_about_the_same_scenes_at_equal_settings(name):
    found = grid.load(manipulation.HERE / f"{name}.yaml").expected()
    assert len({parse(cell.config.data).folder for cell in found.runs}) == 1
    assert len({cell.seed for cell in found.runs}) == 3
    assert len({cell.config.temporal_position for cell in found.runs}) == 1


def test_the_sealed_prediction_is_read_as_it_stands():
    sealed = manipulation.prediction((manipulation.HERE / "prediction.md").read_text())
    assert sealed == {
        "PST": (1, 0, 0), "channel only": (2, -4, 4), "patch only": (3, -10, 2),
        "divided": (4, -10, 6), "spatial": (5, -20, -1), "joint": (6, -35, -5),
    }  # fmt: skip


@pytest.mark.parametrize("name", manipulation.ROUNDS)
def test_what_was_sealed_is_what_its_grid_asks(name):
    page, _, _ = manipulation.ROUNDS[name]
    sealed = manipulation.prediction((manipulation.HERE / page).read_text())
    assert set(grid.load(manipulation.HERE / f"{name}.yaml").cases) == set(sealed)
    assert sorted(place for place, _, _ in sealed.values()) == [1, 2, 3, 4, 5, 6]
    assert all(low <= high for _, low, high in sealed.values())


def test_tau_counts_pairs_and_knows_its_doubt():
    rng = np.random.default_rng(0)
    rights = {name: rng.random((3, 200)) < share for name, share in zip("abcd", (0.2, 0.4, 0.9, 0.6), strict=True)}
    means = {name: right.mean() for name, right in rights.items()}
    expected = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "not run": 5.0}
    tau, low, high = manipulation.tau(expected, rights, 2)
    pairs = itertools.combinations("abcd", 2)
    signs = [np.sign(expected[x] - expected[y]) * np.sign(means[x] - means[y]) for x, y in pairs]
    assert tau == pytest.approx(sum(signs) / 6)
    assert low <= tau <= high
    coins = {name: rng.random((3, 200)) < 0.5 for name in "abcd"}
    _, low, high = manipulation.tau(expected, coins, 2)
    assert high - low > 0.9


def test_every_answer_is_of_one_kind():
    # kinds: 0 undoes 1, 2 has no opposite; class 2k is kind k, 2k + 1 its reversal
    label = np.array([0, 0, 0, 0, 0, 4, 5])
    said = np.array([0, 1, 2, 3, 4, 5, 0])
    found = manipulation.confusion(said, label, [(0, 1)], both_ways=True)
    assert found == pytest.approx(
        {
            "right": 100 / 7,
            "its own reversal": 200 / 7,
            "its opposite": 100 / 7,
            "its opposite reversed": 100 / 7,
            "another object": 200 / 7,
        }
    )
    classes = manipulation.confusion(np.array([0, 1, 2]), np.array([0, 0, 0]), [(0, 1)], both_ways=False)
    assert classes == pytest.approx({"right": 100 / 3, "its opposite": 100 / 3, "another object": 100 / 3})


def test_the_published_page_is_what_the_kept_runs_say(tmp_path, capsys):
    manipulation.main(out=tmp_path)
    assert (tmp_path / "report.md").read_text() == (manipulation.HERE / "report.md").read_text()
