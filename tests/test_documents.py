"""Files that people write: what a value means, and files that are damaged or hostile."""

import os
import re
from itertools import pairwise

import pytest

from tps_lab import InputError, recipes
from tps_lab.ablate.grid import load
from tps_lab.documents import Document
from tps_lab.training.config import keys, make, typed

TOP = "title: t\nquestion: q\n"
SCALES = "scales: {small: {seeds: 1}}\n"
VARY = "vary: {product: {attention: [spatial]}}\n"


@pytest.fixture
def file(tmp_path):
    def written(text, name="g.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def refused(file):
    with pytest.raises(InputError) as refusal:
        load(file)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 600
    return str(refusal.value)


# ---------------------------------------------------------------------- what a value means


@pytest.mark.parametrize(
    "text", ["no", "on", "null", "007", "0x10", "1e3", "1:30", "2024-01-01", "a: b", "- x", "set #2"]
)
@pytest.mark.parametrize("key", ["name", "data.path", "weights", "recipe.precision", "attention.pattern"])
def test_a_value_that_is_meant_as_text_stays_that_text(key, text):
    assert typed(key, text) == text


@pytest.mark.parametrize("text", ["no", "on", "007", "1e3", "1:30", "2024-01-01", "2020-99-99", "1_000"])
def test_bare_text_of_a_file_is_read_by_its_key_too(file, text):
    found = recipes.read(file(f"data: class-folders\ndata.path: {text}\nname: {text}\nrecipe: {{precision: no}}\n"))
    config = make(found)
    assert str(config.data) == f"class-folders(path={text})"
    assert config.name == text
    assert config.recipe.precision == "fp32"  # its old name is taken too


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("recipe.lr", "1e-3", 0.001), ("recipe.steps", "1e3", 1000), ("seed", "0x10", 16), ("workers", "null", None),
        ("temporal_position", "on", True), ("temporal_position", "sines", "sines"), ("recipe.epochs", "none", None),
        ("trackers", "a, b", ("a", "b")),
        ("data.frames", "8", 8), ("data.noise", "0", 0), ("attention.shift_back", "off", False),
        ("attention.stages", "[3,4]", (3, 4)), ("backbone.depth", "3", 3), ("backbone.global_pool", "avg", "avg"),
    ],
)  # fmt: skip
def test_other_texts_mean_what_their_key_holds(key, text, value):
    assert typed(key, text) == value


def test_a_path_with_a_comma_or_a_hash_is_one_path():
    for path in ("/data/cats, dogs", "set #2", "a) (b", "x=1,y=2", '"quoted"', "it's"):
        config = make({"data": "class-folders", "data.path": path, "data.frames": 8})
        assert make({"data": str(config.data)}) == config
        assert str(config.data).endswith(", frames=8)")


def test_axes_of_a_grid_keep_text_as_text_and_numbers_as_numbers(file):
    grid = load(file(TOP + "vary: {product: {recipe.precision: [no, bf16], data.frames: [8, 0x10]}}\n" + SCALES))
    assert [cell.case for cell in grid.cells] == [
        "precision=no, frames=8", "precision=no, frames=16", "precision=bf16, frames=8", "precision=bf16, frames=16",
    ]  # fmt: skip


def test_merge_keys_bring_what_is_not_there(file):
    text = (
        "vary: {cases: {a: &a {attention: tps, recipe.lr: 1e-3}, b: {<<: *a, attention.pattern: A, recipe.lr: 2e-3}}}"
    )
    grid = load(file(TOP + text + "\n" + SCALES))
    assert [(str(cell.config.attention), cell.config.recipe.lr) for cell in grid.cells] == [
        ("tps", 0.001), ("tps(pattern=A)", 0.002),
    ]  # fmt: skip


def test_the_first_of_several_merged_mappings_wins(file):
    values = Document(file("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\n")).values
    assert values["c"] == {"x": 1, "y": 3, "z": 2}


def test_every_key_is_listed_with_its_default():
    assert keys()["recipe.lr"] == "peak learning rate [0.003]"
    assert {"weights", "workers", "recipe.rates.backbone", "data"} <= keys().keys()


# ---------------------------------------------------------------------- what is refused, with its line


