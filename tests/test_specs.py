"""The text form of specs, on small specs of our own and on the real attention variants."""

import gc
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_lab import InputError, attention, specs
from tps_lab.specs import Spec


@dataclass(frozen=True)
class Bread(Spec):
    """Base of breads: no name, so it is not one."""


@dataclass(frozen=True)
class Loaf(Bread):
    """A loaf, baked
    until done.

    More about it.
    """

    name = "loaf"
    title = "Loaf of bread"
    oven: ClassVar[str] = "stone"

    grams: int = 500
    salt: float = 0.02
    sliced: bool = False
    seeds: tuple[int, ...] = (1, 2)
    flour: str = "rye"


@dataclass(frozen=True)
class Plain(Bread):
    """Nothing to choose."""

    name = "plain"
    title = "Plain"


def read(given, **overrides):
    return specs.parse("bread", given, specs.subclasses(Bread), **overrides)


def test_options_are_the_fields_and_not_the_class_variables():
    assert list(Loaf.options()) == ["grams", "salt", "sliced", "seeds", "flour"]


def test_summary_is_the_first_paragraph_on_one_line():
    assert Loaf.summary() == "A loaf, baked until done."


def test_only_named_subclasses_are_listed():
    assert specs.subclasses(Bread) == {"loaf": Loaf, "plain": Plain}


def test_of_two_with_one_name_the_later_definition_counts():
    @dataclass(frozen=True)
    class Again(Plain):
        extra: int = 1

    assert read("plain(extra=3)") == Again(3)
    del Again
    gc.collect()
    assert read("plain") == Plain()


@pytest.mark.parametrize(
    ("loaf", "text"),
    [
        (Loaf(), "loaf"),
        (Loaf(grams=750), "loaf(grams=750)"),
        (Loaf(seeds=(3,), flour="oat"), "loaf(seeds=[3], flour=oat)"),
        (Loaf(1, 0.5, True, (2, 3, 5), "wheat"), "loaf(grams=1, salt=0.5, sliced=True, seeds=[2,3,5], flour=wheat)"),
    ],
)
def test_text_says_what_differs_from_the_defaults_and_parses_back(loaf, text):
    assert str(loaf) == text
    assert read(text) == loaf


@settings(deadline=None, max_examples=300)
@given(
    st.builds(
        Loaf,
        grams=st.integers(-specs.LARGEST, specs.LARGEST),
        salt=st.floats(allow_nan=False, allow_infinity=False),
        sliced=st.booleans(),
        seeds=st.lists(st.integers(-specs.LARGEST, specs.LARGEST)).map(tuple),
        # halves of a character are kept as they are; a whole pair of them reads back as the character
        flour=st.text()
        | st.text("a,()[]{}=#'\"\\ \n\ud800\udc00é").filter(lambda text: "\ud800\udc00" not in text)
        | st.sampled_from(["0 1 / -1 0", "none", "1e3"]),
    )
)
def test_any_loaf_parses_back(loaf):
    assert read(str(loaf)) == loaf


@pytest.mark.parametrize("text", ["loaf()", " loaf ( ) ", "loaf(grams=500)", "loaf(grams=500,)"])
def test_loose_spellings(text):
    assert read(text) == Loaf()


@pytest.mark.parametrize("text", ["loaf(sliced=true, seeds=(3,5))", "loaf(seeds=[3, 5],sliced=True)"])
def test_commas_inside_brackets_do_not_split(text):
    assert read(text) == Loaf(sliced=True, seeds=(3, 5))


@pytest.mark.parametrize(
    ("text", "flour"),
    [
        ('loaf(flour="a, b")', "a, b"),
        ("loaf(flour='it''s (here)')", "it's (here)"),
        ('loaf(flour="own/my videos", grams=3)', "own/my videos"),
        ("loaf(flour=it's)", "it's"),
        ("loaf(flour=a#b=c (d, e))", "a#b=c (d, e)"),
        ("loaf(flour=no)", "no"),
        ("loaf(flour=007)", "007"),
        ("loaf(flour=2024-01-01)", "2024-01-01"),
        ("loaf(flour=)", ""),
    ],
)
def test_text_stays_the_text_that_it_is(text, flour):
    assert read(text).flour == flour
    assert read(str(read(text))) == read(text)


@pytest.mark.parametrize(
    ("text", "loaf"),
    [
        ("loaf(grams=0x10)", Loaf(grams=16)),
        ("loaf(grams=1e3)", Loaf(grams=1000)),
        ("loaf(salt=1e-3)", Loaf(salt=0.001)),
        ("loaf(sliced=on)", Loaf(sliced=True)),
        ("loaf(sliced=No)", Loaf()),
        ("loaf(seeds=3)", Loaf(seeds=(3,))),
    ],
)
def test_numbers_and_switches_in_their_usual_spellings(text, loaf):
    assert read(text) == loaf


def test_overrides_win_over_text_and_over_an_objects_fields():
    assert read("loaf(grams=1, salt=1)", grams=7) == Loaf(grams=7, salt=1)
    assert read(Loaf(grams=1, flour="oat"), grams="7") == Loaf(grams=7, flour="oat")


def test_a_whole_number_is_a_number():
    assert read("loaf(salt=1)").salt == 1


def test_labels_show_the_title_and_the_changes():
    assert Loaf().label == "Loaf of bread"
    assert Loaf(grams=3, flour="oat").label == "Loaf of bread (grams=3, flour=oat)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loav", "unknown bread 'loav'; did you mean 'loaf'.*loaf, plain"),
        ("loaf(gram=3)", "unknown option of bread 'loaf' 'gram'; did you mean 'grams'"),
        ("plain(grams=3)", "bread 'plain' has no options, got grams="),
        ("loaf(grams)", "'grams' in .* is not of the form option=value"),
        ("loaf(grams=2.5)", "grams must be a whole number, got '2.5'"),
        ("loaf(grams=True)", "grams must be a whole number, got 'True'"),
        ("loaf(sliced=1)", "sliced must be true or false, got '1'"),
        ("loaf(salt=much)", "salt must be a number, got 'much'"),
        ("loaf(salt=True)", "salt must be a number"),
        ("loaf(salt=nan)", "salt must be a number that is finite"),
        ("loaf(salt=inf)", "salt must be a number that is finite"),
        ("loaf(grams=" + "9" * 5000 + ")", "grams must be a whole number .* below 2\\^63, got '9{80}…'"),
        ("loaf(grams=" + "-" * 15000 + "1)", "grams must be a whole number, got '-{80}…'"),
        ("loaf(grams=1, grams=2)", "'grams' is given twice"),
        ("loaf(flour=a), b)", "brackets do not match"),
        ('loaf(flour="a" b)', "a comma is expected"),
        ("loaf(" + "x" * 30_000 + ")", "bread of 30006 characters, at most 20000"),
        ("two words", "cannot read bread 'two words'"),
        ("loaf(grams=3", "cannot read bread"),
        ("", "cannot read bread ''"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_variant_defined_elsewhere_is_found_by_name():
    @dataclass(frozen=True)
    class Mine(attention.Variant):
        """Mine."""

        name = "mine-of-the-test"

    assert attention.parse("mine-of-the-test") == Mine()
    del Mine
    gc.collect()
    assert "mine-of-the-test" not in attention.variants()


def test_every_variant_has_a_title_and_a_summary():
    for variant in attention.variants().values():
        assert variant.title
        assert variant.summary()
