"""A changed mechanism changes the identity of its own cells, and of no others."""

import ast
from pathlib import Path

import pytest

from tps_lab.ablate import identity
from tps_lab.ablate.identity import cell_hash, code, normal_form
from tps_lab.config import make

CONFIGS = {
    "tps": make({"attention": "tps"}),
    "A": make({"attention": "tps(pattern=A)"}),
    "pst": make({"attention": "tps+tcs"}),
    "joint": make({"attention": "joint"}),
    "swin": make({"attention": "tps", "backbone": "swin_micro"}),
}


@pytest.fixture
def edited(monkeypatch):
    """Hashes of all configurations as if one module had other code."""

    def hashes(module=None, change=lambda text: text):
        for cached in (identity._file, identity._tree, identity._imports, identity._hash_of):
            cached.cache_clear()
        if module:
            read = Path.read_text
            file = identity._file(module)
            monkeypatch.setattr(
                Path, "read_text", lambda p, *a, **k: change(read(p, *a, **k)) if p == file else read(p, *a, **k)
            )
        return {name: cell_hash(config) for name, config in CONFIGS.items()}

    yield hashes
    monkeypatch.undo()
    for cached in (identity._file, identity._tree, identity._imports, identity._hash_of):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("module", "reruns"),
    [
        ("tps_lab.attention.patch_shift", {"tps", "A", "pst", "swin"}),
        ("tps_lab.attention.alternating", {"pst"}),
        ("tps_lab.attention.channel_shift", {"pst"}),
        ("tps_lab.attention.joint", {"joint"}),
        ("tps_lab.attention.trajectory", set()),
        ("tps_lab.attention._core", set(CONFIGS)),
        ("tps_lab.backbones.vit", {"tps", "A", "pst", "joint"}),
        ("tps_lab.backbones._windowed", {"swin"}),
        ("tps_lab.backbones.beit", set()),
        ("tps_lab.data.opposites", set(CONFIGS)),
        ("tps_lab.data.folder", set()),
        ("tps_lab.train", set(CONFIGS)),
        ("tps_lab.cli", set()),
        ("tps_lab.measure.latency", set()),
    ],
)
def test_a_changed_module_reruns_its_own_cells(module, reruns):
    assert {name for name, config in CONFIGS.items() if module in code(config)} == reruns


def test_changed_code_changes_the_hash_of_those_who_depend_on_it(edited):
    before = edited()
    after = edited("tps_lab.attention.alternating", lambda text: text + "\nchanged = 1\n")
    assert {name for name in CONFIGS if before[name] != after[name]} == {"pst"}


def test_comments_docstrings_and_layout_rerun_nothing(edited):
    before = edited()
    after = edited(
        "tps_lab.attention.patch_shift", lambda text: '"""Other words."""\n# and a comment\n' + text.split('"""', 2)[2]
    )
    assert before == after


def test_a_new_entry_in_a_gallery_reruns_nothing_a_changed_tile_its_own(edited, monkeypatch):
    before = edited()
    more = edited("tps_lab.patterns", lambda text: text.replace('"even-2": """', '"new": "0 2",\n    "even-2": """', 1))
    assert before == more
    from tps_lab.patterns import ShiftPattern, gallery

    monkeypatch.setitem(gallery, "A", ShiftPattern(((0, 2), (-1, 0)), "A"))
    assert cell_hash(make({"attention": "tps(pattern=A)"})) != before["A"]


def test_names_and_trackers_are_no_part_of_it():
    assert cell_hash(make({"name": "x", "trackers": ["tensorboard"]})) == cell_hash(make({}))
    assert cell_hash(make({"seed": 1})) != cell_hash(make({}))


def test_what_pytorch_code_a_cell_depends_on():
    modules = set(code(CONFIGS["tps"]))
    assert {"tps_lab.attention.patch_shift", "tps_lab.patterns", "tps_lab.backbones.vit", "tps_lab.train"} <= modules
    assert not modules & {"tps_lab.attention.joint", "tps_lab.backbones.swin", "tps_lab.cli", "tps_lab.runs"}


def test_normal_form_keeps_code_and_drops_words():
    one = normal_form(ast.parse('"""A."""\nT = {1: 2}\ndef f(x):\n    """B."""\n    return x  # c\n'), {"T"})
    other = normal_form(ast.parse('T = {1: 3}\ndef f(x):\n\n    "Other."\n    return (x)\n'), {"T"})
    assert one == other
    assert one != normal_form(ast.parse("def f(x):\n    return -x\n"))


@pytest.mark.parametrize("backbone", ["vit_micro", "swin_micro"])
@pytest.mark.parametrize("attention", ["spatial", "joint"])
def test_a_time_embedding_asked_for_or_not_is_one_cell_where_it_is_one_model(backbone, attention):
    from tps_lab.train import build
    from tps_lab.workers import opened

    if (backbone, attention) == ("swin_micro", "joint"):
        pytest.skip("windows do not hold joint attention")
    told = {
        asked: make({"attention": attention, "backbone": backbone, "temporal_position": asked})
        for asked in (None, False, True)
    }
    names = {asked: set(build(config, opened(config.data)).state_dict()) for asked, config in told.items()}
    for asked in (False, True):
        assert (cell_hash(told[asked]) == cell_hash(told[None])) == (names[asked] == names[None])


def test_the_version_of_python_is_no_part_of_it():
    """Newer ones have fields that are empty in older code: `type_params` of functions and classes."""
    code = "def f(a, *, b=1):\n    return [f'{a:>{b}}']\n\nclass C(int):\n    x: int = 2\n"
    older, newer = ast.parse(code), ast.parse(code)
    for node in ast.walk(newer):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node._fields = (*(name for name in node._fields if name != "type_params"), "type_params")
            node.type_params = []
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(""))
    assert identity._written(older) == identity._written(newer)
    assert identity._written(older) != identity._written(ast.parse(code.replace("2", "3")))