def bomb(first, each):
    """Nine lines, each with ten aliases of the line before: a billion values in all."""
    lines = [f"{name}: &{name} {each(','.join(['*' + before] * 10))}" for before, name in pairwise("abcdefghij")]
    return "\n".join([f"a: &a {first}", *lines, ""])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOP + "base: {attention: !foo bar}\n" + VARY + SCALES, "g.yaml:3: the tag !foo means nothing here"),
        (TOP + "base: {attention: !!python/name:os.system }\n", "g.yaml:3: the tag !!python/name:os.system"),
        (TOP + "vary: !mine {product: {}}\n", "g.yaml:3: the tag !mine"),
        (TOP + "measures: !mine [top1_pct]\n", "g.yaml:3: the tag !mine"),
        (TOP + "!mine base: {}\n", "g.yaml:3: the tag !mine"),
        (TOP + "base: {recipe.steps: !!int 'x' }\n", "g.yaml:3: 'x' is not of the kind !!int"),
        (TOP + "base: {recipe.lr: !!bool 'x' }\n", "g.yaml:3: 'x' is not of the kind !!bool"),
        (TOP + "base: {recipe.steps: !!binary aaaa }\n", "the tag !!binary"),
        (TOP + "base: {recipe.steps: " + "9" * 5000 + "}\n", "g.yaml:3: a number of 5000 characters: 9999"),
        (TOP + "? [a, b]\n: 3\n", "g.yaml:3: a key must be text"),
        (TOP + "title: t\n", "g.yaml:3: the key 'title' stands here twice"),
        (TOP + "base: {<<: 3}\n", "g.yaml:3: '<<' takes keys and values"),
        ("title: &a [*a]\nquestion: q\n", "an alias stands for something that contains it"),
        ("title: &a {<<: *a}\nquestion: q\n", "an alias stands for something that contains it"),
        ("title: " + "[" * 3000 + "]" * 3000 + "\n", "more than 40 deep"),
        ("title: " + "[" * 100 + "]" * 100 + "\n", "more than 40 deep"),
        (bomb("[x,x,x,x,x,x,x,x,x,x]", lambda ten: f"[{ten}]"), "more than 100,000 values"),
        (bomb("{x: 1}", lambda ten: f"{{<<: [{ten}]}}"), "more than 100,000 values"),
        ("x: " + "y" * (1 << 20), "at most 1 MiB"),
        (TOP + "x: @y\n", "needs quotes"),
        (TOP + "base:\n\trecipe.steps: 3\n", "indent with blanks, not with tabs"),
        (TOP + "vary: {}\nscales: {small: {seeds: true}}\n", "g.yaml:4: scales.small.seeds = True"),
        ("- a\n", "expected keys and values"),
        ("", "expected keys and values"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("title: café\n".encode("latin1"), "cannot read"),
        (b"title: \x00\n", "cannot read|not allowed|unacceptable"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_meant_is_refused_in_one_line(file, text, message):
    assert re.search(re.escape(message) if "|" not in message else message, refused(file(text)))


def test_a_number_with_zeros_before_it_is_decimal_as_on_the_command_line(file):
    assert recipes.read(file("recipe.steps: 010\n"))["recipe.steps"] == typed("recipe.steps", "010") == 10


def test_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "not a regular file" in refused(tmp_path / "pipe.yaml")
    assert "not a regular file" in refused("/dev/zero")
    assert "cannot read" in refused(tmp_path)


def test_a_file_that_is_like_itself_is_refused(file, tmp_path):
    with pytest.raises(InputError, match="refers back to itself"):
        recipes.read(file(f"like: {tmp_path}/g.yaml\n"))
    with pytest.raises(InputError, match="'like' must be the name"):
        recipes.read(file("like: [a]\n"))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "inf", "nan", "1e400"])
@pytest.mark.parametrize("key", ["recipe.lr", "recipe.weight_decay", "recipe.epochs", "data.noise"])
def test_numbers_are_finite(key, value):
    with pytest.raises(InputError, match=r"finite|a number"):
        make({key: value})


@pytest.mark.parametrize("key", ["seed", "workers", "tubelet", "recipe.steps", "recipe.batch", "data.frames"])
@pytest.mark.parametrize("value", [-1, 10**29, "9" * 5000, "x", 1.5, True])
def test_numbers_are_of_their_kind_and_size(key, value):
    with pytest.raises(InputError):
        make({key: value})
