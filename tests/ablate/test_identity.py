"""A new version changes the identity of its own cells, and of no others."""

import pytest

from tps_lab.ablate.identity import cell_hash, versions
from tps_lab.attention.alternating import Alternating
from tps_lab.attention.patch_shift import PatchShift
from tps_lab.backbones.swin import VideoSwin
from tps_lab.backbones.vit import VideoViT
from tps_lab.data.folder import VideoFolder
from tps_lab.data.opposites import Opposites
from tps_lab.training.config import Recipe, make

CONFIGS = {
    "tps": make({"attention": "tps"}),
    "A": make({"attention": "tps(pattern=A)"}),
    "pst": make({"attention": "tps+tcs"}),
    "joint": make({"attention": "joint"}),
    "swin": make({"attention": "tps", "backbone": "swin_micro"}),
}


def hashes():
    return {name: cell_hash(config) for name, config in CONFIGS.items()}


@pytest.mark.parametrize(
    ("thing", "reruns"),
    [
        (PatchShift, {"tps", "A", "pst", "swin"}),  # one that builds on another has its version
        (Alternating, {"pst"}),
        (VideoViT, {"tps", "A", "pst", "joint"}),
        (VideoSwin, {"swin"}),
        (Opposites, set(CONFIGS)),
        (VideoFolder, set()),
        (Recipe, set(CONFIGS)),
    ],
)
def test_a_new_version_reruns_its_own_cells(monkeypatch, thing, reruns):
    before = hashes()
    monkeypatch.setattr(thing, "version", thing.version + 1, raising=False)
    after = hashes()
    assert {name for name in CONFIGS if before[name] != after[name]} == reruns


def test_what_a_cell_names():
    assert versions(CONFIGS["tps"]) == {"attention": 1, "backbone": 1, "data": 1, "recipe": 1}


def test_a_new_entry_in_a_gallery_reruns_nothing_a_changed_tile_its_own(monkeypatch):
    from tps_lab.patterns import ShiftPattern, gallery

    before = hashes()
    monkeypatch.setitem(gallery, "new", ShiftPattern(((0, 2),), "new"))
    assert hashes() == before
    monkeypatch.setitem(gallery, "A", ShiftPattern(((0, 2), (-1, 0)), "A"))
    assert {name for name, hash in hashes().items() if hash != before[name]} == {"A"}


def test_names_and_trackers_are_no_part_of_it():
    assert cell_hash(make({"name": "x", "trackers": ["tensorboard"]})) == cell_hash(make({}))
    assert cell_hash(make({"seed": 1})) != cell_hash(make({}))


def test_float32_has_one_name_and_the_cells_of_its_old_one():
    old, new = make({"recipe.precision": "no"}), make({"recipe": {"precision": "fp32"}})
    assert old == new == make({})
    assert old.model_dump()["recipe"]["precision"] == old.recipe.content()["precision"] == "fp32"
    # as they were when the name was "no"
    assert (cell_hash(new), new.identity) == ("d1c1f6d941da", "98715e17")


@pytest.mark.parametrize(
    ("weights", "usual", "other"), [("", "sines", "zeros"), ("zoo:still/spatial", "zeros", "sines")]
)
def test_the_usual_start_of_an_embedding_of_time_is_no_cell_of_its_own(weights, usual, other):
    asked = {
        start: cell_hash(make({"attention": "spatial", "weights": weights, "temporal_position": start}))
        for start in (True, usual, other)
    }
    assert asked[usual] == asked[True] != asked[other]


@pytest.mark.parametrize("backbone", ["vit_micro", "swin_micro"])
@pytest.mark.parametrize("attention", ["spatial", "joint"])
def test_a_time_embedding_asked_for_or_not_is_one_cell_where_it_is_one_model(backbone, attention):
    from tps_lab.data import opened
    from tps_lab.training.train import build

    if (backbone, attention) == ("swin_micro", "joint"):
        pytest.skip("windows do not hold joint attention")
    configs = {
        asked: make({"attention": attention, "backbone": backbone, "temporal_position": asked})
        for asked in (None, False, True)
    }
    names = {asked: set(build(config, opened(config.data)).state_dict()) for asked, config in configs.items()}
    for asked in (False, True):
        assert (cell_hash(configs[asked]) == cell_hash(configs[None])) == (names[asked] == names[None])
